"""Descriptions of images that should tell nothing about a disease: size, border, brightness, name, compression.

In: thumbnails, records or file names. Out: (n, F) numbers for a small model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from tumorscope.auditing.jpeg_header import JpegHeader
from tumorscope.auditing.probing import Features
from tumorscope.core.types import Box, ImageRecord
from tumorscope.data.copies.descriptors import SIDE, Thumbs

Floats32 = NDArray[np.float32]

CELL_PX = 4
"""Side of a cell of the thumbnail; the border is the outermost ring of cells, 6% of the picture on each side."""
COARSE = 8
BINS = 32
LEFT_SIDE = 16
"""Side in pixels of the picture that remains where the lesion was removed."""
RING_PX = 2
"""Width of the ring round a box whose mean fills it, in pixels of the thumbnail."""
_CHUNK = 512


def size_features(records: Sequence[ImageRecord]) -> Floats32:
    """(n, 4 + M) width and height in pixels, their ratio, whether gray, and which of M stored modes."""
    modes = sorted({r.mode for r in records})
    return np.array(
        [
            [r.width_px, r.height_px, r.width_px / r.height_px, r.gray, *(r.mode == mode for mode in modes)]
            for r in records
        ],
        dtype=np.float32,
    )


def pooled(thumbs: Thumbs, side: int) -> Floats32:
    """(n, side * side) mean brightness, 0..1, of the cells of a side x side grid."""
    cell = SIDE // side
    means: Floats32 = thumbs.reshape(-1, side, cell, side, cell).mean((2, 4), dtype=np.float32) / 255
    return means.reshape(len(thumbs), -1)


def coarse_features(thumbs: Thumbs) -> Floats32:
    """(n, 64) brightness, 0..1, of the 8 x 8 pixels that remain of each picture."""
    return pooled(thumbs, COARSE)


def border_features(thumbs: Thumbs) -> Floats32:
    """(n, 120) mean and spread of the 60 outermost cells of 4 x 4 pixels of the thumbnail, 0..1."""
    count = SIDE // CELL_PX
    outer = np.ones((count, count), np.bool_)
    outer[1:-1, 1:-1] = False
    parts = []
    for start in range(0, len(thumbs), _CHUNK):
        cells = thumbs[start : start + _CHUNK].reshape(-1, count, CELL_PX, count, CELL_PX).astype(np.float32) / 255
        parts.append(np.concatenate([cells.mean((2, 4))[:, outer], cells.std((2, 4))[:, outer]], 1))
    return np.concatenate(parts)


def histogram_features(thumbs: Thumbs) -> Floats32:
    """(n, 32) square roots of the shares of pixels in 32 equal bins of brightness."""
    rows = np.repeat(np.arange(len(thumbs)) * BINS, SIDE * SIDE)
    levels = (thumbs.reshape(-1) // (256 // BINS)).astype(np.int64)
    counts = np.bincount(rows + levels, minlength=len(thumbs) * BINS).reshape(-1, BINS)
    return np.sqrt(counts / (SIDE * SIDE)).astype(np.float32)


def name_pattern(path: str) -> str:
    """File name without folder and extension, every digit 0, with marks at its ends: "img-17.png" is "^img-00$"."""
    return "^" + re.sub(r"\d", "0", PurePosixPath(path).stem) + "$"


def name_features(patterns: Sequence[str]) -> Features:
    """(n, F) sparse: which runs of one to four characters a name has."""
    from sklearn.feature_extraction.text import CountVectorizer

    runs = CountVectorizer(analyzer="char", ngram_range=(1, 4), lowercase=False, binary=True)
    counts: Features = runs.fit_transform(patterns)
    return counts


def compression_features(headers: Sequence[JpegHeader | None]) -> Floats32:
    """(n, 69) whether JPEG, progressive, chroma sampling, number of tables, the luma table, mean of the others."""
    rows = np.zeros((len(headers), 5 + 64), np.float32)
    for row, header in zip(rows, headers, strict=True):
        if header is None:
            continue
        row[:4] = 1, header.progressive, header.sampling, len(header.tables)
        others = [sum(table) / 64 for number, table in header.tables.items() if number != 0]
        row[4] = sum(others) / len(others) if others else 0
        row[5:] = header.tables.get(0, (0,) * 64)
    return rows


def without_boxes(thumb: NDArray[np.uint8], boxes: Sequence[Box]) -> NDArray[np.uint8]:
    """The (64, 64) uint8 thumbnail with every box filled with the mean of a ring round it.

    A ring that lies in other boxes or outside the picture gives way to all that is in no box, and a picture that is
    all box to its own mean.
    """
    areas = [_area(box, margin=0) for box in boxes]
    covered = np.zeros(thumb.shape, np.bool_)
    for area in areas:
        covered[area] = True
    out = thumb.copy()
    for box, area in zip(boxes, areas, strict=True):
        ring = np.zeros(thumb.shape, np.bool_)
        ring[_area(box, margin=RING_PX)] = True
        ring &= ~covered
        around = thumb[ring] if ring.any() else thumb[~covered] if not covered.all() else thumb
        out[area] = np.rint(around.mean()).astype(np.uint8)
    return out


def box_features(boxes: Sequence[Sequence[Box]]) -> Floats32:
    """(n, 6) place and size of each image's largest box, the number of its boxes and their area, relative."""
    rows = []
    for own in boxes:
        large = max(own, key=lambda b: b.w * b.h)
        rows.append([large.cx, large.cy, large.w, large.h, len(own), sum(b.w * b.h for b in own)])
    return np.array(rows, dtype=np.float32)


def _area(box: Box, *, margin: int) -> tuple[slice, slice]:
    """Pixels of the thumbnail that a box touches, at least one, and `margin` more on each side."""

    def span(middle: float, length: float) -> slice:
        low = int(np.clip(np.floor((middle - length / 2) * SIDE), 0, SIDE - 1))
        high = int(np.clip(np.ceil((middle + length / 2) * SIDE), low + 1, SIDE))
        return slice(max(0, low - margin), min(SIDE, high + margin))

    return span(box.cy, box.h), span(box.cx, box.w)
