"""An `Evaluation` as JSON for a run folder and as text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tumorscope.core.types import Estimate
from tumorscope.evaluation.alarms import CODES
from tumorscope.evaluation.intervals import as_json

if TYPE_CHECKING:
    from tumorscope.evaluation.evaluation import Baseline, Evaluation


def evaluation_json(found: Evaluation) -> dict[str, Any]:
    """JSON-able account of an evaluation."""
    return {
        "split": found.split,
        "n": found.n,
        "classes": list(found.classes),
        "positive": found.positive,
        "metrics": {name: as_json(one) for name, one in found.metrics.items()},
        "per_class": {
            label: {name: one if isinstance(one, int) else as_json(one) for name, one in row.items()}
            for label, row in found.per_class.items()
        },
        "baselines": {name: _baseline(one) for name, one in found.baselines.items()},
        "confusion": [list(row) for row in found.confusion],
        "calibration": {
            "temperature": found.temperature,
            "ece": as_json(found.metrics["ece"]),
            "ece_if_calibrated": as_json(found.calibrated),
            "bins": [
                {
                    "low": one.low,
                    "high": one.high,
                    "n": one.n,
                    "confidence": one.confidence,
                    "accuracy": as_json(one.accuracy),
                }
                for one in found.bins
            ],
        },
        "curves": found.curves,
        "operating_point": found.operating_point,
        "subsets": {
            name: {
                "n": part.n,
                "per_class": part.per_class,
                "metrics": {metric: as_json(one) for metric, one in part.metrics.items()},
            }
            for name, part in found.subsets.items()
        },
        "warnings": [{"code": one.code, "message": one.message} for one in found.warnings],
        "provenance": found.provenance,
    }


def evaluation_text(found: Evaluation) -> str:
    """Metrics with intervals, baselines, parts and warnings, one line each."""
    lines = [f"{found.n} images, split {found.split}, 95% intervals", ""]
    lines += [f"  {name:<18}{_line(one)}" for name, one in found.metrics.items()]
    lines += ["", "  class, its images, sensitivity, specificity"]
    for label, row in found.per_class.items():
        lines.append(f"  {label:<18}{row['n']!s:<7}{_short(row['sensitivity'])}  {_short(row['specificity'])}")
    for name, one in found.baselines.items():
        if one is not None:
            answer = f" ({one.label})" if one.label else ""
            lines += ["", f"  {name.replace('_', ' ')}{answer}: accuracy {_line(one.accuracy)}"]
            lines.append(f"  the model is {one.paired.verdict}{_versus(one)}")
    for name, part in found.subsets.items():
        lines += ["", f"  {name}: {part.n} images, accuracy {_line(part.metrics['accuracy'])}"]
    if found.warnings:
        lines += ["", "Warnings"]
        lines += [f"  {one.code} {CODES[one.code]}: {one.message}" for one in found.warnings]
    return "\n".join(lines)


def _baseline(one: Baseline | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {
        "label": one.label,
        "accuracy": as_json(one.accuracy),
        "auroc": as_json(one.auroc),
        "beaten": one.paired.verdict == "better",
        **one.paired.to_json(),
    }


def _versus(one: Baseline) -> str:
    gap = one.paired.difference
    return f": difference {gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})"


def _line(one: Estimate) -> str:
    return f"{_short(one)}  {one.method}" if one.value is not None else one.method


def _short(one: Estimate | int) -> str:
    if isinstance(one, int) or one.value is None:
        return str(one) if isinstance(one, int) else "undefined"
    return f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})"
