from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.data.copies_pictures import head, resized
from tumorscope.core.errors import DataError
from tumorscope.core.types import Pixels
from tumorscope.data.copies import describe, describe_many


def test_a_thumbnail_is_small_and_gray_whatever_the_image() -> None:
    gray = head(1)
    colour = np.stack([gray] * 3, axis=-1)
    for pixels in (gray, colour, resized(gray, 300, 180), resized(gray, 28, 28), np.zeros((16, 500), np.uint8)):
        thumb = describe(pixels)
        assert thumb.shape == (64, 64)
        assert thumb.dtype == np.uint8
    assert np.abs(describe(gray).astype(int) - describe(colour)).max() <= 1


def test_a_resized_image_has_nearly_the_same_thumbnail() -> None:
    difference = describe(head(2)).astype(int) - describe(resized(head(2), 400, 260))
    assert np.abs(difference).mean() < 2


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((8, 8), np.float32), np.zeros((8, 8, 4), np.uint8), np.zeros((0, 8), np.uint8), np.zeros(8, np.uint8)],
)
def test_what_is_no_8_bit_picture_is_refused(pixels: Pixels) -> None:
    with pytest.raises(DataError, match="shape"):
        describe(pixels)


@pytest.mark.parametrize("threads", [1, 3])
def test_many_keep_their_order(threads: int) -> None:
    pictures = [head(i, side=48) for i in range(17)]
    calls: list[tuple[str, int, int]] = []
    thumbs = describe_many(pictures, count=17, threads=threads, progress=lambda *c: calls.append(c))
    assert np.array_equal(thumbs, np.stack([describe(p) for p in pictures]))
    assert calls == [("describe", 17, 17)]


def test_a_stopped_run_is_carried_on_in_a_file(tmp_path: Path) -> None:
    pictures = [head(i, side=48) for i in range(6)]
    path = tmp_path / "thumbs.npy"
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(6, 64, 64))
    with pytest.raises(DataError, match="4 images"):
        describe_many(iter(pictures[:4]), count=6, out=out)
    del out
    again = np.lib.format.open_memmap(path, mode="r+")
    done = describe_many(iter(pictures[4:]), count=6, out=again, start=4)
    assert np.array_equal(done, describe_many(pictures, count=6))


def test_a_wrong_count_or_array_is_an_error() -> None:
    with pytest.raises(DataError, match="more than 1"):
        describe_many([head(1), head(2)], count=1)
    with pytest.raises(DataError, match="output array"):
        describe_many([head(1)], count=1, out=np.zeros((2, 64, 64), np.uint8))
