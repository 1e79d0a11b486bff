"""What an image looks like in a few numbers, computed without a network: brightness, edges, detail, symmetry, layout.

In: one preprocessed image. Out: a vector for the input gate. It is the same for every backend and costs less than a
millisecond, so that a gate can stand in front of whatever computes the answer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tumorscope.core.types import Pixels

Features = NDArray[np.float64]
"""(F,) of one image or (n, F) of many."""

THUMB_PX = 64
"""Side of the thumbnail; smaller inputs are taken as they are."""
LEVELS, ORIENTATIONS, CELLS, GRID = 16, 8, 4, 8
DARK, BRIGHT = 16, 240
COLOURED = 30
"""A pixel counts as coloured if the largest of R, G and B exceeds the smallest by more; JPEG's own stays below."""
SAMPLE_PX = 128
"""Colour is judged on about this many rows and columns."""

PROPERTIES: dict[str, tuple[str, str]] = {
    "mean": ("a dark picture", "a bright picture"),
    "spread": ("little contrast", "hard contrast"),
    "dark": ("little dark background", "mostly black"),
    "bright": ("little white", "much white"),
    "levels": ("few gray levels", "all gray levels in equal parts"),
    "border": ("a dark border", "a bright border"),
    "edges": ("hardly any edges", "edges everywhere"),
    "detail": ("no fine detail", "much fine detail"),
    "flat": ("no even areas", "even areas, as in drawings"),
    "mirrored": ("left unlike right", "left like right"),
}
"""Properties with words for people: what is said below and above the range of the training images."""
APPEARANCE = 32 + LEVELS + CELLS * CELLS * ORIENTATIONS
"""Leading features that say how the image looks; the others say what lies where."""
LENGTH = APPEARANCE + GRID * GRID


