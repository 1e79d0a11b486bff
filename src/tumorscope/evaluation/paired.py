"""Two sets of answers to the same images: McNemar's test, the difference in accuracy, and a verdict.

In: for each image whether each side is right. Out: counts, p-value, difference with interval, one of three
words. "not distinguishable" is an answer, not a failure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.types import Estimate, Targets
from tumorscope.evaluation.intervals import LEVEL, as_json, evidence, resampled_difference
from tumorscope.evaluation.resampling import resample_counts

Verdict: TypeAlias = Literal["better", "worse", "not distinguishable"]
UNDECIDED: Verdict = "not distinguishable"


@dataclass(frozen=True, slots=True)
class Paired:
    """The first side against the second on the same images.

    Attributes:
        verdict: "better" or "worse" only if both the interval excludes zero and McNemar's p is below 0.05.
        difference: Accuracy of the first minus accuracy of the second.
        p_value: McNemar's exact two-sided p. It takes images as independent; the interval keeps groups whole.
        only_first: Images that only the first side gets right.
        only_second: Images that only the second side gets right.
    """

    verdict: Verdict
    difference: Estimate
    p_value: float
    only_first: int
    only_second: int

    def to_json(self) -> dict[str, Any]:
        """JSON-able account."""
        return {
            "verdict": self.verdict,
            "difference": as_json(self.difference),
            "p_value": round(self.p_value, 12),
            "only_first": self.only_first,
            "only_second": self.only_second,
        }


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value (McNemar 1947; binomial with one half): 1 where no image tells them apart."""
    n, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(n, k) for k in range(fewer + 1))
    return min(1.0, float(2 * tail / 2**n)) if n else 1.0


def compare_correct(
    first: NDArray[np.bool_], *, second: NDArray[np.bool_], codes: Targets, bootstrap: int, seed: int
) -> Paired:
    """McNemar's test and the bootstrap interval of the difference in accuracy, whole groups drawn.

    Args:
        first: (n,) where the first side is right.
        second: (n,) where the second side is right, for the same images.
        codes: (n,) group numbers.
        bootstrap: Resamples.
        seed: Same seed, same interval.
    """
    gaps = first.astype(np.float64) - second
    samples = [
        (counts @ gaps) / counts.sum(1)
        for counts in resample_counts(codes, targets=None, resamples=bootstrap, seed=seed)
    ]
    difference = resampled_difference(
        float(gaps.mean()),
        samples=np.concatenate(samples),
        limits=(-1.0, 1.0),
        known=evidence(codes, targets=codes, per_class=False),
        method="bootstrap-groups" if np.unique(codes).size < codes.size else "bootstrap",
    )
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    p_value = mcnemar_exact(only_first, only_second)
    verdict = decide(difference, p_value=p_value)
    return Paired(verdict, difference, p_value, only_first, only_second)


def decide(difference: Estimate, *, p_value: float | None, level: float = LEVEL) -> Verdict:
    """Verdict on the first side: needs an interval on one side of zero and, if there is a p, a small one."""
    if difference.low is None or difference.high is None:
        return UNDECIDED
    if p_value is not None and p_value >= 1 - level:
        return UNDECIDED
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else UNDECIDED


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """p-values adjusted for how many there are (Holm 1979), in the order given."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, largest = [0.0] * len(p_values), 0.0
    for place, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[i]))
        adjusted[i] = largest
    return tuple(adjusted)
