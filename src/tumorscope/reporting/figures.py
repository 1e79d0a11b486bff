"""The charts of a report: learning curves, ROC, precision-recall, reliability.

In: parts of a run folder. Out: `Figure` values (drawings with a legend), none where there is nothing to draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from tumorscope.reporting.contract import Bin, ClassCurves, Est, Stage
from tumorscope.reporting.load import Epoch
from tumorscope.reporting.svg import UNIT, Axis, Chart, Point, ticks
from tumorscope.reporting.words import decimal, metric_range, percent, plural

LOOKS = 8
"""Colours before a line's dashes change."""


@dataclass(frozen=True)
class Figure:
    """One or more drawings under one title, with a legend of (look, words)."""

    title: str
    drawings: tuple[Markup, ...]
    legend: tuple[tuple[str, str], ...] = ()
    note: str = ""


def look(position: int) -> str:
    """Class names of the line at `position`: eight colours, then the same ones dashed and dotted."""
    dashes = ("", " dashed", " dotted")[position // LOOKS % 3]
    return f"c{position % LOOKS + 1}{dashes}"


def learning_curves(epochs: Sequence[Epoch], stages: Sequence[Stage]) -> tuple[Figure, ...]:
    """Loss and accuracy over the epochs, with the borders of stages and the best epoch of each."""
    if not epochs:
        return ()
    figures = []
    for what, train, val in (
        ("Loss", [e.train_loss for e in epochs], [e.val_loss for e in epochs]),
        ("Accuracy", [e.train_accuracy for e in epochs], [e.val_accuracy for e in epochs]),
    ):
        if any(v is not None for v in (*train, *val)):
            figures.append(_curve(what, epochs=epochs, train=train, val=val, stages=stages))
    return tuple(figures)


def _curve(
    what: str,
    *,
    epochs: Sequence[Epoch],
    train: Sequence[float | None],
    val: Sequence[float | None],
    stages: Sequence[Stage],
) -> Figure:
    known = [v for v in (*train, *val) if v is not None]
    numbers = [e.epoch for e in epochs]
    share = what == "Accuracy"
    if share:
        low = min(0.9, max(0.0, int(min(known) * 10) / 10))
        y = Axis(low, 1.0, ticks(low, 1.0), "accuracy", lambda v: percent(v).replace(".0%", "%"))
    else:
        low, high = min(0.0, *known), max(*known, 1e-6) * 1.05
        y = Axis(low, high, ticks(low, high), "loss")
    first, last = min(numbers), max(numbers)
    edge = 0.5 if first == last else 0.0
    x = Axis(first - edge, last + edge, ticks(first, last, most=8, whole=True), "epoch")
    best = best_epochs(epochs, stages)
    chart = Chart(
        f"{what} by epoch",
        description=_curve_words(numbers, train, val, best, share=share),
        x=x,
        y=y,
    )
    chart.axes()
    for before, after in pairwise(epochs):
        if before.stage != after.stage:
            middle = (before.epoch + after.epoch) / 2
            chart.rule((middle, y.low), (middle, y.high), "border")
    for values, style in ((train, "c1 dashed"), (val, "c2")):
        for run in _runs(numbers, values):
            chart.line(run, f"line {style}")
            if len(numbers) <= 40:
                for point in run:
                    chart.dot(point, f"dot {style}", radius=1.8)
    for epoch, stage in best.items():
        value = dict(zip(numbers, val, strict=True)).get(epoch)
        if value is not None:
            spelled = percent(value) if share else decimal(value)
            chart.dot((epoch, value), "best", radius=5, title=f"{stage}: best epoch {epoch}, {spelled}")
    legend = [("line c1 dashed", "training"), ("line c2", "validation")]
    if best:
        legend.append(("best", "epoch kept"))
    if len({e.stage for e in epochs}) > 1:
        legend.append(("border", "next stage"))
    return Figure(what, (chart.markup(),), tuple(legend))


def best_epochs(epochs: Sequence[Epoch], stages: Sequence[Stage]) -> dict[int, str]:
    """Epoch kept -> name of its stage, for the stages whose best epoch is among their logged epochs."""
    logged = {(e.stage, e.epoch) for e in epochs}
    return {s.best_epoch: s.name for s in stages if s.best_epoch is not None and (s.name, s.best_epoch) in logged}


def _curve_words(
    numbers: Sequence[int],
    train: Sequence[float | None],
    val: Sequence[float | None],
    best: dict[int, str],
    *,
    share: bool,
) -> str:
    spell = percent if share else decimal
    words = [f"{plural(len(numbers), 'epoch')}"]
    for name, values in (("training", train), ("validation", val)):
        known = [v for v in values if v is not None]
        if known:
            words.append(f"{name} from {spell(known[0])} to {spell(known[-1])}")
    words += [f"best epoch of stage {stage}: {epoch}" for epoch, stage in best.items()]
    return "; ".join(words) + "."


def _runs(numbers: Sequence[int], values: Sequence[float | None]) -> list[list[Point]]:
    """Unbroken pieces of a line: a missing value makes a gap."""
    runs: list[list[Point]] = [[]]
    for number, value in zip(numbers, values, strict=True):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((number, value))
    return [r for r in runs if r]


def class_curves(
    curves: Mapping[str, ClassCurves | None],
    *,
    positive: str | None,
    areas: dict[str, Est],
    shares: dict[str, float],
) -> tuple[Figure, ...]:
    """ROC and precision-recall curves, each class against the rest; of two classes only the positive one.

    Args:
        curves: Points by class.
        positive: The class that sensitivity refers to, or None.
        areas: AUROC by class, for the legend.
        shares: Share of the images that belong to each class: the precision of guessing.
    """
    names = [positive] if positive in curves and len(curves) <= 2 else list(curves)
    figures = []
    roc: list[tuple[str, Sequence[Point]]] = []
    pr: list[tuple[str, Sequence[Point]]] = []
    for name in names:
        entry = curves[str(name)]
        if entry is None:
            continue
        if entry.roc and entry.roc.fpr:
            roc.append((str(name), list(zip(entry.roc.fpr, entry.roc.tpr, strict=False))))
        if entry.pr and entry.pr.recall:
            pr.append((str(name), list(zip(entry.pr.recall, entry.pr.precision, strict=False))))
    if roc:
        figures.append(_roc(roc, areas))
    if pr:
        figures.append(_precision_recall(pr, shares))
    return tuple(figures)


def _roc(lines: Sequence[tuple[str, Sequence[Point]]], areas: dict[str, Est]) -> Figure:
    legend = []
    for i, (name, _) in enumerate(lines):
        area = areas.get(name)
        known = area is not None and area.value is not None
        words = (
            f": AUROC {decimal(area.value)} ({metric_range('auroc', area.low, area.high)})" if known and area else ""
        )
        legend.append((f"line {look(i)}", name + words))
    chart = Chart(
        "Receiver operating characteristic",
        description="; ".join(words for _, words in legend) + ".",
        x=_rate("false positive rate (1 − specificity)"),
        y=_rate("true positive rate (sensitivity)"),
        height=330,
    )
    chart.axes()
    chart.rule((0, 0), (1, 1), "border")
    for i, (_, line) in enumerate(lines):
        chart.line(line, f"line {look(i)}")
    return Figure("ROC", (chart.markup(),), (*legend, ("border", "guessing")))


def _precision_recall(lines: Sequence[tuple[str, Sequence[Point]]], shares: dict[str, float]) -> Figure:
    legend = [
        (f"line {look(i)}", f"{name}: {percent(shares[name])} of images" if name in shares else name)
        for i, (name, _) in enumerate(lines)
    ]
    chart = Chart(
        "Precision and recall",
        description="; ".join(words for _, words in legend) + ".",
        x=_rate("recall (sensitivity)"),
        y=_rate("precision (positive predictive value)"),
        height=330,
    )
    chart.axes()
    if len(lines) == 1 and lines[0][0] in shares:
        level = shares[lines[0][0]]
        chart.rule((0, level), (1, level), "border")
        legend.append(("border", "guessing"))
    for i, (_, line) in enumerate(lines):
        chart.line(line, f"line {look(i)}")
    return Figure("Precision and recall", (chart.markup(),), tuple(legend))


def _rate(label: str) -> Axis:
    return Axis(UNIT.low, UNIT.high, UNIT.marks, label)


def reliability(bins: Sequence[Bin]) -> Figure | None:
    """Stated confidence against the share that was right, with intervals, above the images in each bin."""
    filled = [b for b in bins if b.n and b.confidence is not None and b.accuracy.value is not None]
    if not filled:
        return None
    low = 0.0 if min(b.low for b in filled) < 0.2 else int(min(b.low for b in filled) * 5) / 5
    marks = ticks(low, 1.0)
    x = Axis(low, 1.0, marks, "")
    words = [
        f"confidence {percent(b.confidence)}: {percent(b.accuracy.value)} of {plural(b.n, 'answer')} right"
        for b in filled
    ]
    above = Chart(
        "Reliability diagram",
        description="; ".join(words) + ".",
        x=Axis(low, 1.0, marks, "confidence of the answer"),
        y=_rate("share that was right"),
        height=300,
    )
    above.axes()
    above.rule((low, low), (1, 1), "border")
    above.line([(b.confidence or 0.0, b.accuracy.value or 0.0) for b in filled], "line c1 thin")
    for b, text in zip(filled, words, strict=True):
        at = b.confidence or 0.0
        if b.accuracy.low is not None and b.accuracy.high is not None:
            above.rule((at, b.accuracy.low), (at, b.accuracy.high), "whisker c1")
        above.dot((at, b.accuracy.value or 0.0), "dot c1", radius=4, title=text)
    most = max(b.n for b in filled)
    below = Chart(
        "Images in each bin",
        description="; ".join(f"{decimal(b.low, places=2)} to {decimal(b.high, places=2)}: {b.n}" for b in filled),
        x=x,
        y=Axis(0, most * 1.2, (), "images"),
        height=120,
    )
    below.bottom = 22
    below.axes()
    for b in filled:
        left = max(b.low, low)
        gap = (b.high - left) * 0.06
        below.bar((left + gap, 0), (b.high - gap, b.n), "bar c1")
        below.text((below.px((left + b.high) / 2), below.py(b.n) - 4), str(b.n), "tick mid")
    return Figure(
        "Reliability",
        (above.markup(), below.markup()),
        (("dot c1", "share right, with 95% interval"), ("border", "perfectly calibrated")),
    )
