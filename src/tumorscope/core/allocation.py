"""Freed memory stays with the process, so that the next step does not fetch it from the system anew.

A training step takes and frees gigabytes. glibc hands large blocks back to the kernel each time, which maps and clears
every page again at its next use: of an EfficientNet-Lite0 step on two cores 250,000 to 470,000 page faults, a third
of its time (docs/results/performance.md, where an epoch's time goes). The process keeps its largest
size until it ends.
"""

from __future__ import annotations

import ctypes
import os
import sys

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Numbers of M_TRIM_THRESHOLD and M_MMAP_MAX in malloc.h of glibc (mallopt(3))."""
CHOSEN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_")
"""Environment variables by which a user has settled this."""


def keep_freed_memory() -> bool:
    """Ask the allocator to keep what is freed, from now on and for the whole process; may be called again.

    Returns:
        True if it does: on Linux with glibc, unless the user has set its thresholds (`MALLOC_..._`, or
        `GLIBC_TUNABLES` for malloc). Elsewhere nothing changes.
    """
    settled = any(name in os.environ for name in CHOSEN) or "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", "")
    if settled or sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl has none
        return False
    # no block is mapped by itself, and the end of the heap is never cut: -1 is the largest size there is
    return bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, -1))
