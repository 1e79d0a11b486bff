"""The values of all metrics, on the data and on any number of resamples of it in one go.

In: targets, probabilities and how often each image counts. Out: one value a resample; NaN where a metric is
not defined, never zero in its place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.types import Probs, Targets
from tumorscope.evaluation.predictions import Predictions
from tumorscope.evaluation.resampling import Floats

ECE_BINS = 15
LIMITS: dict[str, tuple[float, float]] = {
    "accuracy": (0.0, 1.0),
    "balanced_accuracy": (0.0, 1.0),
    "macro_f1": (0.0, 1.0),
    "weighted_f1": (0.0, 1.0),
    "mcc": (-1.0, 1.0),
    "auroc": (0.0, 1.0),
    "auprc": (0.0, 1.0),
    "brier": (0.0, 2.0),
    "ece": (0.0, 1.0),
}
"""Every metric, and the smallest and largest value it can take."""


def metric_values(table: Predictions, counts: Floats | None = None) -> dict[str, Floats]:
    """Each metric of `LIMITS` as a (b,) array, one value for each row of `counts`.

    accuracy: share of images whose largest probability is that of their class. balanced_accuracy: mean
    sensitivity of the classes present. macro_f1 and weighted_f1: mean of the classes' F1, plain and by class
    size, over classes that are present or predicted. mcc: multi-class Matthews correlation (Gorodkin 2004).
    auroc, auprc: of the positive class where there is one, else the mean over the classes present of one
    against the rest; auprc is the average precision, without interpolation. brier: mean over images of the
    squared errors summed over classes, 0..2 (Brier 1950). ece: expected calibration error of the largest
    probability in 15 bins of equal width (Guo et al. 2017).

    Args:
        table: n predictions.
        counts: (b, n) how often each image counts; None counts each once, and b is 1.
    """
    n, classes = table.probs.shape
    weights = np.ones((1, n)) if counts is None else counts
    total = weights.sum(1)
    cells = np.zeros((n, classes * classes))
    cells[np.arange(n), table.targets * classes + table.predicted] = 1
    matrix = (weights @ cells).reshape(-1, classes, classes)
    squares = ((table.probs - np.eye(classes)[table.targets]) ** 2).sum(1)
    return {
        **_from_confusion(matrix),
        **_from_ranks(table, weights),
        "brier": (weights @ squares) / total,
        "ece": calibration_error(table.probs.max(1), correct=table.correct, counts=weights),
    }


def point_values(table: Predictions) -> dict[str, float]:
    """Each metric of `LIMITS` on the images as they are, NaN where undefined."""
    return {name: float(value[0]) for name, value in metric_values(table).items()}


def confusion_matrix(targets: Targets, *, predicted: Targets, classes: int) -> Targets:
    """(C, C) int64 counts: rows are labels, columns are predictions."""
    counts = np.bincount(targets * classes + predicted, minlength=classes**2)
    return np.asarray(counts.reshape(classes, classes), dtype=np.int64)


def confidence_bins(confidence: Floats) -> Targets:
    """(n,) int64 bin of each confidence: 15 of equal width, closed above, 0 in the first."""
    bins = np.clip(np.ceil(confidence * ECE_BINS) - 1, 0, ECE_BINS - 1)
    return np.asarray(bins, dtype=np.int64)


def calibration_error(confidence: Floats, *, correct: NDArray[np.bool_], counts: Floats) -> Floats:
    """(b,) expected calibration error for each row of `counts`."""
    gaps = np.zeros((confidence.size, ECE_BINS))
    gaps[np.arange(confidence.size), confidence_bins(confidence)] = correct - confidence
    return np.asarray(np.abs(counts @ gaps).sum(1) / counts.sum(1), dtype=np.float64)


def rank_values(scores: Floats, *, positives: NDArray[np.bool_], counts: Floats) -> tuple[Floats, Floats]:
    """(b,) area under the ROC curve and (b,) average precision, NaN without positives or negatives."""
    order = np.argsort(-scores, kind="stable")
    ranked, weights = scores[order], counts[:, order]
    hits = weights * positives[order]
    misses = weights - hits
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    if starts.size < scores.size:
        hits, misses = (np.add.reduceat(part, starts, axis=1) for part in (hits, misses))
    true, false = np.cumsum(hits, axis=1), np.cumsum(misses, axis=1)
    all_hits, all_misses = true[:, -1], false[:, -1]
    with np.errstate(invalid="ignore", divide="ignore"):
        below = all_misses[:, None] - false + misses / 2
        auroc = (hits * below).sum(1) / (all_hits * all_misses)
        precision = np.where(hits > 0, true / (true + false), 0.0)
        return auroc, np.where(all_misses > 0, (hits * precision).sum(1) / all_hits, np.nan)


def _from_confusion(matrix: Floats) -> dict[str, Floats]:
    labels, predicted, hits = matrix.sum(2), matrix.sum(1), np.einsum("bcc->bc", matrix)
    total = labels.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity = hits / labels
        f1 = 2 * hits / (labels + predicted)
        covariance = hits.sum(1) * total - (labels * predicted).sum(1)
        spread = (total**2 - (labels**2).sum(1)) * (total**2 - (predicted**2).sum(1))
        mcc = np.where(spread > 0, covariance / np.sqrt(spread), np.nan)
    several = (labels > 0).sum(1) > 1
    return {
        "accuracy": hits.sum(1) / total,
        "balanced_accuracy": np.where(several, _mean_known(sensitivity), np.nan),
        "macro_f1": _mean_known(f1),
        "weighted_f1": np.where(labels > 0, labels * f1, 0.0).sum(1) / total,
        "mcc": mcc,
    }


def _from_ranks(table: Predictions, counts: Floats) -> dict[str, Floats]:
    chosen = table.positive_index
    columns = range(len(table.classes)) if chosen is None or len(table.classes) > 2 else [chosen]
    pairs = [rank_values(table.probs[:, c], positives=table.targets == c, counts=counts) for c in columns]
    return {
        name: _mean_known(np.stack([pair[i] for pair in pairs], axis=1)) for i, name in enumerate(("auroc", "auprc"))
    }


def _mean_known(values: Probs) -> Floats:
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(1) / known.sum(1), dtype=np.float64)
