"""A published figure against arithmetic: can it be, how wide is its interval, is it above the majority class.

In: the figure as printed and the number of images. Out: a `ClaimReport`. It says what the figure can mean,
not whether the study was sound.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tumorscope.core.errors import UsageError
from tumorscope.core.files import plain
from tumorscope.core.types import Estimate
from tumorscope.evaluation.claim_words import sentences
from tumorscope.evaluation.intervals import LEVEL, as_json, undefined, wilson
from tumorscope.evaluation.printed import SEARCH_LIMIT, Printed, Range, read_figure

SHARES = ("accuracy", "sensitivity", "specificity", "ppv", "npv")
"""Metrics that are k of n. For the last four n is the number of images they are taken over."""
METRICS = (*SHARES, "f1", "weighted_f1", "macro_f1")
HALF_WIDTHS = (0.05, 0.02, 0.01)
MOST_IMAGES = 1_000_000


@dataclass(frozen=True, slots=True)
class Nearest:
    """A value that n images can give: k right, the rest errors, and how it would be printed."""

    k: int
    errors: int
    value: float
    printed: str


@dataclass(frozen=True, slots=True)
class MajorityCheck:
    """The figure against always answering the most frequent class.

    Attributes:
        share: Share of that class among the n images.
        p_value: Chance of at least as many right answers with that share (exact binomial, one-sided).
        verdict: "above", or "not distinguishable" where the chance is at least 1 - level.
    """

    share: float
    p_value: float
    verdict: str


@dataclass(frozen=True, slots=True)
class ClaimReport:
    """What arithmetic says about a printed figure.

    Attributes:
        metric: What the figure is of.
        printed: The figure as given.
        share: Its value, 0..1.
        decimals: Decimals of the share that were printed.
        n: Number of images.
        possible: True, False, or None where arithmetic cannot tell.
        by_rounding: For halves up, halves to even and cutting off: which counts give the figure (fewest and
            most right answers, or an example for F1), None if none does.
        nearest: The values just below and above that n images can give; empty for F1.
        smallest_n: Fewest images that can give the figure, by any of the three; None up to 200,000.
        nearest_n: Numbers of images nearest to n, below and above, that can give it.
        interval: Wilson interval of the figure.
        level: Coverage of the interval.
        majority: Against the majority class, where its share was given.
        needed: Images needed for an interval of plus or minus each half-width at this figure.
        sentences: The same in words.
    """

    metric: str
    printed: str
    share: float
    decimals: int
    n: int
    possible: bool | None
    by_rounding: dict[str, dict[str, int] | None]
    nearest: tuple[Nearest, ...]
    smallest_n: int | None
    nearest_n: tuple[int, ...]
    interval: Estimate
    level: float
    majority: MajorityCheck | None
    needed: dict[str, int]
    sentences: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON-able account."""
        account: dict[str, Any] = plain(asdict(self))
        return account | {"interval": as_json(self.interval)}


def check_claim(
    *,
    accuracy: Decimal | str,
    n: int,
    majority_share: float | None = None,
    level: float = LEVEL,
    half_width: float | None = None,
    metric: str = "accuracy",
    positives: int | None = None,
) -> ClaimReport:
    """What arithmetic says about a figure printed for n images.

    Args:
        accuracy: The figure as printed, of whatever `metric`: "0.9996", "99.96%", Decimal("0.9996").
        n: Images it was measured on; for sensitivity those of the class, for ppv those called so.
        majority_share: Share of the most frequent class among them, 0..1, for accuracy.
        level: Coverage of the interval.
        half_width: Wanted half-width of the interval, 0..0.5; 0.05, 0.02 and 0.01 by default.
        metric: One of `METRICS`.
        positives: Images of the positive class among n, for "f1".

    Raises:
        UsageError: A figure that is no plain number, an unknown metric, or numbers out of range.
    """
    figure = read_figure(accuracy)
    _check_numbers(n, majority_share, half_width, metric, positives)
    ranges = figure.ranges()
    if metric in SHARES:
        by_rounding = {name: _counts(one.multiples(n)) for name, one in ranges.items()}
    else:
        by_rounding = {name: _f1_example(one, n, positives, metric) for name, one in ranges.items()}
    possible: bool | None = any(by_rounding.values())
    if metric in ("macro_f1", "weighted_f1") and not possible:
        excluded = metric == "weighted_f1" and all(_weighted_f1_excludes(one, n) for one in ranges.values())
        possible = False if excluded else None
    nearest: tuple[Nearest, ...] = ()
    fitting: list[int] = []
    majority, needed = None, {}
    interval = undefined("F1 is no share of independent images; resample its predictions")
    if metric in SHARES:
        nearest = _nearest(figure, n)
        limit = min(SEARCH_LIMIT, n + 10**figure.decimals)
        fitting = sorted({size for one in ranges.values() for size in one.sizes_that_fit(limit)})
        interval = _interval(figure, n, by_rounding, level)
        widths = HALF_WIDTHS if half_width is None else (half_width,)
        needed = {f"{w:g}": images_needed(float(figure.share), half_width=w, level=level) for w in widths}
        if majority_share is not None and metric == "accuracy":
            majority = _majority(figure, n, by_rounding, majority_share, level)
    near = [max((s for s in fitting if s < n), default=0), min((s for s in fitting if s > n), default=0)]
    report = ClaimReport(
        metric,
        figure.text,
        float(figure.share),
        figure.decimals,
        n,
        possible,
        by_rounding,
        nearest,
        fitting[0] if fitting else None,
        tuple(s for s in near if s),
        interval,
        level,
        majority,
        needed,
        (),
    )
    return replace(report, sentences=sentences(report, percent_assumed=figure.percent and "%" not in figure.text))


