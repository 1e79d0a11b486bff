"""Which images a bootstrap resample contains: whole groups, drawn with replacement within each class.

In: the group number of every image. Out: how often each image occurs in each resample, in blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.errors import UsageError
from tumorscope.core.types import Targets

Floats: TypeAlias = NDArray[np.float64]
BLOCK_CELLS = 400_000
"""Cells (resamples x images) of one block: 3 MB of float64, which stays in the processor's cache."""


def resample_counts(codes: Targets, *, targets: Targets | None, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield (b, n) float64 blocks: how often each image occurs in each of b resamples.

    Groups are drawn whole (Davison and Hinkley 1997, section 3.8). With `targets`, they are drawn within the
    stratum of their most frequent class, so that no class vanishes and class sizes stay near those observed;
    without, from all groups, so that the mix of classes varies too.

    Args:
        codes: (n,) group numbers 0..G-1.
        targets: (n,) class positions for strata, or None.
        resamples: How many resamples in all, at least 100.
        seed: Same seed, same resamples.

    Raises:
        UsageError: Fewer than 100 resamples; the ends of a 95% interval would rest on two values.
    """
    if resamples < 100:
        raise UsageError(f"{resamples} bootstrap resamples", expected="at least 100", fix="use 2000, the default")
    rng = np.random.default_rng(seed)
    groups = int(codes.max()) + 1
    strata = np.zeros(groups, dtype=np.int64) if targets is None else group_labels(codes, targets=targets)
    members = [np.flatnonzero(strata == s) for s in np.unique(strata)]
    block = max(1, min(resamples, BLOCK_CELLS // codes.size))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        counts = np.zeros((rows, groups))
        for ids in members:
            drawn = rng.integers(0, ids.size, (rows, ids.size)) + np.arange(rows)[:, None] * ids.size
            counts[:, ids] = np.bincount(drawn.ravel(), minlength=rows * ids.size).reshape(rows, ids.size)
        yield counts[:, codes]


def group_labels(codes: Targets, *, targets: Targets) -> Targets:
    """(G,) int64: the most frequent target of each group, the smallest of equals."""
    votes = np.zeros((int(codes.max()) + 1, int(targets.max()) + 1), dtype=np.int64)
    np.add.at(votes, (codes, targets), 1)
    return np.asarray(votes.argmax(1), dtype=np.int64)
