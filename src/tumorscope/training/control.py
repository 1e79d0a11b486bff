"""Controls: runs that must fail to learn, as proof that nothing but the labels of training teaches the network.

In: targets and parts, later an evaluation. Out: shuffled targets, and a result like those of the audit's checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.auditing.check import Result, fine, found, signed
from tumorscope.core.types import Targets

PERMUTED = "Control: the labels of training and validation were shuffled. The figures must be at chance."
CODE = "CTRL001"
TITLE = "A network taught shuffled labels does better than chance."


def taught_targets(targets: Targets, rows: Mapping[str, NDArray[np.int64]], *, control: str, seed: int) -> Targets:
    """(N,) int64 targets to teach: the true ones, or shuffled within training and within validation.

    Args:
        targets: (N,) true class positions.
        rows: Positions of train and val.
        control: "none" or "permuted-labels".
        seed: Root of the shuffling.
    """
    if control == "none":
        return targets
    shuffled = targets.copy()
    rng = np.random.default_rng([seed, 0xC0])
    for part in ("train", "val"):
        shuffled[rows[part]] = rng.permutation(targets[rows[part]])
    return shuffled


def control_result(evaluation: Mapping[str, Any]) -> Result:
    """Fine if the interval of balanced accuracy on true test labels reaches down to chance, else a finding."""
    estimate = evaluation["metrics"]["balanced_accuracy"]
    chance = 1 / len(evaluation["classes"])

    figures = {"balanced_accuracy": dict(estimate), "chance": chance}
    text = f"Balanced accuracy {estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f}) on "
    text += f"{evaluation['n']:,} test images with their true labels; chance is {chance:.3f}."
    answer = fine(text, figures=figures)
    if estimate["low"] > chance:
        answer = found(text + " Something beside the labels of training gives the answer away.", figures=figures)
    return signed(answer, code=CODE, title=TITLE, severity="error")