def images_needed(share: float, *, half_width: float, level: float = LEVEL) -> int:
    """Fewest images for which the Wilson interval at `share` is at most plus or minus `half_width` wide.

    Raises:
        UsageError: More than a million.
    """

    def half(n: int) -> float:
        low, high = wilson(share * n, n, level)
        return (high - low) / 2

    low, high = 0, 1
    while half(high) > half_width:
        low, high = high, high * 2
        if high > MOST_IMAGES:
            raise UsageError(f"half-width {half_width}", expected="one that a million images can give")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if half(middle) > half_width else (low, middle)
    return high


def _counts(found: tuple[int, int] | None) -> dict[str, int] | None:
    return None if found is None else {"fewest_right": found[0], "most_right": found[1]}


def _nearest(figure: Printed, n: int) -> tuple[Nearest, ...]:
    below = int(figure.share * n)
    ks = [below] if below == n or figure.share * n == below else [below, below + 1]
    return tuple(Nearest(k, n - k, k / n, figure.again(Fraction(k, n))) for k in ks)


def _interval(figure: Printed, n: int, by_rounding: dict[str, Any], level: float) -> Estimate:
    usual = by_rounding["half-up"] or by_rounding["half-even"] or by_rounding["truncation"]
    value = float(figure.share)
    fewest, most = (usual["fewest_right"], usual["most_right"]) if usual else (value * n, value * n)
    low, high = wilson(fewest, n, level)[0], wilson(most, n, level)[1]
    return Estimate(value, min(low, value), max(high, value), "wilson")


def _majority(figure: Printed, n: int, by_rounding: dict[str, Any], share: float, level: float) -> MajorityCheck:
    from scipy.stats import binom

    possible = [one["fewest_right"] for one in by_rounding.values() if one]
    right = min(possible) if possible else int(figure.share * n)
    p_value = float(binom.sf(right - 1, n, share))
    return MajorityCheck(share, p_value, "above" if p_value < 1 - level else "not distinguishable")


def _f1_example(wanted: Range, n: int, positives: int | None, metric: str) -> dict[str, int] | None:
    """Counts whose F1 = 2 TP / (2 TP + FP + FN) lies in the range; with averages only the perfect one."""
    if metric != "f1":
        return {"errors": 0} if Fraction(1) in wanted else None
    if Fraction(0) in wanted:
        missed = positives or 1
        return {"tp": 0, "fp": 0, "fn": missed}
    for tp in range(positives or n, 0, -1):
        fewest = 0 if positives is None else positives - tp
        most = n - tp
        # F1 falls with errors e = FP + FN: 2 TP / (2 TP + e) <= high gives the first e worth trying.
        first = max(fewest, -(-(2 * tp * (wanted.high.denominator - wanted.high.numerator)) // wanted.high.numerator))
        for errors in (first, first + 1):
            if fewest <= errors <= most and Fraction(2 * tp, 2 * tp + errors) in wanted:
                missed = 0 if positives is None else positives - tp
                return {"tp": tp, "fp": errors - missed, "fn": missed}
    return None


def _weighted_f1_excludes(wanted: Range, n: int) -> bool:
    """True if the range lies between the largest imperfect weighted F1 of n images, 1 - 5/(6 n), and one.

    One error takes a true image from one class, which costs more than 1/2 image, and puts it into another,
    which costs at least 1/3; further errors only add. Holds where every averaged class has test images.
    """
    return Fraction(1) not in wanted and wanted.low >= 1 - Fraction(5, 6 * n)


def _check_numbers(
    n: int, majority_share: float | None, half_width: float | None, metric: str, positives: int | None
) -> None:
    if metric not in METRICS:
        raise UsageError(f"metric {metric!r}", expected=f"one of {', '.join(METRICS)}")
    if not 1 <= n <= MOST_IMAGES:
        raise UsageError(f"{n} images", expected=f"1 to {MOST_IMAGES}", fix="give the number of test images")
    if majority_share is not None and not 0 < majority_share < 1:
        raise UsageError(f"majority share {majority_share}", expected="between 0 and 1, such as 0.731")
    if half_width is not None and not 0 < half_width < 0.5:
        raise UsageError(f"half-width {half_width}", expected="between 0 and 0.5, such as 0.02")
    if positives is not None and not 1 <= positives <= n:
        raise UsageError(f"{positives} positives among {n}", expected=f"1 to {n}")
