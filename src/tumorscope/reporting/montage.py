"""Test images as they appear in a report: wrong answers first, small enough to be embedded.

In: samples and their thumbnails. Out: `Tile` values with a `data:` address each.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorscope.reporting.contract import Sample

MOST_WRONG = 24
"""Tiles shown of wrong answers."""
MOST_RIGHT = 12
"""Tiles shown of right answers."""
JPEG_QUALITY = 88


@dataclass(frozen=True)
class Tile:
    """One picture: what it is, what was answered, and its pixels as a `data:` address."""

    sample: Sample
    address: str

    @property
    def name(self) -> str:
        """Last part of the path, or the row of an image inside an array file."""
        file, _, row = self.sample.path.partition(".npz#")
        return row or file.rpartition("/")[2]


@dataclass(frozen=True)
class Montage:
    """Tiles of wrong and of right answers, and how many samples of each are not shown."""

    wrong: tuple[Tile, ...]
    right: tuple[Tile, ...]
    wrong_left_out: int
    right_left_out: int


def montage(samples: Sequence[Sample], pictures: NDArray[np.uint8]) -> Montage:
    """The tiles of the first `MOST_WRONG` wrong and `MOST_RIGHT` right samples, in the order they are given.

    Args:
        samples: What each picture is.
        pictures: (n, S, S) gray or (n, S, S, 3) RGB, uint8.
    """
    wrong = [i for i, s in enumerate(samples) if not s.correct]
    right = [i for i, s in enumerate(samples) if s.correct]

    def tiles(chosen: Sequence[int]) -> tuple[Tile, ...]:
        return tuple(Tile(samples[i], data_address(pictures[i])) for i in chosen)

    return Montage(
        tiles(wrong[:MOST_WRONG]),
        tiles(right[:MOST_RIGHT]),
        max(0, len(wrong) - MOST_WRONG),
        max(0, len(right) - MOST_RIGHT),
    )


def data_address(pixels: NDArray[np.uint8]) -> str:
    """A picture as a `data:` address: JPEG, as gray where red, green and blue are equal everywhere."""
    from PIL import Image

    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
