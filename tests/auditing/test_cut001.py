from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.auditing.materials import NAMES, Item, look, noise, two_classes, value


def test_another_size_of_one_class_is_a_warning() -> None:
    result = look("CUT001", two_classes(lambda rng, second: noise(rng, width=80 if second else 64)))
    assert (result.outcome, result.severity, result.count) == ("finding", "warning", 80)
    figure = result.figures["balanced_accuracy"]
    assert 0.9 < figure["low"] <= figure["value"] <= figure["high"] == 1.0
    assert "95% interval" in result.detail
    assert result.figures["chance"] == 0.5


def test_another_colour_mode_of_one_class_is_a_warning() -> None:
    items = two_classes(lambda rng, second: noise(rng))
    stored = [replace(item, mode="RGBA") if item.label == NAMES[1] else item for item in items]
    assert look("CUT001", stored).severity == "warning"


def test_a_tendency_is_for_information() -> None:
    wide = iter(np.random.default_rng(0).random(400))
    items = two_classes(
        lambda rng, second: noise(rng, side=16, width=24 if next(wide) < (0.64 if second else 0.36) else 16), each=200
    )
    result = look("CUT001", items)
    assert (result.outcome, result.severity) == ("finding", "info")
    assert 0.57 < value(result) < 0.7


def test_one_size_is_fine() -> None:
    result = look("CUT001", two_classes(lambda rng, second: noise(rng)))
    assert (result.outcome, result.count) == ("fine", 0)
    assert result.detail == "All images have the same size and colour mode."


def test_sizes_that_say_nothing_are_fine() -> None:
    items = two_classes(lambda rng, second: noise(rng, width=int(rng.integers(50, 90))), each=60)
    assert look("CUT001", items).outcome == "fine"


@pytest.mark.parametrize("each", [1, 9])
def test_few_images_are_not_applicable(each: int) -> None:
    result = look("CUT001", two_classes(lambda rng, second: noise(rng, width=80 if second else 64), each=each))
    assert result.outcome == "not applicable"
    assert f"{each} independent groups" in result.detail


def test_images_of_one_patient_count_once() -> None:
    items = two_classes(lambda rng, second: noise(rng, width=80 if second else 64))
    same = [replace(item, patient="p1") if item.label == NAMES[1] else item for item in items]
    result = look("CUT001", same)
    assert result.outcome == "not applicable"
    assert "'malignant' has 1 independent groups" in result.detail


def test_one_class_is_not_applicable() -> None:
    rng = np.random.default_rng(0)
    assert look("CUT001", [Item("glioma", noise(rng)) for _ in range(30)]).outcome == "not applicable"
