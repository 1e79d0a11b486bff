"""Area under the ROC curve with DeLong intervals: one class, macro average, and the difference of two models.

Each area is a mean of placements (share of the other class that an image is ranked above), so every image has
an influence on it, and variances and covariances are sums of squared influences. With groups, influences are
summed within a group first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.types import Estimate, Probs, Targets
from tumorscope.evaluation.intervals import LEVEL, expit, undefined, z_value
from tumorscope.evaluation.resampling import Floats

NO_VARIANCE = 1e-18


@dataclass(frozen=True, eq=False)
class Area:
    """One area or mean of areas.

    Attributes:
        value: The area, 0..1.
        influence: (n,) contribution of each image to its error; the variance is the sum over groups of the
            squared group sums.
        sizes: Per class averaged: (independent positives, independent negatives), and that class's area.
    """

    value: float
    influence: Floats
    sizes: tuple[tuple[int, int, float], ...]

    def variance(self, codes: Targets) -> float:
        """Variance of the area, with rows of one group counted together."""
        return grouped_variance(self.influence, codes=codes)


def grouped_variance(influence: Floats, *, codes: Targets) -> float:
    """Sum over groups of the squared sum of influences."""
    return float((np.bincount(codes, weights=influence) ** 2).sum())


def area(scores: Floats, *, positives: NDArray[np.bool_], codes: Targets) -> Area | None:
    """Area of `scores` for `positives` against the rest, None where one of them is missing.

    DeLong, DeLong and Clarke-Pearson (1988) by midranks in O(n log n) (Sun and Xu 2014); groups after
    Obuchowski (1997), which is DeLong's variance where every group has one image.
    """
    m, n = int(positives.sum()), int((~positives).sum())
    if m == 0 or n == 0:
        return None
    ranks = midranks(scores)
    over_negatives = (ranks[positives] - midranks(scores[positives])) / n
    under_positives = 1 - (ranks[~positives] - midranks(scores[~positives])) / m
    value = float(over_negatives.mean())
    influence = np.zeros(scores.size)
    sizes = []
    for chosen, placements, rows in ((positives, over_negatives, m), (~positives, under_positives, n)):
        groups = np.unique(codes[chosen]).size
        small_sample = math.sqrt(groups / (groups - 1)) if groups > 1 else 1.0
        influence[chosen] = (placements - value) / rows * small_sample
        sizes.append(groups)
    return Area(value, influence, ((sizes[0], sizes[1], value),))


def macro_area(probs: Probs, *, targets: Targets, codes: Targets) -> Area | None:
    """Mean over the classes present of the one-against-rest areas; None with fewer than two present."""
    found = [area(probs[:, c], positives=targets == c, codes=codes) for c in range(probs.shape[1])]
    areas = [one for one in found if one is not None]
    if not areas:
        return None
    influence = np.mean([one.influence for one in areas], axis=0)
    sizes = tuple(size for one in areas for size in one.sizes)
    return Area(float(np.mean([one.value for one in areas])), influence, sizes)


def auroc_estimate(found: Area | None, *, codes: Targets, level: float = LEVEL) -> Estimate:
    """The area with DeLong's interval on the logit scale (Pepe 2003, section 5.2), which stays within 0..1.

    For groups the quantile is Student's, with the number of groups of the smaller side less one.

    Where DeLong's variance is zero (classes separated without error, a constant score) or has a single
    observation to rest on, it knows no width, and Newcombe's score interval (2006, method 5) is given: its
    width comes from the numbers of positives and negatives. The macro average then takes the mean of its
    classes' bounds, which is on the safe side. Methods: "delong", "delong-groups", "newcombe".
    """
    if found is None:
        return undefined("needs at least one image of the class and one of another")
    variance = found.variance(codes)
    if variance < NO_VARIANCE or any(min(m, n) < 2 for m, n, _ in found.sizes):
        bounds = np.mean([newcombe(value, m=m, n=n, level=level) for m, n, value in found.sizes], axis=0)
        return Estimate(found.value, float(bounds[0]), float(bounds[1]), "newcombe")
    value = min(max(found.value, 1e-12), 1 - 1e-12)
    half = _quantile((found,), codes=codes, level=level) * math.sqrt(variance) / (value * (1 - value))
    logit = math.log(value / (1 - value))
    low, high = (expit(logit + side * half) for side in (-1, 1))
    method = "delong" if np.unique(codes).size == codes.size else "delong-groups"
    return Estimate(found.value, min(low, found.value), max(high, found.value), method)


def newcombe(value: float, *, m: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """(low, high) of an area from its value and class sizes alone (Newcombe 2006, method 5).

    A score interval: the bounds are the areas whose own standard error reaches the value. Never empty, also
    for an area of exactly one.
    """
    from scipy.optimize import brentq

    z, mean_size = z_value(level), (m + n) / 2 - 1

    def error(theta: float) -> float:
        spread = 1 + mean_size * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return z * math.sqrt(max(theta * (1 - theta) * spread / (m * n), 0.0))

    low = 0.0 if value <= 0 else float(brentq(lambda t: value - t - error(t), 0.0, value - 1e-12))
    high = 1.0 if value >= 1 else float(brentq(lambda t: t - value - error(t), value + 1e-12, 1.0))
    return low, high


@dataclass(frozen=True)
class AreaDifference:
    """Area of a minus area of b with its interval, and the two-sided p-value (None where it has none)."""

    difference: Estimate
    p_value: float | None


def area_difference(a: Area, *, b: Area, codes: Targets, level: float = LEVEL) -> AreaDifference:
    """Paired DeLong test on the same images, rows of one group counted together.

    Where the variance of the difference is zero, the interval combines the two single intervals as if they
    were independent (square-and-add, Zou and Donner 2008), method "newcombe-square-and-add"; the p-value is
    then 1 for equal areas and None otherwise.
    """
    gap = a.value - b.value
    variance = grouped_variance(a.influence - b.influence, codes=codes)
    if variance < NO_VARIANCE:
        one, two = (auroc_estimate(area_, codes=codes, level=level) for area_ in (a, b))
        low = gap - math.hypot(a.value - (one.low or 0.0), (two.high or 0.0) - b.value)
        high = gap + math.hypot((one.high or 0.0) - a.value, b.value - (two.low or 0.0))
        estimate = Estimate(gap, max(-1.0, low), min(1.0, high), "newcombe-square-and-add")
        return AreaDifference(estimate, 1.0 if abs(gap) < 1e-12 else None)
    error = math.sqrt(variance)
    quantile = _quantile((a, b), codes=codes, level=level)
    half = quantile * error
    method = "delong-paired" if np.unique(codes).size == codes.size else "delong-paired-groups"
    p_value = math.erfc(abs(gap) / error * z_value(level) / quantile / math.sqrt(2))
    return AreaDifference(Estimate(gap, max(-1.0, gap - half), min(1.0, gap + half), method), p_value)


def midranks(scores: Floats) -> Floats:
    """(n,) ranks from 1, ties sharing the mean of their ranks."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place], dtype=np.float64)


def _quantile(areas: tuple[Area, ...], *, codes: Targets, level: float) -> float:
    """Normal quantile for independent images; for groups Student's, with those of the smallest side."""
    from scipy.stats import t as student

    if np.unique(codes).size == codes.size:
        return z_value(level)
    fewest = min(min(m, n) for one in areas for m, n, _ in one.sizes)
    return float(student.ppf(0.5 + level / 2, max(fewest - 1, 1)))
