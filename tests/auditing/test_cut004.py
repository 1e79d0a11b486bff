from __future__ import annotations

import numpy as np

from tests.auditing.materials import blob, look, noise, two_classes
from tumorscope.core.types import Pixels


def brighter(rng: np.random.Generator, second: bool) -> Pixels:
    pixels = noise(rng)
    return pixels + np.uint8(8) if second else pixels


def test_another_brightness_of_one_class_is_a_warning() -> None:
    result = look("CUT004", two_classes(brighter))
    assert (result.outcome, result.severity) == ("finding", "warning")


def test_a_difference_in_place_only_is_fine() -> None:
    items = two_classes(lambda rng, second: blob(rng, x=16 if second else 48))
    assert look("CUT004", items).outcome == "fine"


def test_few_images_are_not_applicable() -> None:
    assert look("CUT004", two_classes(brighter, each=9)).outcome == "not applicable"
