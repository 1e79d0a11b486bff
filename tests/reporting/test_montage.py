from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from tumorscope.reporting.contract import Sample
from tumorscope.reporting.montage import MOST_RIGHT, MOST_WRONG, data_address, montage


def sample(i: int, *, correct: bool, path: str = "a/b.jpg") -> Sample:
    return Sample(path=path, label="a", predicted="a" if correct else "b", prob=i / 100, correct=correct)


def decode(address: str) -> Image.Image:
    head, _, data = address.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_wrong_answers_come_apart_and_long_lists_are_cut() -> None:
    samples = [sample(i, correct=i % 2 == 0) for i in range(80)]
    found = montage(samples, np.zeros((80, 8, 8), np.uint8))
    assert len(found.wrong) == MOST_WRONG
    assert len(found.right) == MOST_RIGHT
    assert (found.wrong_left_out, found.right_left_out) == (40 - MOST_WRONG, 40 - MOST_RIGHT)
    assert [t.sample.prob for t in found.wrong[:2]] == [0.01, 0.03]


def test_each_tile_has_its_own_pixels() -> None:
    pictures = np.stack([np.full((8, 8), 20 * i, np.uint8) for i in range(4)])
    found = montage([sample(i, correct=i > 1) for i in range(4)], pictures)
    shades = [round(float(np.asarray(decode(t.address)).mean())) for t in (*found.wrong, *found.right)]
    assert shades == [0, 20, 40, 60]


def test_gray_and_colour() -> None:
    gray = np.repeat(np.arange(64, dtype=np.uint8).reshape(8, 8, 1), 3, axis=2)
    assert decode(data_address(gray)).mode == "L"
    colour = gray.copy()
    colour[..., 0] = 255
    assert decode(data_address(colour)).mode == "RGB"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/b/c.jpg", "c.jpg"),
        ("set.npz#test/12", "test/12"),
        ("odd #1.jpg", "odd #1.jpg"),
        ("x#y/z.png", "z.png"),
    ],
)
def test_names_are_short(path: str, name: str) -> None:
    (tile,) = montage([sample(0, correct=True, path=path)], np.zeros((1, 8, 8), np.uint8)).right
    assert tile.name == name
