"""Pixels of any size to one fixed shape, with the geometry recorded so that a heatmap can go back.

In: one decoded image (uint8). Out: (C, S, S) uint8 and a `Geometry`. Interpolation is Pillow's antialiased
bilinear filter, so that shrinking a large scan does not alias.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tumorscope.core.files import sha256_value
from tumorscope.core.types import Pixels

VERSION = 1
FOREGROUND_LEVEL = 12
"""Gray level above which a pixel counts as foreground for `trim`: scanner background in 8-bit JPEG slices stays
below it, tissue above it."""

Fit = Literal["squash", "pad", "crop"]


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How pixels become the model's input; part of the cache key and of the bundle.

    Attributes:
        size_px: Side of the square input.
        channels: 1 (gray) or 3 (RGB).
        fit: "squash" stretches to the square; "pad" keeps the aspect ratio and fills with black; "crop" keeps it
            and cuts the longer side at the centre.
        trim: Cut away the dark border round the foreground first.
    """

    size_px: int
    channels: int
    fit: Fit = "squash"
    trim: bool = False

    @property
    def sha256(self) -> str:
        """Hash of every value that changes the result."""
        return sha256_value({**asdict(self), "version": VERSION})


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where input pixels come from: `x_source = x_input * scale_x + offset_x`, likewise y; units are pixels."""

    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float
    source_width_px: int
    source_height_px: int

    def to_source(self, x: float, y: float) -> tuple[float, float]:
        """Source coordinates of an input point (pixel edges at integers)."""
        return x * self.scale_x + self.offset_x, y * self.scale_y + self.offset_y

    def to_input(self, x: float, y: float) -> tuple[float, float]:
        """Input coordinates of a source point; may lie outside the input if it was cut away."""
        return (x - self.offset_x) / self.scale_x, (y - self.offset_y) / self.scale_y


def to_channels(pixels: Pixels, channels: int) -> Pixels:
    """`pixels` as (H, W) for one channel or (H, W, 3) for three; RGB to gray by ITU-R 601 luma."""
    if channels == 1 and pixels.ndim == 3:
        return np.asarray(Image.fromarray(pixels).convert("L"))
    if channels == 3 and pixels.ndim == 2:
        return np.repeat(pixels[:, :, None], 3, axis=2)
    return pixels


def foreground(pixels: Pixels) -> tuple[int, int, int, int]:
    """Box (left, top, right, bottom) of the foreground; the whole image where none is found."""
    gray = to_channels(pixels, 1)
    mask = gray > FOREGROUND_LEVEL
    # a row or column counts once 2% of it is bright: single specks of noise do not hold the box open
    rows = np.flatnonzero(mask.mean(axis=1) > 0.02)
    columns = np.flatnonzero(mask.mean(axis=0) > 0.02)
    height, width = gray.shape
    if rows.size == 0 or columns.size == 0:
        return 0, 0, width, height
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def preprocess(pixels: Pixels, preprocessing: Preprocessing) -> tuple[NDArray[np.uint8], Geometry]:
    """One image as the model's input.

    Args:
        pixels: (H, W) or (H, W, 3) uint8.
        preprocessing: What to do.

    Returns:
        (C, S, S) uint8, contiguous, and the geometry that leads back to `pixels`.
    """
    image = Image.fromarray(to_channels(pixels, preprocessing.channels))
    source_width, source_height = image.size
    box = foreground(pixels) if preprocessing.trim else (0, 0, source_width, source_height)
    width, height = box[2] - box[0], box[3] - box[1]
    side = preprocessing.size_px
    if preprocessing.fit == "squash":
        region: tuple[float, float, float, float] = box
        inner = (side, side)
    elif preprocessing.fit == "crop":
        cut = min(width, height)
        left, top = box[0] + (width - cut) / 2, box[1] + (height - cut) / 2
        region = (left, top, left + cut, top + cut)
        inner = (side, side)
    else:
        scale = side / max(width, height)
        region = box
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = image.resize(inner, Image.Resampling.BILINEAR, box=region)
    pad_x, pad_y = (side - inner[0]) // 2, (side - inner[1]) // 2
    array = np.asarray(resized)
    if inner != (side, side):
        canvas = np.zeros((side, side, *array.shape[2:]), dtype=np.uint8)
        canvas[pad_y : pad_y + inner[1], pad_x : pad_x + inner[0]] = array
        array = canvas
    scale_x = (region[2] - region[0]) / inner[0]
    scale_y = (region[3] - region[1]) / inner[1]
    geometry = Geometry(
        scale_x=scale_x,
        scale_y=scale_y,
        offset_x=region[0] - pad_x * scale_x,
        offset_y=region[1] - pad_y * scale_y,
        source_width_px=source_width,
        source_height_px=source_height,
    )
    stacked = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return np.ascontiguousarray(stacked), geometry
