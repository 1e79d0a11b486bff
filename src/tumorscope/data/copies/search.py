"""Which pairs may be copies: nearest neighbours of low-frequency vectors, over turned and mirrored queries.

In: (N, 64, 64) thumbnails. Out: candidate pairs, each with a first guess of the map between the two pictures.

Every image queries with 72 variants of itself, so a pair is found however it is turned. Up to `EXACT_LIMIT`
images all pairs are compared by matrix products; beyond, only the nearest cells of an inverted file (Sivic &
Zisserman 2003; Jegou et al. 2011), whose work grows as N times the size of a cell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorscope.data.copies.cells import search_cells
from tumorscope.data.copies.descriptors import Progress, Thumbs
from tumorscope.data.copies.vectors import (
    BLOCK,
    Hits,
    hits,
    make_base,
    small_pictures,
    turned_vectors,
    variants,
)

NEIGHBOURS = 96
"""Most alike images of every image that are compared once more, allowing for small moves."""
CANDIDATES = 16
"""Candidates kept of them. Among 2,000 distinct brain slices and a cropped (or cropped, turned, mirrored and
re-encoded) copy of each, 98% (96%) of copies keep their original; by plain similarity it would be 94% (93%)."""
EXACT_LIMIT = 20_000
"""Images up to which all pairs are compared."""


@dataclass(frozen=True)
class Candidates:
    """Candidate pairs.

    Attributes:
        a: (P,) int64 positions of the fixed pictures, a < b.
        b: (P,) int64 positions of the moving pictures.
        similarity: (P, 2) float32 cosines of the vectors for two guesses, the better one first: one of them
            mirrored, the other not, because a head is nearly its own mirror image.
        maps: (P, 2, 2, 3) float32 of both guesses; `maps @ (x, y, 1)` leads from a place in a to the place
            in b, both in -1..1 from left to right and from top to bottom.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    similarity: NDArray[np.float32]
    maps: NDArray[np.float32]


def find_candidates(thumbs: Thumbs, *, exact_limit: int = EXACT_LIMIT, progress: Progress | None = None) -> Candidates:
    """Pairs of `thumbs` that may show the same picture, and how it would be turned.

    Args:
        thumbs: (N, 64, 64) uint8.
        exact_limit: Up to this many images all pairs are compared, beyond it an inverted file is used.
        progress: Called with ("search", images done, N).
    """
    import torch

    search = _search_all if len(thumbs) <= exact_limit else search_cells
    with torch.inference_mode():
        parts, centres = [], [np.zeros((0, 2), np.float32)]
        for found, middle in search(thumbs, min(NEIGHBOURS, len(thumbs) - 1), CANDIDATES):
            parts.append(found)
            centres.append(middle)
            if progress is not None:
                progress("search", sum(map(len, centres)), len(thumbs))
        return _unite(parts, np.concatenate(centres))


def _search_all(thumbs: Thumbs, neighbours: int, keep: int) -> Iterator[tuple[Hits, NDArray[np.float32]]]:
    """Hits and centres of one block of images after the other, from all products."""
    import torch

    n = len(thumbs)
    base = make_base(thumbs)
    best, product = torch.empty(BLOCK, n), torch.empty(BLOCK, n)
    for start in range(0, n, BLOCK):
        small = small_pictures(thumbs[start : start + BLOCK])
        rows = len(small.centres)
        queries = torch.stack([turned_vectors(small, matrix) for matrix in variants()])
        top = best[:rows].fill_(-1.0)
        for query in queries:
            torch.maximum(top, torch.mm(query, base.vectors.T, out=product[:rows]), out=top)
        top[torch.arange(rows), torch.arange(start, start + rows)] = -1.0
        answers = top.topk(neighbours, dim=1).indices
        yield hits(start, queries, answers, base, keep), small.centres.numpy()


def _unite(parts: list[Hits], centres: NDArray[np.float32]) -> Candidates:
    """One candidate per pair, by the better of its two directions, with maps from the smaller position."""
    n = len(centres)
    nothing = np.zeros(0, np.int64)
    query = np.concatenate([nothing, *(p.query for p in parts)])
    answer = np.concatenate([nothing, *(p.answer for p in parts)])
    similarity = np.concatenate([np.zeros((0, 2), np.float32), *(p.similarity for p in parts)])
    variant = np.concatenate([np.zeros((0, 2), np.int8), *(p.variant for p in parts)])
    low, high = np.minimum(query, answer), np.maximum(query, answer)
    order = np.lexsort((query, -similarity.max(1, initial=-1.0), low * n + high))
    chosen = order[np.diff((low * n + high)[order], prepend=-1) != 0]
    query, answer, low, high = query[chosen], answer[chosen], low[chosen], high[chosen]
    better_first = np.argsort(-similarity[chosen], axis=1, kind="stable")
    similarity = np.take_along_axis(similarity[chosen], better_first, 1)
    linear = variants()[np.take_along_axis(variant[chosen], better_first, 1)]
    # a place p in the answer is at centre_q + matrix (p - centre_a) in the query
    shift = centres[query][:, None] - np.einsum("phij,pj->phi", linear, centres[answer])
    forward = np.concatenate([linear, shift[..., None]], axis=3)
    maps = np.where((answer == low)[:, None, None, None], forward, invert(forward))
    return Candidates(low, high, similarity, maps.astype(np.float32))


def invert(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """(..., 2, 3) inverses of the affine maps (..., 2, 3)."""
    back = np.linalg.inv(maps[..., :2])
    return np.concatenate([back, -back @ maps[..., 2:]], axis=-1)
