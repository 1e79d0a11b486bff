from __future__ import annotations

import numpy as np

from tests.auditing.materials import blob, look, two_classes
from tumorscope.core.types import Pixels


def fine_pattern(rng: np.random.Generator, second: bool) -> Pixels:
    """Stripes across or along, one pixel wide: nothing of them is left at 8 x 8 pixels."""
    pixels = rng.normal(100, 10, (64, 64))
    stripes = np.where(np.arange(64) % 2 == 0, 30, -30)
    pixels += stripes[:, None] if second else stripes[None]
    return pixels.clip(0, 255).astype(np.uint8)


def test_a_coarse_difference_is_found() -> None:
    result = look("CUT003", two_classes(lambda rng, second: blob(rng, x=16 if second else 48)))
    assert (result.outcome, result.severity, result.count) == ("finding", "warning", 80)


def test_a_difference_in_detail_only_is_fine() -> None:
    assert look("CUT003", two_classes(fine_pattern, each=60)).outcome == "fine"


def test_few_images_are_not_applicable() -> None:
    assert look("CUT003", two_classes(fine_pattern, each=9)).outcome == "not applicable"
