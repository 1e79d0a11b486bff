"""Every metric of a predictions table with its 95% interval, over all classes and class by class."""

from __future__ import annotations

import numpy as np

from tumorscope.core.types import Estimate
from tumorscope.evaluation.auroc import Area, area, auroc_estimate, macro_area
from tumorscope.evaluation.intervals import evidence, mean_of_shares, proportion, resampled, undefined
from tumorscope.evaluation.metrics import LIMITS, metric_values, point_values
from tumorscope.evaluation.operating import two_class_rates
from tumorscope.evaluation.predictions import Predictions
from tumorscope.evaluation.resampling import resample_counts

BOOTSTRAP = 2000
MACRO = frozenset({"macro_f1", "auprc"})
"""Means over classes: a class with few images widens them as a whole."""


def metric_estimates(table: Predictions, *, bootstrap: int = BOOTSTRAP, seed: int = 0) -> dict[str, Estimate]:
    """The metrics of `tumorscope.evaluation.metrics.LIMITS`, each with its interval.

    accuracy: Wilson ("wilson", "wilson-design-effect"). balanced_accuracy: Wilson intervals of the classes
    added in squares ("wilson-square-and-add"). auroc: DeLong on the logit scale ("delong", "delong-groups",
    "newcombe"). The rest: bootstrap of groups within classes ("bootstrap-logit", "bootstrap-groups-logit",
    "unseen-outcome"). All keep groups whole. Undefined metrics have value None. The interval of ece is about
    the binned figure, which is larger with fewer images even for a calibrated model (`ece_if_calibrated`).
    """
    seen = point_values(table)
    drawn = [
        metric_values(table, counts)
        for counts in resample_counts(table.codes, targets=table.targets, resamples=bootstrap, seed=seed)
    ]
    known = {macro: evidence(table.codes, targets=table.targets, per_class=macro) for macro in (True, False)}
    found = {}
    for name, limits in LIMITS.items():
        if name == "accuracy":
            found[name] = proportion(table.correct, codes=table.codes)
        elif name == "balanced_accuracy":
            found[name] = balanced_accuracy(table)
        elif name == "auroc":
            found[name] = auroc_estimate(overall_area(table), codes=table.codes)
        else:
            found[name] = resampled(
                seen[name],
                samples=np.concatenate([block[name] for block in drawn]),
                limits=limits,
                known=known[name in MACRO],
                method="bootstrap-groups" if table.grouped else "bootstrap",
            )
    return found


def balanced_accuracy(table: Predictions) -> Estimate:
    """Mean sensitivity of the classes present, undefined with fewer than two."""
    rows = [table.targets == c for c in np.unique(table.targets)]
    if len(rows) < 2:
        return undefined("needs images of two classes")
    return mean_of_shares([proportion(table.correct[one], codes=table.codes[one]) for one in rows])


def overall_area(table: Predictions) -> Area | None:
    """Area of the positive class in a two-class table that names one, else the mean over classes."""
    chosen = table.positive_index
    if chosen is None or len(table.classes) > 2:
        return macro_area(table.probs, targets=table.targets, codes=table.codes)
    return area(table.probs[:, chosen], positives=table.targets == chosen, codes=table.codes)


def class_estimates(table: Predictions) -> dict[str, dict[str, Estimate | int]]:
    """For each class: n, and sensitivity, specificity, ppv, npv and auroc of it against the rest."""
    found: dict[str, dict[str, Estimate | int]] = {}
    for c, name in enumerate(table.classes):
        positives = table.targets == c
        rates = two_class_rates(positives, called=table.predicted == c, codes=table.codes)
        one = area(table.probs[:, c], positives=positives, codes=table.codes)
        auroc = auroc_estimate(one, codes=table.codes)
        found[name] = {"n": int(positives.sum()), **rates, "auroc": auroc}
    return found
