from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorscope.reporting.svg import UNIT, Axis, Chart, strip, ticks


def chart() -> Chart:
    return Chart("Name", description="What it shows.", x=UNIT, y=UNIT)


def paths(markup: str) -> list[str]:
    return re.findall(r' d="([^"]*)"', markup)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        (0.6, 1.0, (0.6, 0.7, 0.8, 0.9, 1.0)),
        (0.0, 0.63, (0.0, 0.2, 0.4, 0.6)),
        (0.0, 0.0, (0.0,)),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: tuple[float, ...]) -> None:
    assert ticks(low, high) == expected


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.booleans())
def test_ticks_stay_inside_and_are_few(low: float, span: float, whole: bool) -> None:
    found = ticks(low, low + span, whole=whole)
    assert len(found) <= 7
    assert all(low - 1e-6 * span <= t <= low + span + 1e-6 * span for t in found)
    if whole:
        assert all(t == int(t) for t in found)


def test_a_chart_is_xml_with_a_name_and_only_class_colours() -> None:
    drawing = chart()
    drawing.axes()
    drawing.line([(0, 0), (1, 1)], "line c1")
    drawing.dot((0.5, 0.5), "dot c1", title="half")
    drawing.bar((0, 0), (0.5, 0.5), "bar c1")
    markup = str(drawing.markup())
    root = ElementTree.fromstring(markup)
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == "Name. What it shows."
    assert "fill=" not in markup
    assert "stroke=" not in markup


def test_names_cannot_break_out_of_the_drawing() -> None:
    drawing = Chart('<script>"x"', description="a & b\ud800", x=UNIT, y=UNIT)
    drawing.text((0, 0), "</text><script>", "tick")
    drawing.dot((0, 0), 'c1" onload="x', title="<b>")
    root = ElementTree.fromstring(str(drawing.markup()))
    assert [e.tag for e in root] == ["text", "circle"]
    assert root.attrib["aria-label"] == '<script>"x". a & b\\ud800'
    assert set(root[1].attrib) == {"class", "cx", "cy", "r"}


def test_positions_follow_the_axes() -> None:
    drawing = Chart("n", description="", x=Axis(10, 20, (), ""), y=Axis(0, 5, (), ""))
    assert drawing.px(10) == drawing.left
    assert drawing.px(20) == drawing.width - drawing.right
    assert drawing.py(0) == drawing.height - drawing.bottom
    assert drawing.py(5) == drawing.top


def test_a_line_drops_points_it_does_not_need_and_keeps_spikes() -> None:
    drawing = chart()
    drawing.line([(0, 0), (0, 0.2), (0, 0.5), (0.3, 0.5), (0.3, 0.5), (1, 0.5)], "line")
    drawing.line([(0, 0.9), (0, 0.2), (0, 0.5)], "line")
    steps, spike = paths(str(drawing.markup()))
    assert steps.count("L") == 2
    assert spike.count("L") == 2


def test_an_empty_line_draws_nothing() -> None:
    drawing = chart()
    drawing.line([], "line")
    assert paths(str(drawing.markup())) == []


def test_a_strip_holds_whisker_value_marks_and_runs() -> None:
    root = ElementTree.fromstring(str(strip(0.8, 0.85, 0.9, marks=((0.731, "majority"),), dots=(0.84, None))))
    looks = [e.attrib["class"] for e in root]
    assert looks == ["track", "mark majority", "whisker c1", "ring", "dot c1"]
    assert (root[2].attrib["x1"], root[2].attrib["x2"]) == ("80%", "90%")
    assert root[4].attrib["cx"] == "85%"
    assert root.attrib["aria-hidden"] == "true"


def test_an_undefined_strip_shows_the_track_only() -> None:
    root = ElementTree.fromstring(str(strip(None, None, None)))
    assert [e.attrib["class"] for e in root] == ["track"]


def test_values_outside_the_strip_stay_on_its_edge() -> None:
    root = ElementTree.fromstring(str(strip(-0.4, -0.2, 0.1)))
    assert root[1].attrib["x1"] == "0%"
