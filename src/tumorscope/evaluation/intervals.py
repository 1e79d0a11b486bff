"""Intervals for proportions, and for metrics that are resampled.

In: counts, or the value of a metric on every bootstrap resample. Out: `Estimate`s whose method names how the
interval was made. An interval always contains its value and never has zero width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.errors import UsageError
from tumorscope.core.types import Estimate, Targets
from tumorscope.evaluation.resampling import Floats

LEVEL = 0.95
NO_SPREAD = 1e-12


def z_value(level: float) -> float:
    """Normal quantile for a two-sided interval: 1.96 at 0.95.

    Raises:
        UsageError: A level outside 0.5..0.9999.
    """
    if not 0.5 <= level <= 0.9999:
        raise UsageError(f"level {level}", expected="0.5 to 0.9999", fix="use 0.95")
    return NormalDist().inv_cdf(0.5 + level / 2)


def wilson(k: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """(low, high) of the Wilson score interval of k successes among n (Wilson 1927).

    Both may be fractions, as an effective sample size is.

    Raises:
        UsageError: n is not positive, or k is not within 0..n.
    """
    if not (n > 0 and 0 <= k <= n):
        raise UsageError(f"{k} successes among {n}", expected="0 <= k <= n and n > 0")
    z, p = z_value(level), k / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (0.0 if k == 0 else max(0.0, centre - half)), (1.0 if k == n else min(1.0, centre + half))


def effective_size(hits: NDArray[np.bool_], *, codes: Targets, level: float = LEVEL) -> float:
    """Size of the simple random sample that knows as much as these clustered rows; at most their number.

    Design effect of a ratio of group totals (Kish 1965) with the degrees-of-freedom correction of Korn and
    Graubard (1998), the one Dean and Pagano (2015) found best beside Wilson's interval. Where all rows agree
    nothing can be learnt about the design effect, and groups are taken as single observations (Kish's size).
    """
    from scipy.stats import t as student

    n, (_, codes) = hits.size, np.unique(codes, return_inverse=True)
    sizes = np.bincount(codes).astype(np.float64)
    p, groups = float(hits.mean()), sizes.size
    whole = n * n / float((sizes**2).sum())
    if groups == n or p in (0.0, 1.0) or groups < 2:
        return whole
    residuals = np.bincount(codes, weights=hits.astype(np.float64)) - p * sizes
    variance = groups / (groups - 1) * float((residuals**2).sum()) / n**2
    quantile = float(student.ppf(0.5 + level / 2, groups - 1))
    size = p * (1 - p) / variance * (z_value(level) / quantile) ** 2 if variance > 0 else float(n)
    return min(float(n), size)


def proportion(hits: NDArray[np.bool_], *, codes: Targets, level: float = LEVEL) -> Estimate:
    """Share of `hits` with Wilson's interval.

    Args:
        hits: (m,) what is counted, among the rows that count.
        codes: (m,) group numbers. Where a group has several rows the interval uses `effective_size` and the
            method reads "wilson-design-effect".
        level: Coverage aimed at.

    Returns:
        Value None with method "undefined: no rows" where m is 0.
    """
    if hits.size == 0:
        return undefined("no rows")
    value = float(hits.mean())
    if np.unique(codes).size == hits.size:
        return Estimate(value, *wilson(int(hits.sum()), hits.size, level), "wilson")
    size = effective_size(hits, codes=codes, level=level)
    return Estimate(value, *wilson(min(value * size, size), size, level), "wilson-design-effect")


def mean_of_shares(shares: Sequence[Estimate]) -> Estimate:
    """Mean of independent shares, such as the sensitivities of the classes, with its interval.

    Square-and-add of their Wilson intervals (Newcombe 1998; Zou and Donner 2008): a class with few images
    widens it, and it keeps a width where no image is wrong.
    """
    low, high, value = (
        np.array([getattr(one, side) for one in shares], dtype=np.float64) for side in ("low", "high", "value")
    )
    mean = float(value.mean())
    down, up = (math.hypot(*gaps) / len(shares) for gaps in (value - low, high - value))
    return Estimate(mean, max(0.0, mean - down), min(1.0, mean + up), "wilson-square-and-add")


@dataclass(frozen=True, slots=True)
class Evidence:
    """How much independent evidence a resampled metric rests on.

    Attributes:
        groups: Independent groups: those of the smallest class for a mean over classes, else all.
        unseen: Largest plausible share of a kind of outcome that did not occur: the upper Wilson bound of
            none among the groups, for a mean over classes the mean of the classes' bounds.
    """

    groups: int
    unseen: float


def evidence(codes: Targets, *, targets: Targets, per_class: bool, level: float = LEVEL) -> Evidence:
    """Evidence of (n,) group numbers and targets; `per_class` for a mean over classes."""
    rows = [targets == c for c in np.unique(targets)] if per_class else [np.ones(targets.size, dtype=bool)]
    counts = [np.unique(codes[chosen]).size for chosen in rows]
    return Evidence(min(counts), float(np.mean([wilson(0, count, level)[1] for count in counts])))


def resampled(
    value: float,
    *,
    samples: Floats,
    limits: tuple[float, float],
    known: Evidence,
    method: str,
    level: float = LEVEL,
) -> Estimate:
    """Interval of a metric from the spread of its values on bootstrap resamples, on the logit scale.

    Student's t with one degree of freedom less than there are groups, and the bootstrap's standard error
    widened by sqrt(groups / (groups - 1)) (Hesterberg 2015). Percentiles fall short near the limits, where
    good models are: see the coverage test.

    Args:
        value: The metric on the data, NaN where undefined.
        samples: (B,) its values on the resamples; NaN ones are left out.
        limits: Smallest and largest value the metric can take.
        known: From `evidence`. Where every resample gives the same value (no errors at all, a constant
            predictor) or the value is at a limit, resampling knows no width: the interval then lets the
            unseen share of outcomes turn out at either limit, and the method reads "unseen-outcome".
        method: Name of the resampling; "-logit" is added.
        level: Coverage aimed at.
    """
    from scipy.stats import t as student

    if math.isnan(value):
        return undefined("not defined on these images")
    spread, (bottom, top) = _spread(samples), limits
    share = (value - bottom) / (top - bottom)
    if spread < NO_SPREAD or not 1e-12 < share < 1 - 1e-12:
        return _unseen(value, limits=limits, unseen=known.unseen)
    groups = max(known.groups, 2)
    quantile = float(student.ppf(0.5 + level / 2, groups - 1)) * math.sqrt(groups / (groups - 1))
    half = quantile * spread / (top - bottom) / (share * (1 - share))
    low, high = (bottom + (top - bottom) * expit(math.log(share / (1 - share)) + d) for d in (-half, half))
    return Estimate(value, min(low, value), max(high, value), f"{method}-logit")


def resampled_difference(
    value: float,
    *,
    samples: Floats,
    limits: tuple[float, float],
    known: Evidence,
    method: str,
    level: float = LEVEL,
) -> Estimate:
    """Percentile interval of a paired difference (Efron 1979); arguments as `resampled`."""
    if math.isnan(value):
        return undefined("not defined on these images")
    if _spread(samples) < NO_SPREAD:
        return _unseen(value, limits=limits, unseen=known.unseen)
    kept = samples[~np.isnan(samples)]
    low, high = (float(q) for q in np.quantile(kept, [0.5 - level / 2, 0.5 + level / 2]))
    return Estimate(value, min(low, value), max(high, value), f"{method}-percentile")


def _spread(samples: Floats) -> float:
    kept = samples[~np.isnan(samples)]
    return float(kept.std(ddof=1)) if kept.size > 1 else 0.0


def _unseen(value: float, *, limits: tuple[float, float], unseen: float) -> Estimate:
    low, high = value - unseen * (value - limits[0]), value + unseen * (limits[1] - value)
    return Estimate(value, low, high, "unseen-outcome")


def expit(x: float) -> float:
    """The share whose logit is x."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def undefined(reason: str) -> Estimate:
    """An estimate without a value, and why: never a zero in its place."""
    return Estimate(None, None, None, f"undefined: {reason}")


def as_json(estimate: Estimate) -> dict[str, Any]:
    """{"value", "low", "high", "method"}, numbers rounded to twelve decimals."""
    numbers = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    return {k: None if v is None else round(float(v), 12) for k, v in numbers.items()} | {"method": estimate.method}
