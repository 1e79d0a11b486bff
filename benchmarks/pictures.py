"""Line charts of the result pages as SVG files of their own, in the report's drawing, readable on light and dark pages.

In: named lines of points. Out: SVG text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tumorscope.reporting.svg import Axis, Chart, Point, ticks

STYLE = """
svg { background: #fff; }
text { font: 12px sans-serif; fill: #333; }
.mid { text-anchor: middle; } .end { text-anchor: end; }
path { fill: none; stroke-width: 1; stroke: #ccc; }
.axis { stroke: #666; }
.line { stroke-width: 2; }
.line.c1 { stroke: #0b62a4; } .line.c2 { stroke: #b3470b; }
.dot.c1 { fill: #0b62a4; } .dot.c2 { fill: #b3470b; }
"""
"""Colours are fixed here, because a picture in a Markdown page has no style sheet above it."""


def line_chart(name: str, drawn: Mapping[str, Sequence[Point]], *, x: str, y: str) -> str:
    """At most two lines through their points, both axes from zero, each named at its end.

    Args:
        name: What the picture shows, for who cannot see it.
        drawn: Name of a line to its points, (x, y), in order.
        x: Label of the horizontal axis.
        y: Label of the vertical axis.

    Returns:
        A whole SVG file; the same points give the same bytes.
    """
    width = max(point[0] for points in drawn.values() for point in points) * 1.02
    height = max(point[1] for points in drawn.values() for point in points) * 1.1
    across = Axis(0.0, width, ticks(0.0, width), x, "{:,.0f}".format)
    up = Axis(0.0, height, ticks(0.0, height), y)
    said = "; ".join(f"{n}: " + ", ".join(f"{b:.3g} at {a:,.0f}" for a, b in points) for n, points in drawn.items())
    chart = Chart(name, description=said, x=across, y=up, width=520.0, height=300.0)
    chart.axes()
    for look, (title, points) in zip(("c1", "c2"), drawn.items(), strict=False):
        chart.line(points, f"line {look}")
        for point in points:
            chart.dot(point, f"dot {look}")
        end = points[-1]
        chart.text((chart.px(end[0]) - 10, chart.py(end[1]) - 10), title, "end")
    markup = str(chart.markup())
    opened = '<svg xmlns="http://www.w3.org/2000/svg" width="520" height="300" '
    return markup.replace("<svg ", opened, 1).replace(">", f"><style>{STYLE}</style>", 1) + "\n"
