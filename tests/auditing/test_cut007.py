from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.auditing.materials import NAMES, Item, blob, look, noise, two_classes, value
from tumorscope.auditing.shortcut_features import without_boxes
from tumorscope.core.types import Box, Pixels

MIDDLE = Box("lesion", 0.5, 0.5, 0.25, 0.25)


def boxed(items: list[Item], box: Box = MIDDLE) -> list[Item]:
    return [replace(item, boxes=(box,)) for item in items]


def surrounded(rng: np.random.Generator, second: bool) -> Pixels:
    """The same lesion in both classes; the second one has a bright bar at the side."""
    pixels = blob(rng)
    if second:
        pixels[:, :6] = 200
    return pixels


def test_what_is_left_without_the_lesion_is_a_warning() -> None:
    result = look("CUT007", boxed(two_classes(surrounded)))
    assert (result.outcome, result.severity, result.count) == ("finding", "warning", 80)
    assert value(result) > 0.9
    assert "The place of the filled patch may tell the class by itself" in result.detail


def test_a_lesion_that_alone_tells_is_fine() -> None:
    result = look("CUT007", boxed(two_classes(lambda rng, second: blob(rng, bright=90 if second else 20))))
    assert result.outcome == "fine"
    assert value(result, "lesion_left_in") > 0.9
    assert value(result) < 0.7


def test_a_patch_whose_place_tells_is_for_information() -> None:
    items = [
        replace(item, boxes=(replace(MIDDLE, cx=0.25 if item.label == NAMES[0] else 0.75),))
        for item in two_classes(lambda rng, second: blob(rng, x=48 if second else 16))
    ]
    result = look("CUT007", items)
    assert value(result, "boxes_alone") == 1.0
    assert (result.outcome, result.severity) in {("finding", "info"), ("fine", "warning")}


def test_no_boxes_are_not_applicable() -> None:
    result = look("CUT007", two_classes(surrounded))
    assert (result.outcome, result.detail) == ("not applicable", "No image has a box.")


def test_boxes_in_one_class_are_not_applicable() -> None:
    items = [replace(item, boxes=()) if item.label == NAMES[1] else item for item in boxed(two_classes(surrounded))]
    result = look("CUT007", items)
    assert result.outcome == "not applicable"
    assert "at least two classes" in result.detail


def test_a_class_with_few_boxes_is_left_out_and_named() -> None:
    rng = np.random.default_rng(0)
    items = [*boxed(two_classes(surrounded)), *(Item("normal", noise(rng)) for _ in range(40))]
    result = look("CUT007", items)
    assert result.outcome == "finding"
    assert result.figures["classes"] == list(NAMES)
    assert "Left out for too few boxes: normal." in result.detail


def test_a_box_is_filled_with_the_mean_of_its_ring() -> None:
    thumb = np.full((64, 64), 50, np.uint8)
    thumb[24:40, 24:40] = 250
    filled = without_boxes(thumb, [MIDDLE])
    assert (filled == 50).all()
    assert thumb.max() == 250, "the picture itself is left as it is"


def test_a_ring_inside_another_box_does_not_count() -> None:
    thumb = np.full((64, 64), 50, np.uint8)
    thumb[20:44, 20:44] = 250
    outer = Box("lesion", 0.5, 0.5, 24 / 64, 24 / 64)
    assert (without_boxes(thumb, [outer, MIDDLE]) == 50).all()


@pytest.mark.parametrize(
    ("box", "changed"),
    [
        (Box("a", 0.5, 0.5, 1.0, 1.0), 64 * 64),
        (Box("a", 0.0, 0.0, 0.25, 0.25), 64),
        (Box("a", 1.0, 1.0, 0.001, 0.001), 1),
        (Box("a", 1.3, -0.2, 0.1, 0.1), 1),
    ],
)
def test_boxes_at_and_over_the_edge(box: Box, changed: int) -> None:
    thumb = np.random.default_rng(0).integers(0, 2, (64, 64)).astype(np.uint8) * 255
    filled = without_boxes(thumb, [box])
    assert (filled != thumb).sum() <= changed
    area = filled[: 8 if box.cx == 0 else 64, : 8 if box.cx == 0 else 64]
    assert changed == 1 or len(np.unique(area)) == 1
