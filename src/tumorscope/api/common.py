"""What every verb shares: threads that sleep, and data from whatever names it."""

from __future__ import annotations

import os
from collections.abc import Callable

from tumorscope.commands import PathLike
from tumorscope.core.waiting import WAITING
from tumorscope.data.load import load
from tumorscope.data.manifest import Manifest


def quiet_threads() -> None:
    """How this process and its children compute; must run before torch is imported."""
    for name, value in {**WAITING, "ORT_DISABLE_TELEMETRY": "1"}.items():
        os.environ.setdefault(name, value)


def manifest_of(data: Manifest | PathLike, progress: Callable[[int, int], None] | None = None) -> Manifest:
    """`data` as a manifest: itself, or what `load` makes of it."""
    return data if isinstance(data, Manifest) else load(str(data), progress=progress)
