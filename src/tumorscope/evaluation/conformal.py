"""Prediction sets: which classes an answer cannot rule out, at a coverage that was asked for.

In: calibrated probabilities of validation images. Out: one limit a class; the set of a new image holds every class
whose probability is high enough. Class-conditional split conformal prediction with the probability of the true class
as score (LAC: Sadinle, Lei and Wasserman 2019; conditional on the class: Vovk 2012): of new images of each class, at
least the asked share gets a set that holds its class, provided that they are exchangeable with validation's. Pictures
of another scanner, or several slices of a patient, are not quite; coverage on test says how far that goes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.errors import UsageError
from tumorscope.core.types import Probs, Targets
from tumorscope.evaluation.intervals import as_json, proportion
from tumorscope.evaluation.predictions import Predictions

COVERAGE = 0.9
"""Usual coverage: with 10 validation images of a class or more it can be promised."""


@dataclass(frozen=True, slots=True)
class Conformal:
    """Limits of prediction sets.

    Attributes:
        classes: Class names in target order.
        coverage: Share of each class whose set is to hold it.
        limits: (C,) least probability with which a class is in the set; 0 where validation has too few images of
            the class to rule it out ever.
        counts: (C,) validation images of each class.
    """

    classes: tuple[str, ...]
    coverage: float
    limits: tuple[float, ...]
    counts: tuple[int, ...]

    def sets(self, probs: Probs) -> NDArray[np.bool_]:
        """(n, C) membership for (n, C) probabilities; a row may be empty or full."""
        members: NDArray[np.bool_] = np.asarray(probs) >= np.asarray(self.limits)
        return members

    def names(self, probs: Probs) -> list[tuple[str, ...]]:
        """The classes in each set, in class order."""
        return [
            tuple(name for name, inside in zip(self.classes, row, strict=True) if inside)
            for row in self.sets(probs).tolist()
        ]

    @property
    def rule_out(self) -> bool:
        """True if every class can be ruled out; else sets say too little to abstain on."""
        return all(limit > 0 for limit in self.limits)

    def abstentions(self, probs: Probs, *, most: int | None = None) -> list[str]:
        """Why no class is to be named for each row, in words; "" where the most probable one is.

        No class is named where the set is empty, where it holds more classes than `most`, and where the most
        probable class is not in it. Nothing is held back where a class cannot be ruled out for want of validation
        images: that class would be in every set.

        Args:
            probs: (n, C) calibrated probabilities.
            most: Classes in a set at most; by default one fewer than there are.
        """
        if not self.rule_out:
            return [""] * len(probs)
        most = len(self.classes) - 1 if most is None else most
        reasons = []
        for row, inside in zip(np.asarray(probs), self.sets(probs), strict=True):
            size, first = int(inside.sum()), int(row.argmax())
            if not size:
                reasons.append("no class is as probable as it was for nearly all validation images of that class")
            elif size > most:
                reasons.append(f"cannot rule out {size} of {len(self.classes)} classes")
            elif not inside[first]:
                reasons.append(f"the most probable class, {self.classes[first]}, is ruled out")
            else:
                reasons.append("")
        return reasons

    def to_json(self) -> dict[str, Any]:
        """As a card keeps it."""
        return {
            "coverage": self.coverage,
            "limits": dict(zip(self.classes, self.limits, strict=True)),
            "validation_images": dict(zip(self.classes, self.counts, strict=True)),
        }


def from_json(content: Mapping[str, Any], classes: tuple[str, ...]) -> Conformal:
    """What `Conformal.to_json` gave; raises KeyError for classes it does not know."""
    return Conformal(
        classes,
        float(content["coverage"]),
        tuple(float(content["limits"][name]) for name in classes),
        tuple(int(content["validation_images"][name]) for name in classes),
    )


def fit_conformal(probs: Probs, targets: Targets, *, classes: tuple[str, ...], coverage: float = COVERAGE) -> Conformal:
    """Limits from validation; a class with too few images there is never ruled out.

    Args:
        probs: (n, C) calibrated probabilities of validation images.
        targets: (n,) class positions.
        classes: Names in target order.
        coverage: Between 0 and 1.

    Raises:
        UsageError: If the coverage is not between 0 and 1.
    """
    if not 0 < coverage < 1:
        raise UsageError(f"coverage {coverage}", expected="above 0 and below 1", fix="0.9 is usual")
    limits, counts = [], []
    for target in range(len(classes)):
        own = np.sort(probs[targets == target, target])
        # of n + 1 exchangeable images the new one is among the k lowest with probability k / (n + 1)
        # (a hair is added because 10 * (1 - 0.9) is a little less than 1)
        below = math.floor((own.size + 1) * (1 - coverage) + 1e-9)
        limits.append(float(own[below - 1]) if below else 0.0)
        counts.append(int(own.size))
    return Conformal(classes, coverage, tuple(limits), tuple(counts))


def describe_sets(conformal: Conformal, table: Predictions) -> dict[str, Any]:
    """How the sets do on labelled images: coverage, size and abstentions, each with n; JSON-ready.

    Coverage is the share of images whose set holds their class, with a 95% interval by group. `abstention` says how
    often no class is named, and the accuracy where one is.
    """
    members = conformal.sets(table.probs)
    held = members[np.arange(len(table)), table.targets]
    sizes = members.sum(axis=1)
    by_class = {}
    for target, name in enumerate(conformal.classes):
        chosen = table.targets == target
        by_class[name] = {"n": int(chosen.sum()), **as_json(proportion(held[chosen], codes=table.codes[chosen]))}
    silent = np.array([bool(reason) for reason in conformal.abstentions(table.probs)])
    return {
        "asked": conformal.coverage,
        "n": len(table),
        "coverage": as_json(proportion(held, codes=table.codes)),
        "by_class": by_class,
        "mean_size": float(sizes.mean()),
        "share_empty": float((sizes == 0).mean()),
        "share_single": float((sizes == 1).mean()),
        "never_ruled_out": [n for n, limit in zip(conformal.classes, conformal.limits, strict=True) if limit == 0],
        "abstention": {
            "n": len(table),
            "share": as_json(proportion(silent, codes=table.codes)),
            "n_answered": int((~silent).sum()),
            "accuracy_answered": as_json(proportion(table.correct[~silent], codes=table.codes[~silent])),
        },
    }
