"""One predictions table in, every figure about it out: metrics with intervals, baselines, alarms.

Same table and seed, same result, whatever the order of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.errors import DataError
from tumorscope.core.types import Estimate, Probs, Targets
from tumorscope.evaluation.alarms import Alarm, baseline_alarms, metric_alarms, table_alarms
from tumorscope.evaluation.auroc import auroc_estimate
from tumorscope.evaluation.baselines import beats, majority_class
from tumorscope.evaluation.calibration import ReliabilityBin, ece_if_calibrated, reliability_bins
from tumorscope.evaluation.curves import class_curves
from tumorscope.evaluation.estimates import BOOTSTRAP, class_estimates, metric_estimates, overall_area
from tumorscope.evaluation.intervals import as_json, proportion, undefined
from tumorscope.evaluation.metrics import LIMITS, confusion_matrix
from tumorscope.evaluation.operating import OperatingPoint, at_threshold
from tumorscope.evaluation.paired import Paired
from tumorscope.evaluation.predictions import Predictions


@dataclass(frozen=True, slots=True)
class Baseline:
    """A simple rule on the same images, and whether the model beats it.

    Attributes:
        label: The class it always answers, None if it answers several.
        accuracy: Its accuracy.
        auroc: Its area under the ROC curve, undefined for a constant answer.
        paired: The model against it.
    """

    label: str | None
    accuracy: Estimate
    auroc: Estimate
    paired: Paired


@dataclass(frozen=True, slots=True)
class Subset:
    """The same metrics on part of the images.

    Attributes:
        n: Number of images.
        per_class: Images by class.
        metrics: Every metric, undefined in an empty part.
    """

    n: int
    per_class: dict[str, int]
    metrics: dict[str, Estimate]


@dataclass(frozen=True)
class Evaluation:
    """Every figure about one predictions table. `to_json()` is the file, `str()` the text for a terminal."""

    split: str
    n: int
    classes: tuple[str, ...]
    positive: str | None
    metrics: dict[str, Estimate]
    per_class: dict[str, dict[str, Estimate | int]]
    baselines: dict[str, Baseline | None]
    confusion: tuple[tuple[int, ...], ...]
    bins: tuple[ReliabilityBin, ...]
    calibrated: Estimate
    temperature: float | None
    curves: dict[str, dict[str, dict[str, list[float]]] | None]
    operating_point: dict[str, Any] | None
    subsets: dict[str, Subset]
    warnings: tuple[Alarm, ...]
    provenance: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """JSON-able account, keys as in the attributes; each estimate has value, low, high and method."""
        from tumorscope.evaluation.rendering import evaluation_json

        return evaluation_json(self)

    def __str__(self) -> str:
        from tumorscope.evaluation.rendering import evaluation_text

        return evaluation_text(self)


def evaluate(
    predictions: Predictions,
    *,
    train_counts: Mapping[str, int] | None,
    histogram_probs: Probs | None = None,
    threshold: float | OperatingPoint | None = None,
    temperature: float | None = None,
    subsets: Mapping[str, NDArray[np.bool_]] | None = None,
    provenance: Mapping[str, Any] | None = None,
    data_warnings: Sequence[str] = (),
    bootstrap: int = BOOTSTRAP,
    seed: int = 0,
) -> Evaluation:
    """Every figure about `predictions`.

    Args:
        predictions: n images of one split.
        train_counts: Training images by class, for the majority-class baseline; None if not known, which the
            warnings then say.
        histogram_probs: (n, C) answers of the intensity-histogram baseline, rows as in `predictions`.
        threshold: Operating point chosen on validation, two classes with a positive one only. Without it, the
            operating point of such a table is that of the largest probability.
        temperature: The temperature that is already in the probabilities; recorded, not applied.
        subsets: (n,) masks of named parts, such as "no copy in training"; rows as in `predictions`.
        provenance: Where the table comes from; recorded with the table's own hash.
        data_warnings: Sentences about the data that a reader of the figures needs.
        bootstrap: Resamples.
        seed: Same seed, same intervals.

    Raises:
        DataError: Masks or baseline answers of another length, or training counts of other classes.
        UsageError: An operating point where there is none.
    """
    order = predictions.order()
    table = predictions.take(order)
    metrics = metric_estimates(table, bootstrap=bootstrap, seed=seed)
    confidence = table.probs.max(1)
    calibrated = ece_if_calibrated(confidence, seed=seed)
    baselines = {
        "majority_class": None
        if train_counts is None
        else _majority(table, train_counts, bootstrap=bootstrap, seed=seed),
        "intensity_histogram": None
        if histogram_probs is None
        else _histogram(table, _rows(histogram_probs, order, "histogram_probs"), bootstrap, seed),
    }
    parts = {
        name: _subset(table, np.asarray(_rows(mask, order, name), dtype=bool), bootstrap, seed)
        for name, mask in (subsets or {}).items()
    }
    matrix = confusion_matrix(table.targets, predicted=table.predicted, classes=len(table.classes))
    warnings = [
        *table_alarms(table),
        *metric_alarms(
            metrics,
            calibrated=calibrated,
            overconfidence=float(confidence.mean() - table.correct.mean()),
        ),
        *baseline_alarms({name: one.paired if one else None for name, one in baselines.items()}),
        *(Alarm("EVAL011", f"no image in subset {name!r}") for name, part in parts.items() if part.n == 0),
        *(Alarm("EVAL012", text) for text in data_warnings),
    ]
    return Evaluation(
        split=table.split,
        n=len(table),
        classes=table.classes,
        positive=table.positive,
        metrics=metrics,
        per_class=class_estimates(table),
        baselines=baselines,
        confusion=tuple(tuple(row) for row in matrix.tolist()),
        bins=reliability_bins(table),
        calibrated=calibrated,
        temperature=temperature,
        curves=class_curves(table),
        operating_point=_operating_point(table, threshold),
        subsets=parts,
        warnings=tuple(warnings),
        provenance={
            **(provenance or {}),
            "predictions_sha256": table.sha256,
            "bootstrap": bootstrap,
            "seed": seed,
        },
    )


def _rows(values: Any, order: Targets, name: str) -> NDArray[Any]:
    array = np.asarray(values)
    if len(array) != order.size:
        raise DataError(f"{len(array)} rows for {name!r}", expected=f"{order.size}, one for each image")
    return np.asarray(array[order])


def _majority(table: Predictions, counts: Mapping[str, int], *, bootstrap: int, seed: int) -> Baseline:
    label = majority_class(counts, classes=table.classes)
    answers = np.full(len(table), table.classes.index(label))
    paired = beats(table, baseline=answers, bootstrap=bootstrap, seed=seed)
    accuracy = proportion(answers == table.targets, codes=table.codes)
    return Baseline(label, accuracy, undefined("one answer for all images ranks none"), paired)


def _histogram(table: Predictions, probs: Probs, bootstrap: int, seed: int) -> Baseline:
    simple = replace(table, probs=probs)
    paired = beats(table, baseline=simple.predicted, bootstrap=bootstrap, seed=seed)
    auroc = auroc_estimate(overall_area(simple), codes=table.codes)
    return Baseline(None, proportion(simple.correct, codes=table.codes), auroc, paired)


def _subset(table: Predictions, mask: NDArray[np.bool_], bootstrap: int, seed: int) -> Subset:
    counts = np.bincount(table.targets[mask], minlength=len(table.classes))
    per_class = dict(zip(table.classes, counts.tolist(), strict=True))
    if not mask.any():
        return Subset(0, per_class, dict.fromkeys(LIMITS, undefined("no images")))
    part = table.take(mask)
    return Subset(len(part), per_class, metric_estimates(part, bootstrap=bootstrap, seed=seed))


def _operating_point(table: Predictions, threshold: float | OperatingPoint | None) -> dict[str, Any] | None:
    if threshold is None:
        if table.positive is None or len(table.classes) != 2:
            return None
        point = OperatingPoint(0.5, table.positive, "largest-probability", "", 0)
    elif isinstance(threshold, OperatingPoint):
        point = threshold
        if point.positive != table.positive:
            raise DataError(
                f"an operating point for {point.positive!r}, a table with positive class {table.positive!r}",
                expected="the same positive class",
                fix="choose the operating point on validation predictions of the same model",
            )
    else:
        point = OperatingPoint(float(threshold), str(table.positive), "given", "", 0)
    rates = at_threshold(table, point.threshold)
    return asdict(point) | {name: as_json(one) for name, one in rates.items()}
