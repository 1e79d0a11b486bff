"""What a reader of the figures must be warned of, each with a stable code.

In: the parts of an evaluation. Out: alarms in a fixed order. An alarm that cannot be checked says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tumorscope.core.types import Estimate
from tumorscope.evaluation.paired import UNDECIDED, Paired
from tumorscope.evaluation.predictions import Predictions

CODES = {
    "EVAL001": "constant predictor",
    "EVAL002": "class absent",
    "EVAL003": "class with few images",
    "EVAL004": "worse than a baseline",
    "EVAL005": "not distinguishable from a baseline",
    "EVAL006": "wide interval",
    "EVAL007": "probabilities are not calibrated",
    "EVAL008": "metric undefined",
    "EVAL009": "baseline not computed",
    "EVAL010": "images are not independent",
    "EVAL011": "empty subset",
    "EVAL012": "the data",
    "EVAL013": "not the test split",
}
"""Every code and what it is about."""

SMALL_CLASS = 30
"""Images of a class below which its rates are rough: at 30, a rate of 0.9 has an interval 0.74 to 0.97."""
WIDE = 0.10
"""Width of a 95% interval, ten points, above which differences among published figures drown."""
CALIBRATION_GAP = 0.05
"""Calibration error above that of a calibrated model of the same size, from which probabilities mislead."""
FLAT = 1e-3
"""Range of each class's probability over all images below which the model does not look at them."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One warning: `code` is a key of `CODES`, `message` one sentence with the numbers."""

    code: str
    message: str


def table_alarms(table: Predictions) -> list[Alarm]:
    """Alarms of the predictions alone: constant predictor, absent and small classes, groups, split."""
    found = []
    answers = np.bincount(table.predicted, minlength=len(table.classes))
    spread = float(np.ptp(table.probs, axis=0).max())
    if len(table) > 1 and (answers.max() == len(table) or spread < FLAT):
        name = table.classes[int(answers.argmax())]
        found.append(
            Alarm(
                "EVAL001",
                f"{int(answers.max())} of {len(table)} images are called {name!r} and the probabilities vary "
                f"by at most {spread:.3g}: this is a constant predictor, whatever its accuracy",
            )
        )
    for name, count in zip(table.classes, np.bincount(table.targets, minlength=len(table.classes)), strict=True):
        if count == 0:
            text = f"no image of class {name!r} in {table.split}: its rates are undefined, averages leave it out"
            found.append(Alarm("EVAL002", text))
        elif count < SMALL_CLASS:
            found.append(Alarm("EVAL003", f"only {count} images of class {name!r}: its rates are rough"))
    groups = len(set(table.groups))
    if groups < len(table):
        text = f"{len(table)} images form {groups} groups (patients or copies); intervals keep groups whole"
        found.append(Alarm("EVAL010", text))
    if table.split != "test":
        found.append(Alarm("EVAL013", f"these figures are of split {table.split!r}, not of the test split"))
    return found


def metric_alarms(metrics: Mapping[str, Estimate], *, calibrated: Estimate, overconfidence: float) -> list[Alarm]:
    """Alarms that the figures raise: undefined, wide, or not calibrated.

    Args:
        metrics: Every metric with its interval.
        calibrated: Calibration error of a perfectly calibrated model of this size.
        overconfidence: Mean confidence minus accuracy.
    """
    found = [Alarm("EVAL008", f"{name} is {one.method}") for name, one in metrics.items() if one.value is None]
    wide = [
        f"{name} {one.low:.3f} to {one.high:.3f}"
        for name, one in metrics.items()
        if name not in ("brier", "ece") and one.low is not None and one.high is not None and one.high - one.low > WIDE
    ]
    if wide:
        found.append(Alarm("EVAL006", f"95% intervals wider than ten points: {'; '.join(wide)}"))
    error, usual, most = metrics["ece"].value or 0.0, calibrated.value or 0.0, calibrated.high or 0.0
    if error > most and error - usual > CALIBRATION_GAP:
        side = "too sure" if overconfidence > 0 else "not sure enough"
        text = (
            f"calibration error {error:.3f}, where a calibrated model of this size would show {usual:.3f} "
            f"(at most {most:.3f}): the model is {side} of itself"
        )
        found.append(Alarm("EVAL007", text))
    return found


def baseline_alarms(verdicts: Mapping[str, Paired | None]) -> list[Alarm]:
    """Alarms for baselines the model does not beat, or that were not computed (None)."""
    found = []
    for name, paired in verdicts.items():
        what = name.replace("_", " ")
        if paired is None:
            text = f"the {what} baseline was not computed: its training figures were not given"
            found.append(Alarm("EVAL009", text))
        elif paired.verdict != "better":
            gap = paired.difference
            code = "EVAL005" if paired.verdict == UNDECIDED else "EVAL004"
            says = "is not distinguishable from" if paired.verdict == UNDECIDED else "is worse than"
            text = (
                f"the model {says} the {what} baseline in accuracy: difference {gap.value:+.3f} "
                f"(95% interval {gap.low:+.3f} to {gap.high:+.3f})"
            )
            found.append(Alarm(code, text))
    return found
