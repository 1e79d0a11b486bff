from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tests.auditing.materials import Item, look, noise, two_classes
from tumorscope.auditing.shortcut_features import name_pattern


def named(name: Callable[[int, bool], str], *, each: int = 40) -> list[Item]:
    items = two_classes(lambda rng, second: noise(rng, side=16), each=each)
    return [replace(item, path=name(i, i % 2 == 1)) for i, item in enumerate(items)]


def test_other_names_of_one_class_are_for_information() -> None:
    result = look("CUT005", named(lambda i, second: f"all/Y{i}.jpg" if second else f"all/no {i}.jpg"))
    assert (result.outcome, result.severity, result.count) == ("finding", "info", 80)
    assert result.figures["balanced_accuracy"]["low"] > 0.9


def test_folders_and_numbers_do_not_count() -> None:
    result = look("CUT005", named(lambda i, second: f"yes/img-{i + 500}.png" if second else f"no/img-{i + 100}.png"))
    assert result.outcome == "fine"
    assert "'img-000'" in result.detail


def test_names_that_say_nothing_are_fine() -> None:
    letters = np.random.default_rng(0).choice(list("abcdefgh"), (80, 3)).tolist()
    assert look("CUT005", named(lambda i, second: f"{''.join(letters[i])}{i}.png")).outcome == "fine"


def test_rows_of_an_array_file_are_not_applicable() -> None:
    assert look("CUT005", named(lambda i, second: f"set.npz#train/{i}")).outcome == "not applicable"


def test_few_images_are_not_applicable() -> None:
    items = named(lambda i, second: f"{'a' if second else 'b'}{i}.png", each=9)
    assert look("CUT005", items).outcome == "not applicable"


@pytest.mark.parametrize(
    ("path", "pattern"),
    [("no/1 no.jpeg", "^0 no$"), ("Te-gl_0010.v2.jpg", "^Te-gl_0000.v0$"), ("x/\udcff9.png", "^\udcff0$")],
)
def test_the_pattern_of_a_name(path: str, pattern: str) -> None:
    assert name_pattern(path) == pattern
