"""Which pairs may be copies: nearest neighbours of low-frequency vectors, over turned and mirrored queries.

In: (N, 64, 64) thumbnails. Out: candidate pairs, each with a first guess of the map between the two pictures.

Every image queries with 72 variants of itself, so a pair is found however it is turned. Up to `EXACT_LIMIT`
images all pairs are compared by matrix products; beyond, only the nearest cells of an inverted file (Sivic &
Zisserman 2003; Jegou et al. 2011), whose work grows as N times the size of a cell.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorscope.data.copies.all_pairs import search_all
from tumorscope.data.copies.cells import chunk_size, make_cells, search_cells
from tumorscope.data.copies.descriptors import Progress, Thumbs
from tumorscope.data.copies.hits import Hits, unite
from tumorscope.data.copies.pieces import Pieces
from tumorscope.data.copies.threads import in_order
from tumorscope.data.copies.vectors import BLOCK, make_base, variants

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

    def __len__(self) -> int:
        return len(self.a)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Candidates:
        """Some of the pairs, by position or by a mask."""
        return Candidates(self.a[rows], self.b[rows], self.similarity[rows], self.maps[rows])


def find_candidates(
    thumbs: Thumbs,
    *,
    exact_limit: int = EXACT_LIMIT,
    threads: int = 1,
    pieces: Pieces | None = None,
    progress: Progress | None = None,
) -> Candidates:
    """Pairs of `thumbs` that may show the same picture, and how it would be turned.

    Args:
        thumbs: (N, 64, 64) uint8.
        exact_limit: Up to this many images all pairs are compared, beyond it an inverted file is used.
        threads: Blocks searched at a time; the result is the same.
        pieces: Where finished blocks are kept; the pieces must have been made for these `thumbs`.
        progress: Called with ("search", images done, N).
    """
    pieces = pieces or Pieces()
    n, neighbours = len(thumbs), min(NEIGHBOURS, len(thumbs) - 1)
    base = make_base(thumbs, threads=threads)
    cells = None if n <= exact_limit else make_cells(base.vectors, threads=threads)
    size = BLOCK if cells is None else chunk_size(n)

    def block(start: int) -> Hits:
        key = pieces.key("search", n, exact_limit, start, neighbours, CANDIDATES)
        kept = pieces.load(key)
        if kept is not None:
            return Hits(kept["query"], kept["answer"], kept["similarity"], kept["variant"])
        if cells is None:
            found = search_all(thumbs, start, base, neighbours, CANDIDATES)
        else:
            found = search_cells(thumbs, start, base, cells, neighbours, CANDIDATES)
        pieces.save(key, found.arrays())
        return found

    parts = []
    with closing(in_order(block, range(0, n, size), threads=threads)) as blocks:
        for found in blocks:
            parts.append(found)
            if progress is not None:
                progress("search", min(len(parts) * size, n), n)
    return _candidates(unite(parts), base.centres.numpy())


def _candidates(found: Hits, centres: NDArray[np.float32]) -> Candidates:
    """One candidate per pair, by the better of its two directions, with maps from the smaller position."""
    n = len(centres)
    pair = np.minimum(found.query, found.answer) * n + np.maximum(found.query, found.answer)
    order = np.lexsort((found.query, -found.similarity.max(1, initial=-1.0), pair))
    chosen = order[np.diff(pair[order], prepend=-1) != 0]
    query, answer, similarity = found.query[chosen], found.answer[chosen], found.similarity[chosen]
    better_first = np.argsort(-similarity, axis=1, kind="stable")
    linear = variants()[np.take_along_axis(found.variant[chosen], better_first, 1)]
    # a place p in the answer is at centre_q + matrix (p - centre_a) in the query
    shift = centres[query][:, None] - np.einsum("phij,pj->phi", linear, centres[answer])
    maps = np.concatenate([linear, shift[..., None]], axis=3).astype(np.float32)
    swapped = answer > query
    maps[swapped] = invert(maps[swapped])
    return Candidates(
        np.minimum(query, answer), np.maximum(query, answer), np.take_along_axis(similarity, better_first, 1), maps
    )


def invert(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """(..., 2, 3) inverses of the affine maps (..., 2, 3)."""
    back = np.linalg.inv(maps[..., :2])
    return np.concatenate([back, -back @ maps[..., 2:]], axis=-1)
