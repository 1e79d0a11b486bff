"""The charts of a sweep: history, parallel coordinates, slices.

In: `sweep.json`. Out: `Figure` values. Finished points are drawn; those left early are drawn where their order is
shown, hollow, because a mean over fewer folds is no equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tumorscope.reporting.contract_sweep import SweepFile, SweptKey, SweptPoint, Value
from tumorscope.reporting.figures import Figure
from tumorscope.reporting.svg import Axis, Chart, ticks
from tumorscope.reporting.words import SHARES, decimal, metric_name, percent, plural

SPREAD = 0.62
"""Share of a list value's room over which its points are spread, so that they do not cover one another."""


@dataclass(frozen=True)
class Scale:
    """Where the values of a key lie between 0 and 1, and which of them are marked.

    Attributes:
        marks: (position, words), from 0 upwards.
        place: Position of a value.
        room: Room of one list value; 0 for a range.
    """

    marks: tuple[tuple[float, str], ...]
    place: Callable[[Value], float]
    room: float


def metric_of(sweep: SweepFile) -> str:
    """The metric's own name: "auroc" of "val_auroc"."""
    return sweep.metric.removeprefix("val_")


def spelled(sweep: SweepFile, value: float | None) -> str:
    """A score in its customary spelling."""
    return percent(value) if metric_of(sweep) in SHARES else decimal(value)


def value_text(value: Value | None) -> str:
    """A recipe value as it is written, floats short."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.3g}"
    return "–" if value is None else str(value)


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Keys by as few of their last words as tell them apart: "lr", or "top.lr" beside "base.lr"."""
    names = {}
    for key in keys:
        words = key.split(".")
        for n in range(1, len(words) + 1):
            name = ".".join(words[-n:])
            if sum(other == name or other.endswith(f".{name}") for other in keys) == 1:
                break
        names[key] = name
    return names


def done_points(sweep: SweepFile) -> list[SweptPoint]:
    """Finished points, worst first, so that the best are drawn on top."""
    sign = 1 if sweep.metric != "val_loss" else -1
    done = [t for t in sweep.trials if t.state == "done" and t.mean is not None]
    return sorted(done, key=lambda t: (sign * (t.mean or 0.0), -t.slot))


def near_best(sweep: SweepFile) -> list[SweptPoint]:
    """Finished points within one standard error of the best, the best among them; the best alone without an error."""
    best, error = sweep.best, sweep.best.se
    if error is None or best.mean is None:
        return [t for t in done_points(sweep) if t.slot == best.slot]
    return [t for t in done_points(sweep) if abs((t.mean or 0.0) - best.mean) <= error]


def history(sweep: SweepFile) -> Figure:
    """Scores in the order in which points were finished, and the best so far."""
    ended = [t for t in sweep.trials if t.mean is not None and t.state != "failed"]
    ended.sort(key=lambda t: (t.finished is None, t.finished or 0.0, t.slot))
    y = _scores(sweep, [t.mean for t in ended])
    x = Axis(0.5, len(ended) + 0.5, ticks(1, max(2, len(ended)), most=8, whole=True), "points, as they were finished")
    best: list[tuple[float, float]] = []
    for order, trial in enumerate(ended, start=1):
        if trial.state == "done" and trial.mean is not None:
            known = best[-1][1] if best else trial.mean
            value = min(known, trial.mean) if sweep.metric == "val_loss" else max(known, trial.mean)
            best += [(order, known), (order, value)] if best else [(order, value)]
    chart = Chart(
        "Scores by order",
        description=f"{plural(len(ended), 'point')}; best {spelled(sweep, sweep.best.mean)}, point {sweep.best.slot}.",
        x=x,
        y=y,
        width=760,
        height=300,
        left=58,
    )
    chart.axes()
    chart.line([*best, (len(ended) + 0.5, best[-1][1])] if best else [], "line c1")
    early = False
    for order, trial in enumerate(ended, start=1):
        if trial.mean is None:
            continue
        early |= trial.state != "done"
        if trial.state == "done" and trial.se is not None:
            ends = [min(max(trial.mean + s * trial.se, y.low), y.high) for s in (-1, 1)]
            chart.rule((order, ends[0]), (order, ends[1]), "axis")
        look = "dot early" if trial.state != "done" else "best" if trial.slot == sweep.best.slot else "dot c0"
        chart.dot((order, trial.mean), look, radius=4.5 if look == "best" else 3.2, title=_title(sweep, trial))
    legend = [("dot c0", "point"), ("best", "best point"), ("line c1", "best so far")]
    if any(t.se is not None for t in ended):
        legend.insert(1, ("axis", "one standard error over folds"))
    if early:
        legend.append(("dot early", "left early: mean of fewer folds"))
    return Figure("Scores in the order of work", (chart.markup(),), tuple(legend))


