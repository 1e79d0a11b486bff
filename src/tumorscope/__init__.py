"""tumorscope: from a folder of scans to an honest, explained, deployable tumor classifier, in one command.

Research use only; not for clinical decisions. Importing this package imports no torch; each function below
is loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tumorscope.api import (
        audit,
        card,
        compare,
        datasets,
        evaluate,
        explain,
        export,
        leak_price,
        load,
        package,
        predict,
        report,
        score_explanations,
        serve,
        split,
        sweep,
        train,
    )

__all__ = [
    "__version__",
    "audit",
    "card",
    "compare",
    "datasets",
    "evaluate",
    "explain",
    "export",
    "leak_price",
    "load",
    "package",
    "predict",
    "report",
    "score_explanations",
    "serve",
    "split",
    "sweep",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("tumorscope.api"), name)
    raise AttributeError(f"module 'tumorscope' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
