"""What every verb shares: threads that sleep, and data from whatever names it."""

from __future__ import annotations

import os
from collections.abc import Callable

from tumorscope.commands import PathLike
from tumorscope.data.load import load
from tumorscope.data.manifest import Manifest


def quiet_threads() -> None:
    """Let idle worker threads sleep instead of spin; must run before torch is imported."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def manifest_of(data: Manifest | PathLike, progress: Callable[[int, int], None] | None = None) -> Manifest:
    """`data` as a manifest: itself, or what `load` makes of it."""
    return data if isinstance(data, Manifest) else load(str(data), progress=progress)
