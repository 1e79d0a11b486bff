"""The operating point: a threshold on the positive class, chosen on validation, reported on test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.errors import UsageError
from tumorscope.core.types import Estimate, Targets
from tumorscope.evaluation.intervals import proportion
from tumorscope.evaluation.predictions import Predictions


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold: an image is called positive if the positive class's probability reaches it.

    Attributes:
        threshold: 0..1.
        positive: The positive class.
        rule: "youden", "sensitivity>=0.95", "largest-probability" or "given".
        chosen_on: Split it was chosen on, "" where it was given.
        n: Number of images it was chosen on.
    """

    threshold: float
    positive: str
    rule: str
    chosen_on: str
    n: int


def choose_operating_point(validation: Predictions, *, target_sensitivity: float | None = None) -> OperatingPoint:
    """The threshold with the largest sensitivity + specificity - 1 on validation (Youden 1950).

    With `target_sensitivity`, the highest threshold that still reaches it. Thresholds lie half-way between
    neighbouring scores. Of equal thresholds the one with the higher sensitivity is taken.

    Raises:
        UsageError: No positive class, a test split, a class without images, or a target outside 0..1.
    """
    positives = _positives(validation)
    if validation.split == "test":
        raise UsageError(
            "a threshold chosen on the test split",
            expected="validation predictions",
            fix="choose on validation; a threshold tuned on test inflates every figure",
        )
    if target_sensitivity is not None and not 0 < target_sensitivity <= 1:
        raise UsageError(f"target sensitivity {target_sensitivity}", expected="above 0, at most 1")
    if positives.all() or not positives.any():
        raise UsageError(
            f"{int(positives.sum())} positive of {len(positives)} validation images",
            expected="both classes",
            fix="make the split again, stratified by class",
        )
    scores = validation.probs[:, validation.positive_index or 0]
    values = np.unique(scores)
    thresholds = np.concatenate([[0.0], (values[1:] + values[:-1]) / 2])
    called = np.searchsorted(np.sort(scores[positives]), thresholds, side="left")
    sensitivity = 1 - called / positives.sum()
    specificity = np.searchsorted(np.sort(scores[~positives]), thresholds, side="left") / (~positives).sum()
    if target_sensitivity is None:
        best, rule = int(np.argmax(np.round(sensitivity + specificity, 12))), "youden"
    else:
        reaching = np.flatnonzero(sensitivity >= target_sensitivity - 1e-12)
        best, rule = int(reaching.max()), f"sensitivity>={target_sensitivity:g}"
    positive = validation.classes[validation.positive_index or 0]
    return OperatingPoint(float(thresholds[best]), positive, rule, validation.split, len(validation))


def at_threshold(table: Predictions, threshold: float) -> dict[str, Estimate]:
    """Sensitivity, specificity, ppv, npv and accuracy of `table` at a threshold, each with its interval.

    Raises:
        UsageError: No positive class, more than two classes, or a threshold outside 0..1.
    """
    positives = _positives(table)
    if not 0 <= threshold <= 1:
        raise UsageError(f"threshold {threshold}", expected="a probability, 0 to 1")
    called = table.probs[:, table.positive_index or 0] >= threshold
    return two_class_rates(positives, called=called, codes=table.codes) | {
        "accuracy": proportion(called == positives, codes=table.codes)
    }


def two_class_rates(positives: NDArray[np.bool_], *, called: NDArray[np.bool_], codes: Targets) -> dict[str, Estimate]:
    """Sensitivity, specificity, ppv and npv of calling `called` positive, each with its interval."""
    parts = {
        "sensitivity": (called, positives),
        "specificity": (~called, ~positives),
        "ppv": (positives, called),
        "npv": (~positives, ~called),
    }
    return {name: proportion(hit[among], codes=codes[among]) for name, (hit, among) in parts.items()}


def _positives(table: Predictions) -> NDArray[np.bool_]:
    if table.positive_index is None or len(table.classes) != 2:
        raise UsageError(
            f"an operating point for {len(table.classes)} classes, positive class {table.positive!r}",
            expected="two classes, one of them named as positive",
            fix="name the positive class, or leave the operating point out",
        )
    return np.asarray(table.targets == table.positive_index)
