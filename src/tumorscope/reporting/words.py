"""Numbers and names as a reader sees them: rounding that never flatters, text that cannot act.

In: values from the run folder. Out: short strings. Nothing here knows HTML except `shown`, which makes
control and direction characters visible before the template escapes the rest.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

SHARES = frozenset(
    [
        "accuracy",
        "balanced_accuracy",
        "sensitivity",
        "specificity",
        "ppv",
        "npv",
        "majority_accuracy",
        "pointing",
        "energy",
        "iou",
        "box_hit",
        "ap30",
        "ap50",
    ]
)
"""Metrics that are shares of images, or are reported so; printed as percentages. Others are printed as decimals."""

METRIC_NAMES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "F1, mean of classes",
    "weighted_f1": "F1, weighted by class size",
    "mcc": "Matthews correlation",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "brier": "Brier score",
    "ece": "Expected calibration error",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "f1": "F1",
    "pointing": "Pointing game",
    "energy": "Heat in the boxes",
    "iou": "Overlap (IoU)",
    "box_hit": "Box hit",
    "ap30": "AP at 0.3",
    "ap50": "AP at 0.5",
}
METHOD_NAMES = {
    "wilson": "Wilson",
    "delong": "DeLong",
    "bootstrap": "bootstrap",
    "bootstrap-groups": "bootstrap of whole groups",
    "bootstrap-centred": "bootstrap, centred",
    "bootstrap-groups-centred": "bootstrap of whole groups, centred",
    "bootstrap-of-mean": "bootstrap of the mean",
    "bootstrap-groups-of-mean": "bootstrap of the mean, whole groups",
    "delong-groups": "DeLong, for groups",
    "newcombe": "Newcombe",
    "t-over-seeds": "Student's t over seeds",
    "wilson-design-effect": "Wilson, for groups",
    "unseen-outcome": "all resamples equal: bound of an unseen outcome",
}
LOWER_IS_BETTER = frozenset({"brier", "ece", "log_loss"})

UNDEFINED = "undefined"
MINUS = "\N{MINUS SIGN}"


def metric_name(key: str) -> str:
    """The field's name of a metric: `balanced_accuracy` is "Balanced accuracy"."""
    return METRIC_NAMES.get(key, key.replace("_", " ").capitalize())


def method_name(key: str) -> str:
    """How an interval was made, in words."""
    return METHOD_NAMES.get(key, key.replace("-", " ").replace("_", " "))


def decimal(value: float | None, *, places: int = 3) -> str:
    """`value` with fixed places; one more where rounding would turn it into a perfect 0 or 1."""
    if value is None:
        return UNDEFINED
    for digits in range(places, places + 4):
        text = f"{value:.{digits}f}"
        if float(text) not in (0.0, 1.0, -1.0) or float(text) == value:
            break
    text = text.removeprefix("-") if float(text) == 0 else text
    return text.replace("-", MINUS)


def percent(value: float | None, *, unit: bool = True) -> str:
    """`value` (a share, 0..1) as a percentage with one place; 99.96% is never printed as 100.0%."""
    if value is None:
        return UNDEFINED
    for digits in range(1, 5):
        text = f"{100 * value:.{digits}f}"
        if float(text) not in (0.0, 100.0) or value in (0.0, 1.0):
            break
    return text.replace("-", MINUS) + ("%" if unit else "")


def probability(value: float | None) -> str:
    """One answer's probability: a percentage with one place that never claims certainty."""
    if value is None:
        return UNDEFINED
    if 0.9995 <= value < 1:
        return "> 99.9%"
    return "< 0.1%" if 0 < value < 0.0005 else f"{100 * value:.1f}%"


def metric_value(key: str, value: float | None) -> str:
    """A metric's value in its customary spelling: a percentage for shares, a decimal for the rest."""
    return percent(value) if key in SHARES else decimal(value)


def metric_range(key: str, low: float | None, high: float | None) -> str:
    """An interval as "80.3 to 91.0%" or "0.862 to 0.941"; "no interval" where it is undefined."""
    if low is None or high is None:
        return "no interval"
    if key in SHARES:
        return f"{percent(low, unit=False)} to {percent(high)}"
    return f"{decimal(low)} to {decimal(high)}"


def points(value: float | None) -> str:
    """A difference of two shares in percentage points with its sign, as "+13.4"."""
    if value is None:
        return UNDEFINED
    text = f"{100 * value:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", MINUS)


def count(value: int | None) -> str:
    """A whole number with thousands set apart: "25,557,032"."""
    return "unknown" if value is None else f"{value:,}".replace("-", MINUS)


def plural(number: int, noun: str, many: str = "") -> str:
    """A number with its noun: "1 image", "1,311 images"; `many` for plurals that are not made with an s."""
    return f"{count(number)} {noun if number == 1 else many or noun + 's'}"


def shortened(items: Sequence[T], limit: int) -> tuple[Sequence[T], int]:
    """The first `limit` items and how many are left out; one over the limit is shown, not counted."""
    if len(items) <= limit + 1:
        return items, 0
    return items[:limit], len(items) - limit


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: "a", "a and b", "a, b and c"."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def quoted(names: Sequence[str]) -> list[str]:
    """Each name in quotation marks, for names that hold commas or words of the sentence."""
    return [f"“{name}”" for name in names]


def shown(text: str) -> str:
    """`text` with every character made visible that could hide, reorder or break the page.

    Lone surrogates (bytes of file names that are not UTF-8), control characters and direction overrides
    become backslash escapes; line ends and tabs stay. The template escapes markup afterwards.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible(c) for c in text)


def _visible(character: str) -> str:
    if character in "\n\t":
        return character
    if unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}:
        return character
    point = ord(character)
    if 0xDC80 <= point <= 0xDCFF:
        return f"\\x{point - 0xDC00:02x}"
    return f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
