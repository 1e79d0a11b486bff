"""Made-up head slices for the tests of the copy search: a skull, soft structures and fine detail inside."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from tumorscope.core.types import Pixels


def volume(seed: int, *, slices: int = 1, side: int = 112, thickness: float = 2.0) -> NDArray[np.uint8]:
    """(slices, side, side) uint8 neighbouring slices; `thickness` 2 leaves little fine detail in common."""
    rng = np.random.default_rng(seed)
    depth = slices + 8
    noise = rng.standard_normal((depth, side, side))
    field = np.zeros_like(noise)
    for sigma, weight in ((1.2, 0.5), (3.0, 0.8), (7.0, 1.0)):
        part = gaussian_filter(noise, (sigma / thickness, sigma, sigma), mode="wrap")
        field += weight * part / part.std()
    line = np.linspace(-1, 1, side)
    y, x = np.meshgrid(line, line, indexing="ij")
    wide, tall = rng.uniform(0.6, 0.75), rng.uniform(0.7, 0.85)
    radius = np.hypot((x - rng.uniform(-0.05, 0.05)) / wide, (y - rng.uniform(-0.05, 0.05)) / tall)
    inside, skull = radius < 0.88, (radius >= 0.88) & (radius < 1)
    pictures = np.where(inside, 90 + 22 * field, 0) + np.where(skull, 190, 0)
    pictures = gaussian_filter(np.clip(pictures, 0, 255), (0, 0.6, 0.6))
    chosen: NDArray[np.uint8] = pictures[4 : 4 + slices].astype(np.uint8)
    return chosen


def head(seed: int, *, side: int = 112) -> Pixels:
    """One (side, side) uint8 slice of a head of its own."""
    picture: Pixels = volume(seed, side=side)[0]
    return picture


def reencoded(pixels: Pixels, quality: int = 50) -> Pixels:
    """The picture after JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def resized(pixels: Pixels, width: int, height: int) -> Pixels:
    """The picture at another size."""
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def turned(pixels: Pixels, degrees: float) -> Pixels:
    """The picture turned counter-clockwise, black behind."""
    return np.asarray(Image.fromarray(pixels).rotate(degrees, Image.Resampling.BICUBIC))


def brighter(pixels: Pixels, gamma: float = 0.8, gain: float = 1.15, offset: float = 12) -> Pixels:
    """The picture with other gamma, contrast and brightness."""
    bent = 255 * (pixels / 255.0) ** gamma * gain + offset
    return np.clip(np.rint(bent), 0, 255).astype(np.uint8)
