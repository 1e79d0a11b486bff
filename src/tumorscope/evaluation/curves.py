"""ROC and precision-recall curves class by class, short enough for a report, exact at every point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tumorscope.evaluation.predictions import Predictions
from tumorscope.evaluation.resampling import Floats

MAX_POINTS = 200


def class_curves(table: Predictions) -> dict[str, dict[str, dict[str, list[float]]] | None]:
    """{class: {"roc": {"fpr", "tpr"}, "pr": {"recall", "precision"}}}; None for a class without both kinds.

    The ROC curve runs from (0, 0) to (1, 1); points on straight stretches are left out, which loses nothing.
    The precision-recall curve begins at recall 0 with precision 1, as scikit-learn's ends there. A curve with
    more than 200 corners keeps 200 of them, both ends included, spread evenly along its length.
    """
    found: dict[str, dict[str, dict[str, list[float]]] | None] = {}
    for c, name in enumerate(table.classes):
        positives = table.targets == c
        if positives.all() or not positives.any():
            found[name] = None
            continue
        hits, misses = _counts(table.probs[:, c], positives)
        fpr, tpr = thin(*corners(misses / misses[-1], hits / hits[-1]))
        recall, precision = hits / hits[-1], np.r_[1.0, hits[1:] / (hits + misses)[1:]]
        kept = thin(recall, precision)
        found[name] = {
            "roc": {"fpr": fpr.tolist(), "tpr": tpr.tolist()},
            "pr": {"recall": kept[0].tolist(), "precision": kept[1].tolist()},
        }
    return found


def corners(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """The points of a curve without those in the middle of a straight stretch; the ends always stay."""
    if x.size < 3:
        return x, y
    before, after = (np.diff(x)[:-1], np.diff(y)[:-1]), (np.diff(x)[1:], np.diff(y)[1:])
    turns = np.abs(before[0] * after[1] - before[1] * after[0]) > 1e-15
    keep = np.r_[True, turns, True]
    return x[keep], y[keep]


def thin(x: Floats, y: Floats, *, points: int = MAX_POINTS) -> tuple[Floats, Floats]:
    """At most `points` of the curve's own points, evenly along its length, both ends included."""
    if x.size <= points:
        return x, y
    length = np.r_[0.0, np.cumsum(np.hypot(np.diff(x), np.diff(y)))]
    nearest = np.searchsorted(length, np.linspace(0, length[-1], points))
    keep = np.unique(np.r_[0, np.clip(nearest, 0, x.size - 1), x.size - 1])[-points:]
    keep[0] = 0
    return x[keep], y[keep]


def _counts(scores: Floats, positives: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    order = np.argsort(-scores, kind="stable")
    last_of_ties = np.r_[scores[order][1:] != scores[order][:-1], True]
    hits, misses = (np.cumsum(kind[order])[last_of_ties] for kind in (positives, ~positives))
    return np.r_[0.0, hits], np.r_[0.0, misses]
