"""Give pages of a mapped file back to the system, so that a set larger than memory is read at constant size.

The kernel keeps what was read in its own cache and counts it as the process's memory for as long as it is mapped in;
a pass over a large cache would look, and under a limit be, as large as the cache.
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray


def release(array: NDArray[Any]) -> None:
    """Unmap the pages that were read of a memory-mapped array; reading them again is cheap and gives the same.

    Args:
        array: A `numpy.memmap` or a view of one; any other array is left alone.
    """
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)
