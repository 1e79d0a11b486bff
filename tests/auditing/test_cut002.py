from __future__ import annotations

import numpy as np

from tests.auditing.materials import blob, look, noise, phantom, two_classes, value
from tumorscope.core.types import Pixels


def framed(rng: np.random.Generator, second: bool) -> Pixels:
    pixels = noise(rng)
    if second:
        pixels[:2] = 130
    return pixels


def test_a_frame_round_one_class_is_a_warning() -> None:
    result = look("CUT002", two_classes(framed))
    assert (result.outcome, result.severity) == ("finding", "warning")
    assert value(result) > 0.9


def test_a_difference_in_the_middle_is_fine() -> None:
    items = two_classes(lambda rng, second: blob(rng, bright=90 if second else 0))
    assert look("CUT002", items).outcome == "fine"
    assert look("CUT003", items).outcome == "finding"


def test_the_planted_corner_mark_is_found() -> None:
    base = "phantom:patients=60,slices=1,size_px=64,seed=3"
    assert look("CUT002", phantom(f"{base},shortcut=1.0")).outcome == "finding"
    assert look("CUT002", phantom(base)).outcome == "fine"


def test_few_images_are_not_applicable() -> None:
    assert look("CUT002", two_classes(framed, each=9)).outcome == "not applicable"
