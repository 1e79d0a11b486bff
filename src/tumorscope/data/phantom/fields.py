"""Scalar fields in head space: the small tools that anatomy and lesions are drawn with.

Head space: x to the patient's left, y to the front, z to the top; a head is about 2 long in y. A point set is
a `Points` triple of equally shaped float32 arrays, here the pixels of one slice plane.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.floating[Any]]
"""Float32 everywhere; mixed with Python numbers it stays so."""

EXTENT = 1.3
"""Noise volumes cover -EXTENT..EXTENT on each axis and repeat beyond."""


class Points(NamedTuple):
    """Positions in head space: three float32 arrays of one shape."""

    x: Array
    y: Array
    z: Array


@dataclass(frozen=True, eq=False)
class Noise:
    """A periodic random volume with zero mean and unit variance, read by linear interpolation."""

    volume: Array

    def at(self, points: Points, *, scale: float = 1.0) -> Array:
        """Values at `points`; `scale` 2 makes the pattern twice as fine."""
        from scipy.ndimage import map_coordinates

        cells = self.volume.shape[0]
        step = np.float32(cells / (2 * EXTENT))
        coordinates = np.stack([(p * np.float32(scale) + np.float32(EXTENT)) * step for p in points])
        values: Array = map_coordinates(
            self.volume, coordinates, order=1, mode="grid-wrap", prefilter=False, output=np.float32
        )
        return values


def band_noise(rng: np.random.Generator, *, cells: int, wavelength: float, spread: float = 0.3) -> Noise:
    """Noise whose pattern repeats about every `wavelength`, in head units.

    Args:
        rng: Source of the white noise.
        cells: Grid points on each axis; about six on each wavelength are enough.
        wavelength: Length of one bump and one dip.
        spread: Width of the band relative to its centre; large values give rough fields.
    """
    from scipy import fft

    white = rng.standard_normal((cells, cells, cells), dtype=np.float32)
    spectrum = fft.rfftn(white)
    centre = 2 * EXTENT / wavelength
    table = np.exp(-0.5 * ((np.arange(cells) - centre) / (spread * centre)) ** 2).astype(np.float32)
    spectrum *= table[_rings(cells)]
    spectrum[0, 0, 0] = 0
    volume = fft.irfftn(spectrum, s=white.shape).astype(np.float32)
    return Noise(volume / volume.std())


@lru_cache(maxsize=8)
def _rings(cells: int) -> NDArray[np.intp]:
    """Whole-number distance of each cell of a real spectrum from its origin."""
    k = np.fft.fftfreq(cells, d=1 / cells)
    radius = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None, : cells // 2 + 1] ** 2)
    rings: NDArray[np.intp] = np.rint(radius).astype(np.intp)
    return rings


def ramp(distance: Array, soft: float) -> Array:
    """0 outside, 1 inside, linear across an edge of width `soft` at distance 0 (positive is inside)."""
    out = distance * np.float32(1 / soft)
    out += np.float32(0.5)
    return np.clip(out, 0, 1, out=out)


def blend(image: Array, value: Array | float, weight: Array) -> None:
    """Move `image` towards `value` by `weight` (0..1), in place."""
    image += weight * (value - image)


def ball(points: Points, centre: tuple[float, float, float], axes: tuple[float, float, float]) -> Array:
    """Distance into an ellipsoid, positive inside; exact for a sphere, a fair guess otherwise."""
    q = [np.float32(1 / a) * (p - np.float32(c)) for p, c, a in zip(points, centre, axes, strict=True)]
    radius = np.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2])
    depth: Array = np.float32(np.cbrt(np.prod(axes))) * (1 - radius)
    return depth


def mirror(points: Points) -> Points:
    """The points folded onto the positive x side: paired structures are drawn once."""
    return Points(np.abs(points.x), points.y, points.z)
