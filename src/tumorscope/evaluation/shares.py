"""Shares of right answers averaged over seeds, and paired differences of them, with intervals by group.

In: (n,) share of seeds that answered each image rightly, and the images' groups. Out: estimates. Resampling draws
groups of images; the models stay as trained, so the interval leaves out how results vary with seeds.
"""

from __future__ import annotations

import numpy as np

from tumorscope.core.types import Estimate, Targets
from tumorscope.evaluation.intervals import evidence, resampled, resampled_difference, undefined
from tumorscope.evaluation.resampling import Floats, resample_counts

RESAMPLES = 2000
METHOD = "bootstrap-groups"


def mean_share(shares: Floats, *, codes: Targets, targets: Targets, seed: int = 0) -> Estimate:
    """Mean of (n,) shares in 0..1 with its 95% interval.

    Args:
        shares: (n,) float64 share of runs that are right, one an image.
        codes: (n,) group numbers 0..G-1.
        targets: (n,) class positions, the strata.
        seed: Same seed, same interval.
    """
    if not shares.size:
        return undefined("no such images")
    return resampled(
        float(shares.mean()),
        samples=_means(shares, codes, targets, seed),
        limits=(0.0, 1.0),
        known=evidence(codes, targets=targets, per_class=False),
        method=METHOD,
    )


def mean_gap(first: Floats, second: Floats, *, codes: Targets, targets: Targets, seed: int = 0) -> Estimate:
    """Mean of `first` - `second` on the same (n,) images with its 95% interval; arguments as `mean_share`."""
    if not first.size:
        return undefined("no such images")
    gap = first - second
    return resampled_difference(
        float(gap.mean()),
        samples=_means(gap, codes, targets, seed),
        limits=(-1.0, 1.0),
        known=evidence(codes, targets=targets, per_class=False),
        method=METHOD,
    )


def mean_contrast(shares: Floats, chosen: Targets, *, codes: Targets, targets: Targets, seed: int = 0) -> Estimate:
    """Mean of the chosen images minus mean of the others, with its 95% interval.

    Args:
        shares: (n,) float64.
        chosen: (n,) 1 for the chosen images, 0 for the others.
        codes: (n,) group numbers 0..G-1.
        targets: (n,) class positions, the strata.
        seed: Same seed, same interval.
    """
    if not chosen.any() or chosen.all():
        return undefined("one of the two sides has no image")
    sides = (chosen.astype(np.float64), 1.0 - chosen)
    values = []
    for counts in resample_counts(codes, targets=targets, resamples=RESAMPLES, seed=seed):
        with np.errstate(invalid="ignore"):
            inside, outside = ((counts * side) @ shares / (counts @ side) for side in sides)
        values.append(inside - outside)
    return resampled_difference(
        float(shares[chosen == 1].mean() - shares[chosen == 0].mean()),
        samples=np.concatenate(values),
        limits=(-1.0, 1.0),
        known=evidence(codes, targets=targets, per_class=False),
        method=METHOD,
    )


def _means(values: Floats, codes: Targets, targets: Targets, seed: int) -> Floats:
    """(B,) weighted means over the resamples."""
    blocks = resample_counts(codes, targets=targets, resamples=RESAMPLES, seed=seed)
    return np.concatenate([counts @ values / counts.sum(axis=1) for counts in blocks])
