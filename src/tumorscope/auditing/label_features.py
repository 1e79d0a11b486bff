"""What a thumbnail shows, for the small model that looks for wrong labels: edges by direction, and brightness.

In: (N, 64, 64) uint8 thumbnails. Out: (N, 928) numbers.
"""

from __future__ import annotations

import numpy as np

from tumorscope.auditing.shortcut_features import Floats32, histogram_features, pooled
from tumorscope.data.copies.descriptors import SIDE, Thumbs

CELL_PX = 8
DIRECTIONS = 9
PICTURE_SIDE = 16
"""Side in pixels of the coarse picture that stands beside the edges."""
FLAT = 0.02
"""Added to the length of a cell's histogram, brightness 0..1, so that a flat cell stays near zero."""
_CHUNK = 512


def label_features(thumbs: Thumbs) -> Floats32:
    """(N, 928) float32: edges (640), a picture of 16 x 16 pixels (256), histogram of brightness (32)."""
    edges = [edge_histograms(thumbs[at : at + _CHUNK]) for at in range(0, len(thumbs), _CHUNK)]
    return np.concatenate([np.concatenate(edges), pooled(thumbs, PICTURE_SIDE), histogram_features(thumbs)], 1)


def edge_histograms(thumbs: Thumbs) -> Floats32:
    """(N, 640) float32 histograms of oriented gradients, after Dalal and Triggs (2005), and the cells' sums.

    8 x 8 cells of 8 pixels, nine directions without sign, each gradient shared between its two nearest directions; a
    cell's histogram is divided by its own length.
    """
    image = thumbs.astype(np.float32) / 255
    down, across = np.gradient(image, axis=(1, 2))
    size = np.hypot(down, across)
    turn = np.arctan2(down, across) / np.pi % 1 * DIRECTIONS
    count = SIDE // CELL_PX
    bins = np.empty((len(thumbs), count, count, DIRECTIONS), np.float32)
    for number in range(DIRECTIONS):
        apart = np.abs(turn - number)
        share = np.maximum(0, 1 - np.minimum(apart, DIRECTIONS - apart)) * size
        bins[..., number] = share.reshape(-1, count, CELL_PX, count, CELL_PX).sum((2, 4))
    length = np.sqrt((bins**2).sum(-1, keepdims=True) + FLAT**2)
    parts = (bins / length, bins.sum(-1))
    return np.concatenate([part.reshape(len(thumbs), -1) for part in parts], 1)
