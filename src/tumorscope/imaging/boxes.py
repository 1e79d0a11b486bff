"""Annotated boxes in pixels: of the source image, of the network's input, and as masks.

In: relative boxes, image sizes, the geometry of the preprocessing. Out: (k, 4) float64 rows of left, top, right,
bottom in pixels, pixel edges at integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.types import Box
from tumorscope.imaging.preprocess import Geometry

Boxes: TypeAlias = NDArray[np.float64]
"""(k, 4) left, top, right, bottom in pixels, pixel edges at integers."""
Mask: TypeAlias = NDArray[np.bool_]


def boxes_in_pixels(boxes: Sequence[Box], *, width_px: int, height_px: int) -> Boxes:
    """Annotated boxes of an image of this size, clipped to it; those without area are left out."""
    rows = [(b.cx - b.w / 2, b.cy - b.h / 2, b.cx + b.w / 2, b.cy + b.h / 2) for b in boxes]
    corners = np.array(rows, dtype=np.float64).reshape(-1, 4) * (width_px, height_px, width_px, height_px)
    return clipped(corners, width_px=width_px, height_px=height_px)


def boxes_to_input(boxes: Boxes, geometry: Geometry, *, size_px: int) -> Boxes:
    """Source boxes on the (S, S) input, clipped to it; those that were cut away are left out."""
    offset = np.array([geometry.offset_x, geometry.offset_y] * 2)
    scale = np.array([geometry.scale_x, geometry.scale_y] * 2)
    return clipped((boxes - offset) / scale, width_px=size_px, height_px=size_px)


def boxes_to_source(boxes: Boxes, geometry: Geometry) -> Boxes:
    """Input boxes on the source image, clipped to it; those on padding alone are left out."""
    offset = np.array([geometry.offset_x, geometry.offset_y] * 2)
    scale = np.array([geometry.scale_x, geometry.scale_y] * 2)
    return clipped(boxes * scale + offset, width_px=geometry.source_width_px, height_px=geometry.source_height_px)


def clipped(boxes: Boxes, *, width_px: int, height_px: int) -> Boxes:
    """Boxes cut to the image; those left without area are dropped."""
    limits = np.array([width_px, height_px, width_px, height_px], dtype=np.float64)
    inside = np.clip(boxes.reshape(-1, 4), 0, limits)
    return inside[(inside[:, 2] > inside[:, 0]) & (inside[:, 3] > inside[:, 1])]


def box_mask(boxes: Boxes, *, width_px: int, height_px: int) -> Mask:
    """(H, W) bool: pixels whose centre lies in a box; a box between centres marks the pixel its own centre is in."""
    mask = np.zeros((height_px, width_px), dtype=bool)
    for left, top, right, bottom in clipped(boxes, width_px=width_px, height_px=height_px):
        columns, rows = _covered(left, right), _covered(top, bottom)
        mask[rows, columns] = True
    return mask


def _covered(low: float, high: float) -> slice:
    first, last = int(np.ceil(low - 0.5)), int(np.ceil(high - 0.5))
    middle = int((low + high) / 2)
    return slice(first, last) if last > first else slice(middle, middle + 1)
