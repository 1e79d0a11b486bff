"""The search for sets of up to some ten thousand images: every image in every variant against all the others.

In: thumbnails. Out: hits. The four ways to change the signs of coefficients by parity share their products: with
the sums of products over the coefficients of each parity, a + b + c + d, a - b + c - d, a + b - c - d and
a - b - c + d are the similarities of a picture upright, mirrored, upside down, and turned by 180 degrees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tumorscope.data.copies.descriptors import Thumbs
from tumorscope.data.copies.hits import Hits, best_hits
from tumorscope.data.copies.vectors import (
    BLOCK,
    Base,
    all_variants,
    moved_vectors,
    oriented,
    parities,
    small_pictures,
)

if TYPE_CHECKING:
    import torch

_ROWS, _COLUMNS = 128, 512  # 256 KB a buffer: the work stays in the cache
_QUARTER_TURN = 1


def search_all(thumbs: Thumbs, start: int, base: Base, neighbours: int, keep: int) -> Hits:
    """Hits of the block of images that begins at `start`, `keep` each at most."""
    import torch

    rows = slice(start, start + BLOCK)
    moved = moved_vectors(small_pictures(thumbs[rows], base.centres[rows]))
    count = moved.shape[1]
    similar = best_similarity(moved, base.vectors)
    similar[torch.arange(count), torch.arange(start, start + count)] = -1.0
    return best_hits(start, all_variants(moved), similar.topk(neighbours, dim=1).indices, base, keep)


def best_similarity(moved: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """(R, N) largest product of any of the 72 variants of each query with each vector.

    Args:
        moved: (9, R, 88) vectors of the queries in every move.
        vectors: (N, 88) upright vectors.
    """
    import torch

    count, n = moved.shape[1], len(vectors)
    queries = torch.cat([moved, oriented(moved, _QUARTER_TURN)])
    best = torch.full((count, n), -1.0)
    space = torch.empty(5, _ROWS, _COLUMNS)
    for left in range(0, n, _COLUMNS):
        others = [vectors[left : left + _COLUMNS, part].T for part in parities()]
        for top in range(0, count, _ROWS):
            view = best[top : top + _ROWS, left : left + _COLUMNS]
            a, b, c, d, either = space[:, : view.shape[0], : view.shape[1]]
            for query in queries:
                for part, other, out in zip(parities(), others, (a, b, c, d), strict=True):
                    torch.mm(query[top : top + _ROWS, part], other, out=out)
                # the larger of a + b + c + d and a - b + c - d, then of a + b - c - d and a - b - c + d
                torch.maximum(view, torch.add(b, d, out=either).abs_().add_(a).add_(c), out=view)
                torch.maximum(view, torch.sub(b, d, out=either).abs_().add_(a).sub_(c), out=view)
    return best
