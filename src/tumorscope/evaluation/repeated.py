"""Several runs on the same images: seeds of one recipe, or repeats of a cross-validation.

In: one predictions table a run. Out: the mean of each metric, how much runs differ, and an interval for new
images. Folds and repeats share training images, so they are not independent: no unbiased estimate of the
variance of K-fold cross-validation exists (Bengio and Grandvalet 2004), and t-tests over folds or repeats
find too much (Nadeau and Bengio 2003). Intervals here resample test images, with the models as trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tumorscope.core.errors import DataError
from tumorscope.core.types import Estimate
from tumorscope.evaluation.comparison import match
from tumorscope.evaluation.estimates import BOOTSTRAP, MACRO
from tumorscope.evaluation.intervals import (
    LEVEL,
    Evidence,
    as_json,
    evidence,
    resampled,
    resampled_difference,
    undefined,
)
from tumorscope.evaluation.metrics import LIMITS, metric_values, point_values
from tumorscope.evaluation.paired import Verdict, decide
from tumorscope.evaluation.predictions import Predictions
from tumorscope.evaluation.resampling import Floats, resample_counts

OUT_OF_FOLD = "out-of-fold"


@dataclass(frozen=True, slots=True)
class Repeated:
    """One metric over several runs.

    Attributes:
        per_run: Its value in each run, None where undefined.
        mean: Mean over the runs where it is defined, with the interval of that mean over test images (the
            models as trained), method "bootstrap-of-mean-logit" or "bootstrap-groups-of-mean-logit".
        sd: Standard deviation between runs (n - 1), None with one run.
        low: Smallest run.
        high: Largest run.
        over_seeds: Mean with Student's t-interval over seeds (the test images as they are); undefined for
            repeats of a cross-validation, which are not independent.
    """

    per_run: tuple[float | None, ...]
    mean: Estimate
    sd: float | None
    low: float | None
    high: float | None
    over_seeds: Estimate


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Every metric over several runs of one kind, "seeds" or "repeats", on n images."""

    kind: str
    runs: int
    n: int
    metrics: dict[str, Repeated]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON-able account."""
        rows = {
            name: {
                "per_run": list(one.per_run),
                "mean": as_json(one.mean),
                "sd": one.sd,
                "min": one.low,
                "max": one.high,
                "over_seeds": as_json(one.over_seeds),
            }
            for name, one in self.metrics.items()
        }
        return {
            "kind": self.kind,
            "runs": self.runs,
            "n": self.n,
            "metrics": rows,
            "notes": list(self.notes),
        }


def aggregate_seeds(runs: Sequence[Predictions], *, bootstrap: int = BOOTSTRAP, seed: int = 0) -> Aggregate:
    """Runs that differ in their seed only, evaluated on the same images.

    Raises:
        DataError: No run, or runs on other images.
    """
    notes = (
        "mean: interval over test images, models as trained",
        "over_seeds: interval over seeds, test images as given",
    )
    return _aggregate("seeds", runs, notes=notes, bootstrap=bootstrap, seed=seed)


def aggregate_repeats(repeats: Sequence[Predictions], *, bootstrap: int = BOOTSTRAP, seed: int = 0) -> Aggregate:
    """Repeats of a K-fold cross-validation, each pooled by `pool_folds` to one prediction for every image.

    Raises:
        DataError: No repeat, or repeats on other images.
    """
    notes = (
        "interval over images, models as trained: it leaves out how results vary with the training images, "
        "which folds and repeats cannot estimate without bias (Bengio and Grandvalet 2004)",
    )
    return _aggregate("repeats", repeats, notes=notes, bootstrap=bootstrap, seed=seed)


def pool_folds(folds: Sequence[Predictions]) -> Predictions:
    """The held-out predictions of all folds of one repeat as one table, split "out-of-fold".

    Raises:
        DataError: No fold, other classes between folds, an image in two folds, or a group across folds.
    """
    if not folds:
        raise DataError("no folds", expected="the held-out predictions of each fold")
    first = folds[0]
    if any((fold.classes, fold.positive) != (first.classes, first.positive) for fold in folds):
        raise DataError("folds with different classes", expected="the same classes in every fold")
    home: dict[str, int] = {}
    for i, fold in enumerate(folds):
        for group in set(fold.groups):
            if home.setdefault(group, i) != i:
                raise DataError(
                    f"group {group!r} is held out in fold {home[group]} and in fold {i}",
                    expected="each patient, copy group and image in one fold",
                    fix="make folds of whole groups",
                )
    return Predictions(
        tuple(path for fold in folds for path in fold.paths),
        np.concatenate([fold.targets for fold in folds]),
        np.concatenate([fold.probs for fold in folds]),
        first.classes,
        first.positive,
        OUT_OF_FOLD,
        tuple(patient for fold in folds for patient in fold.patients),
        tuple(group for fold in folds for group in fold.groups),
    )


@dataclass(frozen=True, slots=True)
class RepeatedDifference:
    """Mean over runs of a minus mean over runs of b for one metric, and the verdict on a by its interval."""

    difference: Estimate
    verdict: Verdict


def compare_repeated(
    a: Sequence[Predictions], b: Sequence[Predictions], *, bootstrap: int = BOOTSTRAP, seed: int = 0
) -> dict[str, RepeatedDifference]:
    """Two sets of runs (seeds or repeats) on the same images: difference of their means, metric by metric.

    Every resample draws the same images for all runs of both sides. No p-value is given: neither repeats nor
    folds are independent (Nadeau and Bengio 2003); the verdict is that of the interval.

    Raises:
        DataError: No run on a side, or runs on other images.
    """
    aligned = _aligned([*a, *b]) if a and b else _aligned([])
    values = [point_values(table) for table in aligned]
    first, second = _mean(values[: len(a)]), _mean(values[len(a) :])
    drawn_a, drawn_b = (_drawn(part, bootstrap=bootstrap, seed=seed) for part in (aligned[: len(a)], aligned[len(a) :]))
    found = {}
    for name, (bottom, top) in LIMITS.items():
        span = top - bottom
        gap = resampled_difference(
            float(first[name] - second[name]),
            samples=drawn_a[name] - drawn_b[name],
            limits=(-span, span),
            known=_evidence(aligned[0], name),
            method="bootstrap-groups-paired" if aligned[0].grouped else "bootstrap-paired",
        )
        found[name] = RepeatedDifference(gap, decide(gap, p_value=None))
    return found


def _aggregate(
    kind: str, runs: Sequence[Predictions], *, notes: tuple[str, ...], bootstrap: int, seed: int
) -> Aggregate:
    tables = _aligned(runs)
    values = [point_values(table) for table in tables]
    means, drawn = _mean(values), _drawn(tables, bootstrap=bootstrap, seed=seed)
    method = "bootstrap-groups-of-mean" if tables[0].grouped else "bootstrap-of-mean"
    found = {}
    for name, limits in LIMITS.items():
        known = [one[name] for one in values if not np.isnan(one[name])]
        mean = resampled(
            float(means[name]),
            samples=drawn[name],
            limits=limits,
            known=_evidence(tables[0], name),
            method=method,
        )
        sd = float(np.std(known, ddof=1)) if len(known) > 1 else None
        if kind == "seeds":
            over_seeds = _t_interval(known, limits=limits)
        else:
            over_seeds = undefined("repeats of a cross-validation are not independent")
        per_run = tuple(None if np.isnan(one[name]) else one[name] for one in values)
        low, high = (min(known), max(known)) if known else (None, None)
        found[name] = Repeated(per_run, mean, sd, low, high, over_seeds)
    return Aggregate(kind, len(tables), len(tables[0]), found, notes)


def _aligned(runs: Sequence[Predictions]) -> list[Predictions]:
    if not runs:
        raise DataError("no runs", expected="the predictions of one or more runs on each side")
    first = runs[0].take(runs[0].order())
    tables = [first]
    for i, run in enumerate(runs[1:], start=2):
        one, other, _ = match(first, run, names=("run 1", f"run {i}"))
        if not len(one) == len(first) == len(run) or run.groups_by_path != first.groups_by_path:
            raise DataError(
                f"run {i} has {len(run)} images, run 1 {len(first)}, {len(one)} of them shared",
                expected="the same images and groups in every run",
                fix="evaluate every run on the same split",
            )
        tables.append(replace(other, groups=first.groups))
    return tables


def _mean(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {name: _known_mean(np.array([one[name] for one in values])) for name in LIMITS}


def _known_mean(values: Floats) -> Floats:
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(0) / known.sum(0))


def _drawn(tables: Sequence[Predictions], *, bootstrap: int, seed: int) -> dict[str, Floats]:
    first = tables[0]
    blocks = [
        _mean([metric_values(table, counts) for table in tables])
        for counts in resample_counts(first.codes, targets=first.targets, resamples=bootstrap, seed=seed)
    ]
    return {name: np.concatenate([block[name] for block in blocks]) for name in LIMITS}


def _evidence(table: Predictions, name: str) -> Evidence:
    per_class = name in MACRO or name in ("balanced_accuracy", "auroc")
    return evidence(table.codes, targets=table.targets, per_class=per_class)


def _t_interval(values: Sequence[float], *, limits: tuple[float, float]) -> Estimate:
    from scipy.stats import t as student

    if len(values) < 2:
        return undefined("needs two or more seeds")
    mean = float(np.mean(values))
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    if error == 0:
        return undefined("every seed gave the same value")
    half = float(student.ppf(0.5 + LEVEL / 2, len(values) - 1)) * error
    return Estimate(mean, max(limits[0], mean - half), min(limits[1], mean + half), "t-over-seeds")