def coloured_share(pixels: Pixels) -> float:
    """Share of coloured pixels, 0..1, of a decoded image (H, W) or (H, W, 3)."""
    if pixels.ndim == 2:
        return 0.0
    height, width = pixels.shape[:2]
    sample = pixels[:: max(1, height // SAMPLE_PX), :: max(1, width // SAMPLE_PX)]
    return float((sample.max(axis=2) - sample.min(axis=2) > COLOURED).mean())


def thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(T, T) gray thumbnail of one (C, S, S) preprocessed image, T at most `THUMB_PX`, by area means."""
    gray: NDArray[np.uint8] = image[0]
    if len(image) == 3:
        gray = np.asarray(Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).convert("L"))
    side = min(THUMB_PX, len(gray))
    if side == len(gray):
        return gray
    return np.asarray(Image.fromarray(gray).resize((side, side), Image.Resampling.BOX))


def describe(image: NDArray[np.uint8]) -> tuple[Features, dict[str, float]]:
    """Features of one preprocessed image, and its properties by name.

    The features: brightness (mean, spread, quantiles, shares of dark and bright, entropy, border, corners, sides),
    edges and detail on three scales, flatness, symmetry, a histogram of gray levels, histograms of edge orientations
    in 4 x 4 cells (Dalal and Triggs 2005), and the mean brightness of 8 x 8 cells.

    Args:
        image: (C, S, S) uint8.

    Returns:
        (`LENGTH`,) float64, and the values of `PROPERTIES`.
    """
    thumb = thumbnail(image)
    side = len(thumb)
    x = thumb.astype(np.float64) / 255
    ring = max(1, side // 16)
    inner = slice(ring, -ring)
    border = np.concatenate([x[:ring].ravel(), x[-ring:].ravel(), x[inner, :ring].ravel(), x[inner, -ring:].ravel()])
    shares = np.bincount(thumb.ravel() // (256 // LEVELS), minlength=LEVELS) / thumb.size
    entropy = -float((shares * np.log(shares + 1e-9)).sum())
    sides = [float(part.mean()) for part in (x[:ring], x[-ring:], x[:, :ring], x[:, -ring:])]
    wide = 2 * ring
    corners = [
        float(x[rows, columns].mean())
        for rows in (slice(0, wide), slice(-wide, None))
        for columns in (slice(0, wide), slice(-wide, None))
    ]
    quarter = slice(side // 4, -(side // 4))
    gx, gy = np.zeros_like(x), np.zeros_like(x)
    gx[:, 1:-1] = x[:, 2:] - x[:, :-2]
    gy[1:-1] = x[2:] - x[:-2]
    strength = np.hypot(gx, gy)
    small = _halved(x)
    details = np.array([_laplacian(x), _laplacian(small), _laplacian(_halved(small))])
    even = float(((np.diff(thumb.astype(np.int16), axis=1) == 0) & (thumb[:, 1:] > DARK)).mean())
    mirrored = _likeness(x, x[:, ::-1])
    log_edges, log_strong = _log(strength.mean()), _log(_quantiles(strength, (0.95,))[0])
    log_details = np.log(details + _TINY)
    numbers = [
        *(x.mean(), x.std(), *_quantiles(x, (0.05, 0.25, 0.5, 0.75, 0.95))),
        *((thumb < DARK).mean(), (thumb > BRIGHT).mean(), entropy, border.mean(), border.std()),
        *(*corners, *sides, x[quarter, quarter].mean() - border.mean()),
        *(log_edges, log_strong, *log_details, *(log_details[:2] - log_details[1:])),
        *(even, mirrored, _likeness(x, x[::-1]), _log(np.abs(gx).mean()) - _log(np.abs(gy).mean())),
    ]
    features = np.concatenate([numbers, np.sqrt(shares), _orientations(gx, gy, strength), _cells(x, GRID).ravel()])
    values = (
        x.mean(),
        x.std(),
        numbers[7],
        numbers[8],
        entropy,
        border.mean(),
        log_edges,
        log_details[0],
        even,
        mirrored,
    )
    return features, dict(zip(PROPERTIES, map(float, values), strict=True))


_TINY = 1e-3


def _log(value: float) -> float:
    return float(np.log(value + _TINY))


def _quantiles(values: Features, shares: tuple[float, ...]) -> list[float]:
    """Values at the shares of the sorted values; the nearest ones below."""
    ordered = np.sort(values, axis=None)
    return [float(ordered[int(share * (ordered.size - 1))]) for share in shares]


def _halved(x: Features) -> Features:
    """Means of 2 x 2 pixels; an odd last row or column is left out."""
    side = len(x) // 2 * 2
    cut = x[:side, :side]
    mean: Features = (cut[::2, ::2] + cut[1::2, ::2] + cut[::2, 1::2] + cut[1::2, 1::2]) / 4
    return mean


def _laplacian(x: Features) -> float:
    """Mean size of the difference between a pixel and its four neighbours."""
    middle = x[1:-1, 1:-1]
    return float(np.abs(4 * middle - x[2:, 1:-1] - x[:-2, 1:-1] - x[1:-1, 2:] - x[1:-1, :-2]).mean())


def _likeness(a: Features, b: Features) -> float:
    """Correlation of two images, pulled to zero where there is nothing to compare."""
    one, two = a - a.mean(), b - b.mean()
    return float((one * two).sum() / (np.sqrt((one * one).sum() * (two * two).sum()) + 1e-2))


def _cells(x: Features, count: int) -> Features:
    """(count, count) means of nearly equal cells."""
    edges = np.linspace(0, len(x), count + 1).round().astype(np.int64)
    sizes = np.diff(edges)
    sums: Features = np.add.reduceat(np.add.reduceat(x, edges[:-1], axis=0), edges[:-1], axis=1)
    sums /= sizes[:, None] * sizes[None]
    return sums


def _orientations(gx: Features, gy: Features, strength: Features) -> Features:
    """(CELLS * CELLS * ORIENTATIONS,) square roots of the shares of edge strength by cell and direction."""
    side = len(gx)
    angle = np.mod(np.arctan2(gy, gx), np.pi) / np.pi * ORIENTATIONS
    lower = np.floor(angle).astype(np.int64)
    upper_share = angle - lower
    lower %= ORIENTATIONS
    edges = np.linspace(0, side, CELLS + 1).round().astype(np.int64)
    cell = np.repeat(np.arange(CELLS), np.diff(edges))
    place = (cell[:, None] * CELLS + cell[None]) * ORIENTATIONS
    length = CELLS * CELLS * ORIENTATIONS
    counts = np.bincount((place + lower).ravel(), (strength * (1 - upper_share)).ravel(), length)
    counts += np.bincount((place + (lower + 1) % ORIENTATIONS).ravel(), (strength * upper_share).ravel(), length)
    shares: Features = np.sqrt(counts / (counts.sum() + _TINY * side))
    return shares
