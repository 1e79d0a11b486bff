"""What a timing process prints: seconds of all of it, of the first and of the median epoch, and its peak memory.

In: when it began and the seconds of its epochs. Out: plain figures, the same for the baseline, the peers and ours.
"""

from __future__ import annotations

import resource
import time
from statistics import median
from typing import Any


def peak_mb() -> float:
    """Largest resident memory of this process and of the largest of its ended children so far, in MB."""
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return (own + children) / 1024


def figures(start: float, epochs: list[float], *, first: float | None = None) -> dict[str, Any]:
    """Figures of a training that began at `start` (by `time.perf_counter`) and has just ended.

    Args:
        start: When it began.
        epochs: Seconds of each epoch.
        first: When the first epoch ended, for what does more than epochs after it (checkpoints); by default that is
            what the later epochs leave of all of it.

    Returns:
        whole: Seconds of all of it.
        first: Seconds from the start to the end of the first epoch, decoding and building included.
        epoch: Median seconds of the epochs after the first, with their validation; of the first where it is alone.
        epochs: Seconds of every epoch.
        peak_mb: Peak memory.
    """
    whole = time.perf_counter() - start
    return {
        "whole": whole,
        "first": whole - sum(epochs[1:]) if first is None else first - start,
        "epoch": median(epochs[1:] or epochs),
        "epochs": epochs,
        "peak_mb": peak_mb(),
    }
