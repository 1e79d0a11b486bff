"""Heat on the source image, and heat as colours.

In: (S, S) heat on the model's input and the geometry of the preprocessing. Out: (H, W) heat in the source's pixels,
and pictures of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.types import Pixels
from tumorscope.imaging.boxes import Mask
from tumorscope.imaging.preprocess import Geometry, to_channels

CIVIDIS = (
    (0, 34, 78),
    (8, 51, 112),
    (53, 69, 108),
    (79, 87, 108),
    (102, 105, 112),
    (125, 124, 120),
    (148, 142, 119),
    (174, 163, 113),
    (200, 184, 102),
    (229, 207, 82),
    (254, 232, 56),
)
"""Eleven even steps of the cividis map (Nuñez, Anderton and Renslow 2018): seen alike with and without red-green
colour blindness, and rising evenly in lightness, so that a gray print keeps the order."""


def heat_to_source(heat: NDArray[np.float32], geometry: Geometry) -> NDArray[np.float32]:
    """Heat on the source image, bilinear; zero where the input did not reach.

    Args:
        heat: (S, S) float32 on the model's input.
        geometry: From `preprocess`.

    Returns:
        (H, W) float32 of the source's size.
    """
    from scipy.ndimage import map_coordinates

    columns, rows = _input_positions(geometry)
    grid = np.meshgrid(rows - 0.5, columns - 0.5, indexing="ij")
    found = map_coordinates(heat.astype(np.float32), grid, order=1, mode="nearest")
    return np.asarray(np.where(seen(geometry, heat.shape[0]), found, 0), dtype=np.float32)


def seen(geometry: Geometry, size_px: int) -> Mask:
    """(H, W) bool: source pixels whose centre lies on the model's input of side `size_px`."""
    columns, rows = _input_positions(geometry)
    return np.outer((rows >= 0) & (rows < size_px), (columns >= 0) & (columns < size_px))


def _input_positions(geometry: Geometry) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Input x of every source column's centre, and input y of every row's."""
    columns = np.arange(geometry.source_width_px, dtype=np.float64) + 0.5
    rows = np.arange(geometry.source_height_px, dtype=np.float64) + 0.5
    return (columns - geometry.offset_x) / geometry.scale_x, (rows - geometry.offset_y) / geometry.scale_y


def scaled(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """Heat (..., H, W) with the maximum of each map at one; a map without any heat becomes the uniform map it is."""
    top = heat.max(axis=(-2, -1), keepdims=True)
    return np.where(top > 0, heat / np.where(top > 0, top, 1), 1).astype(np.float32)


def coloured(heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H, W, 4) RGBA of heat in 0..1: cividis, opaque where it is hot and clear where it is cold.

    A page lays it over the image and sets its overall opacity by a slider.
    """
    level = np.clip(heat, 0, 1)
    steps = np.linspace(0, 1, len(CIVIDIS))
    colours = np.array(CIVIDIS, dtype=np.float64)
    channels = [np.interp(level, steps, colours[:, i]) for i in range(3)]
    return np.stack([*channels, level * 255], axis=-1).round().astype(np.uint8)


def overlay(pixels: Pixels, heat: NDArray[np.float32], *, opacity: float = 0.6) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of an image with heat over it.

    Args:
        pixels: (H, W) or (H, W, 3) uint8.
        heat: (H, W) float32 in 0..1; see `scaled`.
        opacity: Of the hottest place, 0..1.
    """
    colours = coloured(heat).astype(np.float64)
    share = opacity * colours[..., 3:] / 255
    mixed = to_channels(pixels, 3) * (1 - share) + colours[..., :3] * share
    return np.asarray(mixed.round(), dtype=np.uint8)