def parallel(sweep: SweepFile) -> Figure | None:
    """One line a finished point through its values and its score; None with a single key."""
    done = done_points(sweep)
    if len(sweep.space) < 2 or not done:
        return None
    scales = [scale_of(key) for key in sweep.space]
    names = short_names([k.key for k in sweep.space])
    y = _scores(sweep, [t.mean for t in done])
    last = float(len(scales))
    width = max(760.0, 150.0 * (len(scales) + 1))
    chart = Chart(
        "Parallel coordinates",
        description=f"{plural(len(done), 'finished point')}, each a line through the values of "
        f"{', '.join(names.values())} and its score.",
        x=Axis(0.0, last, (), ""),
        y=Axis(0.0, 1.0, (), ""),
        width=width,
        height=360,
        left=64,
    )
    chart.right, chart.bottom, chart.top = 62.0, 16.0, 40.0
    near = {t.slot for t in near_best(sweep)}
    for rank, trial in enumerate(done):
        shift = (rank + 0.5) / len(done) - 0.5
        points = [
            (float(i), _position(scale, trial.point.get(key.key), shift))
            for i, (scale, key) in enumerate(zip(scales, sweep.space, strict=True))
        ]
        height = ((trial.mean or 0.0) - y.low) / (y.high - y.low)
        points.append((last, 1 - height if sweep.metric == "val_loss" else height))
        best = trial.slot == sweep.best.slot
        chart.line(points, "line c2" if best else "line thin c1" if trial.slot in near else "line thin c0 faint")
    for i, (scale, key) in enumerate(zip(scales, sweep.space, strict=True)):
        chart.rule((i, 0), (i, 1), "axis")
        chart.text((chart.px(i), 16), names[key.key], "label mid")
        for position, words in scale.marks:
            chart.text((chart.px(i) - 6, chart.py(position) + 4), words, "tick end halo")
    chart.rule((last, 0), (last, 1), "axis")
    chart.text((chart.px(last), 16), metric_name(metric_of(sweep)), "label mid")
    for mark in y.marks:
        height = (mark - y.low) / (y.high - y.low)
        place = 1 - height if sweep.metric == "val_loss" else height
        chart.text((chart.px(last) + 6, chart.py(place) + 4), y.spell(mark), "tick")
    legend = [("line c2", "best point"), ("line thin c0 faint", "other points")]
    if len(near) > 1:
        legend.insert(1, ("line thin c1", "within one standard error of the best"))
    note = "Better scores are higher on the last axis. Points of one list value are spread by their score."
    return Figure("All keys at once", (chart.markup(),), tuple(legend), note)


def slices(sweep: SweepFile) -> tuple[Figure, ...]:
    """Scores against one key at a time."""
    done = done_points(sweep)
    names = short_names([k.key for k in sweep.space])
    return tuple(_slice(sweep, key, names[key.key], done) for key in sweep.space) if done else ()


