"""The charts of a page of heatmaps: maps under randomised weights, deletion and insertion.

In: parts of `explanations.json`. Out: `Figure` values, none where there is nothing to draw. A method has the same
colour in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tumorscope.reporting.contract_explanations import CascadeStep, HeatCurves, HeatScore
from tumorscope.reporting.figures import Figure, look
from tumorscope.reporting.svg import UNIT, Axis, Chart, ticks
from tumorscope.reporting.words import decimal, metric_range, percent

RANDOM_ORDER = "random order"
"""The control of the curves: patches in random order."""
DODGE = 0.012
"""Sideways shift between methods, as a share of the axis, so that their intervals do not cover each other."""

ROOM = 20.0
"""Drawing units right of the axis: half of "100%"."""


def named(score: HeatScore, name: str) -> str:
    """Title of a source; what is none keeps its name."""
    return score.sources[name].title if name in score.sources else name


def looks(score: HeatScore) -> dict[str, str]:
    """Colour of each method, in the order of the file."""
    return {name: look(i) for i, name in enumerate(n for n, s in score.sources.items() if s.kind == "method")}


def _share(value: float) -> str:
    return percent(value).replace(".0%", "%")


def cascade_figure(score: HeatScore) -> Figure | None:
    """Rank correlation with the trained model's maps over the share of parameter groups that are random."""
    lines = {n: steps for n, s in score.cascade.items() if (steps := [x for x in s if x.similarity.value is not None])}
    if not lines:
        return None
    lows = [
        v for steps in lines.values() for s in steps for v in (s.similarity.low, s.similarity.value) if v is not None
    ]
    low = min(0.0, math.floor(4 * min(lows)) / 4)
    colours = looks(score)
    edge = DODGE * (len(lines) + 1)
    chart = Chart(
        "Maps under random weights",
        description="; ".join(f"{named(score, n)}: {_told(steps)}" for n, steps in lines.items()) + ".",
        x=Axis(-edge, 1 + edge, UNIT.marks, "parameter groups drawn anew, head first", _share),
        y=Axis(low, 1.0, ticks(low, 1.0), "rank correlation"),
        width=420,
    )
    chart.right = ROOM
    chart.axes()
    if low < 0:
        chart.rule((-edge, 0), (1 + edge, 0), "axis")
    legend = []
    for i, (name, steps) in enumerate(lines.items()):
        style, shift = colours.get(name, look(i)), DODGE * (i - (len(lines) - 1) / 2)
        points = [(s.groups / s.of + shift, s.similarity.value or 0.0) for s in steps]
        chart.line([(0.0, 1.0), *points], f"line {style}")
        for step, (at, value) in zip(steps, points, strict=True):
            if step.similarity.low is not None and step.similarity.high is not None:
                chart.rule((at, step.similarity.low), (at, step.similarity.high), f"whisker {style}")
            chart.dot((at, value), f"dot {style}", radius=3, title=f"{named(score, name)}: {_told([step])}")
        legend.append((f"line {style}", named(score, name)))
    return Figure("Maps under random weights", (chart.markup(),), tuple(legend))


def _told(steps: Sequence[CascadeStep]) -> str:
    return ", ".join(
        f"{s.groups} of {s.of} groups {decimal(s.similarity.value, places=2)}"
        f" ({metric_range('', s.similarity.low, s.similarity.high)})"
        for s in steps
    )


def curve_figures(curves: HeatCurves, score: HeatScore) -> tuple[Figure, ...]:
    """Deletion and insertion, every method beside patches in random order."""
    if not curves.methods:
        return ()
    colours = looks(score)
    styles = {
        name: "c0 dashed" if name == RANDOM_ORDER else colours.get(name, look(i))
        for i, name in enumerate(in_order(curves.methods))
    }
    deletion = _curve(
        "Deletion",
        "share of pixels deleted, hottest first",
        shares=curves.shares,
        lines={name: curves.methods[name].deletion for name in styles},
        styles=styles,
        score=score,
    )
    insertion = _curve(
        "Insertion",
        "share of pixels put back, hottest first",
        shares=curves.shares,
        lines={name: curves.methods[name].insertion for name in styles},
        styles=styles,
        score=score,
    )
    return (
        replace(deletion, note="Lower is better: the pixels said to matter take the answer with them."),
        replace(insertion, note="Higher is better: the pixels said to matter are enough for the answer."),
    )


def in_order(names: Mapping[str, object]) -> list[str]:
    """Names with the random order last."""
    return sorted(names, key=lambda name: name == RANDOM_ORDER)


def _curve(
    title: str,
    label: str,
    *,
    shares: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    styles: Mapping[str, str],
    score: HeatScore,
) -> Figure:
    low = min(0.0, *(v for line in lines.values() for v in line))
    high = max(1.0, *(v for line in lines.values() for v in line))
    chart = Chart(
        title,
        description="; ".join(
            f"{named(score, name)} from {decimal(line[0])} to {decimal(line[-1])}" for name, line in lines.items()
        )
        + ".",
        x=Axis(0.0, 1.0, UNIT.marks, label, _share),
        y=Axis(low, high, ticks(low, high), "mean probability"),
    )
    chart.right = ROOM
    chart.axes()
    for name, line in reversed(list(lines.items())):
        chart.line(list(zip(shares, line, strict=True)), f"line {styles[name]}")
    legend = tuple((f"line {styles[name]}", named(score, name)) for name in lines)
    return Figure(title, (chart.markup(),), legend)
