"""The answer at the top of a report: headline figures beside the baselines, and the verdict in words.

In: the evaluation of a run. Out: rows and sentences. Every row holds its value, interval, n and method.
"""

from __future__ import annotations

from dataclasses import dataclass

from tumorscope.evaluation.alarms import SMALL_CLASS
from tumorscope.reporting.contract import Baseline, Est, EvaluationFile
from tumorscope.reporting.words import metric_name, metric_range, metric_value, percent, points

BASELINE_NAMES = {
    "majority_class": "always answering the commonest class",
    "intensity_histogram": "the gray-level histogram alone",
}
MOST_PARTS = 3
"""Parts of the test images (of some size) in the headline plot; all of them stand in their own section."""
BASELINE_MARKS = {"majority_class": "majority", "intensity_histogram": "histogram"}


@dataclass(frozen=True)
class Row:
    """One line of the headline plot.

    Attributes:
        name: What was measured.
        key: Metric, for its spelling.
        estimate: Value and interval.
        n: Images it was measured on; None where not known.
        kind: "model", "part" (the model on some of the images) or "baseline".
        marks: Positions to compare with: (value, kind of mark).
    """

    name: str
    key: str
    estimate: Est
    n: int | None
    kind: str = "model"
    marks: tuple[tuple[float, str], ...] = ()

    @property
    def value(self) -> str:
        """The value in its customary spelling."""
        return metric_value(self.key, self.estimate.value)

    @property
    def range(self) -> str:
        """The interval in the same spelling."""
        return metric_range(self.key, self.estimate.low, self.estimate.high)


@dataclass(frozen=True)
class Verdict:
    """One comparison in words; `tone` is "better", "same", "worse" or "unknown"."""

    tone: str
    text: str


def baseline_name(key: str, baseline: Baseline) -> str:
    """What a baseline does, with the class it always answers."""
    if key == "majority_class" and baseline.label:
        return f"always answering “{baseline.label}”"
    return BASELINE_NAMES.get(key, key.replace("_", " "))


def part_name(key: str) -> str:
    """Name of a part of the test images as a reader sees it."""
    return key.replace("_", " ").replace("-", " ")


def headline(evaluation: EvaluationFile) -> list[Row]:
    """Accuracy with its parts and the baselines below it, AUROC, balanced accuracy, the positive class.

    The positive class of a two-class problem gives two rows: sensitivity and specificity.
    """
    marks = tuple(
        (b.accuracy.value, BASELINE_MARKS.get(key, "other"))
        for key, b in evaluation.baselines.items()
        if b is not None and b.accuracy.value is not None
    )
    rows = []
    if "accuracy" in evaluation.metrics:
        estimate = evaluation.metrics["accuracy"]
        rows.append(Row("Accuracy", "accuracy", estimate, evaluation.n, marks=marks))
    rows += [
        Row(
            f"accuracy, {part_name(name)}",
            "accuracy",
            part.metrics["accuracy"],
            part.n,
            kind="part",
            marks=marks,
        )
        for name, part in list(evaluation.subsets.items())[:MOST_PARTS]
        if "accuracy" in part.metrics and part.n >= SMALL_CLASS
    ]
    rows += [
        Row(baseline_name(key, b), "accuracy", b.accuracy, evaluation.n, kind="baseline")
        for key, b in evaluation.baselines.items()
        if b is not None
    ]
    chance = {"auroc": 0.5, "balanced_accuracy": 1 / max(len(evaluation.classes), 1)}
    rows += [
        Row(
            _headline_name(key, evaluation),
            key,
            evaluation.metrics[key],
            evaluation.n,
            marks=((level, "chance"),),
        )
        for key, level in chance.items()
        if key in evaluation.metrics
    ]
    positive = evaluation.positive
    if positive is not None and positive in evaluation.per_class and len(evaluation.classes) == 2:
        own = evaluation.per_class[positive]
        counts = {c: _whole(v.get("n")) for c, v in evaluation.per_class.items()}
        total = {
            "sensitivity": counts.get(positive),
            "specificity": sum(n or 0 for c, n in counts.items() if c != positive) or None,
        }
        for key, n in total.items():
            estimate_ = own.get(key)
            if isinstance(estimate_, Est):
                rows.append(Row(f"{metric_name(key)} for “{positive}”", key, estimate_, n))
    return rows


def _whole(value: Est | int | None) -> int | None:
    return value if isinstance(value, int) else None


def _headline_name(key: str, evaluation: EvaluationFile) -> str:
    if key == "auroc" and len(evaluation.classes) > 2:
        return "AUROC, mean of classes"
    return metric_name(key)


def verdicts(evaluation: EvaluationFile) -> list[Verdict]:
    """One sentence a baseline, with the verdict of the evaluation, the difference and its interval."""
    return [_verdict(baseline_name(key, b), b) for key, b in evaluation.baselines.items() if b is not None]


def _verdict(name: str, baseline: Baseline) -> Verdict:
    rival = f"{name}, which is right in {percent(baseline.accuracy.value)}"
    gap = baseline.difference
    if gap is None or gap.value is None or gap.low is None or gap.high is None:
        return Verdict("unknown", f"with {name}: no difference with an interval is recorded.")
    size = f"{points(gap.value)} points, 95% interval {points(gap.low)} to {points(gap.high)}"
    if baseline.verdict in {"better", "worse"}:
        return Verdict(baseline.verdict, f"than {rival}: {size}.")
    return Verdict("same", f"from {rival}: {size}. These images cannot tell the two apart.")