def _slice(sweep: SweepFile, key: SweptKey, name: str, done: Sequence[SweptPoint]) -> Figure:
    scale = scale_of(key)
    y = _scores(sweep, [t.mean for t in done])
    words = []
    chart_marks = dict(scale.marks)
    levels: list[tuple[float, float]] = []
    for value in key.choices:
        scores = [t.mean for t in done if t.mean is not None and _same(t.point.get(key.key), value)]
        if scores:
            mean = sum(scores) / len(scores)
            levels.append((scale.place(value), mean))
            words.append(f"{value_text(value)}: mean {spelled(sweep, mean)} of {plural(len(scores), 'point')}")
    chart = Chart(
        f"Scores by {name}",
        description="; ".join(words or [plural(len(done), "point")]) + ".",
        x=Axis(0.0, 1.0, tuple(chart_marks), key.key, lambda v: chart_marks[v]),
        y=y,
        left=58,
    )
    chart.axes()
    for rank, trial in enumerate(done):
        if trial.mean is None or key.key not in trial.point:
            continue
        # spread by a sequence that fills a room evenly
        shift = ((rank * 0.618034) % 1 - 0.5) if scale.room else 0.0
        at = _position(scale, trial.point[key.key], shift)
        best = trial.slot == sweep.best.slot
        look, radius = ("best", 4.5) if best else ("dot c1 faint", 3.2)
        chart.dot((at, trial.mean), look, radius=radius, title=_title(sweep, trial))
    for at, mean in levels:
        half = scale.room * SPREAD / 2
        chart.rule((at - half, mean), (at + half, mean), "whisker c2")
    legend = [("dot c1", "point"), ("best", "best point")]
    if levels:
        legend.append(("whisker c2", "mean of the points"))
    return Figure(name, (chart.markup(),), tuple(legend))


def scale_of(key: SweptKey) -> Scale:
    """Where the values of a key lie; numbers of a list in their order, words as listed."""
    if key.choices:
        numbers = all(isinstance(c, (int, float)) and not isinstance(c, bool) for c in key.choices)
        ordered = sorted(key.choices, key=float) if numbers else list(key.choices)
        room = 1 / len(ordered)
        places = {_identity(c): (i + 0.5) * room for i, c in enumerate(ordered)}
        marks = tuple((places[_identity(c)], value_text(c)) for c in ordered)
        return Scale(marks, lambda v: places.get(_identity(v), 0.5), room)
    low, high = float(key.low or 0.0), float(key.high or 1.0)
    if key.log:
        ends = math.log10(low), math.log10(high)
        tens = [10.0**e for e in range(math.ceil(ends[0] - 1e-9), math.floor(ends[1] + 1e-9) + 1)]
        marked = tens if len(tens) > 1 else [low, high]
        span = ends[1] - ends[0]
        return Scale(
            tuple(((math.log10(m) - ends[0]) / span, f"{m:.3g}") for m in marked),
            lambda v: (math.log10(float(v)) - ends[0]) / span,
            0.0,
        )
    marks = tuple(((m - low) / (high - low), f"{m:g}") for m in ticks(low, high))
    return Scale(marks, lambda v: (float(v) - low) / (high - low), 0.0)


def _identity(value: Value | None) -> tuple[bool, str]:
    """What two equal values share, with 1 and true apart and 1 and 1.0 together."""
    return isinstance(value, bool), f"{value:.12g}" if isinstance(value, (int, float)) else str(value)


def _same(a: Value | None, b: Value) -> bool:
    return _identity(a) == _identity(b)


def _position(scale: Scale, value: Value | None, shift: float) -> float:
    return 0.0 if value is None else scale.place(value) + shift * scale.room * SPREAD


def _scores(sweep: SweepFile, values: Sequence[float | None]) -> Axis:
    """The axis of scores: as wide as they lie, never outside what the metric can be."""
    known = [v for v in values if v is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    margin = max((high - low) * 0.08, 0.005)
    ceiling = math.inf if sweep.metric == "val_loss" else 1.0
    low, high = max(0.0, low - margin), min(ceiling, high + margin)
    marks = ticks(low, high)
    share = metric_of(sweep) in SHARES
    name = metric_name(metric_of(sweep)) + ("" if sweep.folds == 1 else f", mean of {sweep.folds} folds")
    return Axis(low, high, marks, name, (lambda v: f"{100 * v:g}%") if share else "{:g}".format)


def _title(sweep: SweepFile, trial: SweptPoint) -> str:
    values = ", ".join(f"{k} = {value_text(v)}" for k, v in trial.point.items())
    error = "" if trial.se is None else f" ± {decimal(trial.se)}"
    return f"point {trial.slot}: {spelled(sweep, trial.mean)}{error}; {values}"
