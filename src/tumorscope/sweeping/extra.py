"""Whether the package of the extra `sweep` is there."""

from __future__ import annotations

import importlib.util

from tumorscope.core.errors import ResourceError

INSTALL = "pip install 'tumorscope[sweep]'"


def need_optuna() -> None:
    """Raise ResourceError, with what to install, if optuna is missing; it is not imported."""
    if importlib.util.find_spec("optuna") is None:
        raise ResourceError("the package optuna is not installed", expected="the extra `sweep`", fix=INSTALL)
