"""Which pairs may be copies: nearest neighbours of low-frequency vectors, over turned and mirrored queries.

In: (N, 64, 64) thumbnails. Out: candidate pairs, each with a first guess of the map between the two pictures.

Every picture is centred on its foreground, seen through a round window, and described by 88 low-frequency
cosine coefficients (as in perceptual hashing; Zauner 2010). Every image queries with 48 variants of itself:
8 orientations x 3 turns x 2 zooms, so a pair is found however it is turned. Up to `EXACT_LIMIT` images all
pairs are compared by matrix products; beyond, only the nearest cells of an inverted file (Sivic & Zisserman
2003; Jegou et al. 2011), whose work grows as N times the size of a cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tumorscope.data.copies.descriptors import Progress, Thumbs

if TYPE_CHECKING:
    import torch

GRID = 16
"""Samples a side of the centred picture."""
EXTENT = 0.9
"""Half side of the sampled square, in half sides of the thumbnail."""
FREQUENCIES = 12
"""Cosine coefficients (u, v) with 0 < u + v <= 12, u, v < 12 are kept: 88 of them."""
NEIGHBOURS = 32
"""Candidates per image. On 7,019 brain slices the true original of a cropped, turned, mirrored and
re-encoded slice is among the first 20 in 93% and among the first 50 in 98% of queries from one side (each
pair is queried from both); see `benchmarks/copies.py`."""
MIN_SIMILARITY = 0.5
"""Cosine below which a neighbour is no candidate: 98% of transformed slices keep more than 0.6."""
EXACT_LIMIT = 20_000
"""Images up to which all pairs are compared."""
CELL_SIZE = 250
"""Mean number of images in a cell of the inverted file."""
PROBES = 4
"""Cells that one variant of a query visits."""
_BLOCK = 512


@dataclass(frozen=True)
class Candidates:
    """Candidate pairs.

    Attributes:
        a: (P,) int64 positions of the fixed pictures, a < b.
        b: (P,) int64 positions of the moving pictures.
        similarity: (P,) float32 cosine of the vectors.
        maps: (P, 2, 3) float32; `maps @ (x, y, 1)` leads from a place in a to the place in b, both in
            -1..1 from left to right and from top to bottom.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    similarity: NDArray[np.float32]
    maps: NDArray[np.float32]


@lru_cache(maxsize=1)
def variants() -> NDArray[np.float32]:
    """(48, 2, 2) matrices by which a query is sampled: 8 orientations x turns of -7, 0, 7 deg x zooms 1, 1.14."""
    matrices = []
    for mirror in (1.0, -1.0):
        for degrees in (0, 90, 180, 270):
            for turn in (-7.0, 0.0, 7.0):
                for scale in (1.0, 0.88):
                    t = np.deg2rad(degrees + turn)
                    c, s = np.cos(t), np.sin(t)
                    matrices.append(scale * np.array([[c, -s], [s, c]]) @ np.diag([mirror, 1.0]))
    return np.array(matrices, np.float32)


@lru_cache(maxsize=1)
def _projection() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(256, 2) sampling points and the (256, 88) matrix from samples to coefficients."""
    line = ((np.arange(GRID) + 0.5) / GRID * 2 - 1) * EXTENT
    x, y = (v.ravel() for v in np.meshgrid(line, line))
    window = np.clip((1.15 - np.hypot(x, y) / EXTENT) / 0.5, 0, 1)
    k = np.arange(FREQUENCIES)
    cosines = np.cos(np.pi * k[:, None] * (np.arange(GRID) + 0.5) / GRID)
    cosines *= np.sqrt(np.where(k == 0, 1, 2) / GRID)[:, None]
    u, v = np.meshgrid(k, k)
    keep = (u + v > 0) & (u + v <= FREQUENCIES)
    basis = np.einsum("ay,bx->abyx", cosines, cosines)[keep].reshape(-1, GRID * GRID)
    basis *= np.sqrt(np.hypot(u, v)[keep])[:, None]
    basis = basis * window
    centre = np.eye(GRID * GRID) - window[:, None] / window.sum()
    return np.stack([x, y], 1).astype(np.float32), (centre @ basis.T).astype(np.float32)


@dataclass(frozen=True)
class _Small:
    """(N, 32, 32) half-size pictures and (N, 2) foreground centres, as torch tensors."""

    pictures: torch.Tensor
    centres: torch.Tensor


def _small(thumbs: Thumbs) -> _Small:
    import torch
    from torch.nn.functional import avg_pool2d

    pictures = avg_pool2d(torch.from_numpy(np.ascontiguousarray(thumbs)).float()[:, None], 2)[:, 0] / 255
    ordered = pictures.flatten(1).sort(1).values
    low, high = (ordered[:, int(q * (ordered.shape[1] - 1)), None, None] for q in (0.05, 0.95))
    mask = ((pictures - low) / (0.6 * (high - low).clamp_min(1e-3)) - 0.1).clamp(0, 1)
    n = pictures.shape[-1]
    line = (torch.arange(n) + 0.5) / n * 2 - 1
    weight = mask.sum((1, 2)).clamp_min(1e-6)
    x = (mask.sum(1) * line).sum(1) / weight
    y = (mask.sum(2) * line).sum(1) / weight
    return _Small(pictures, torch.stack([x, y], 1))


def _vectors(small: _Small, matrix: NDArray[np.float32]) -> torch.Tensor:
    """(N, 88) unit vectors of the pictures sampled through `matrix`; zero where a picture is blank."""
    import torch
    from torch.nn.functional import grid_sample

    points, projection = _projection()
    places = torch.from_numpy(points @ matrix.T) + small.centres[:, None, :]
    samples = grid_sample(small.pictures[:, None], places[:, None], padding_mode="border", align_corners=False)[:, 0, 0]
    raw = samples @ torch.from_numpy(projection)
    norm = raw.norm(dim=1, keepdim=True)
    return torch.where(norm > 1e-3, raw / norm.clamp_min(1e-3), torch.zeros(()))


def vectors(thumbs: Thumbs) -> NDArray[np.float32]:
    """(N, 88) float32 search vectors of upright pictures, made in blocks; blank pictures have zeros."""
    identity = np.eye(2, dtype=np.float32)
    blocks = [_vectors(_small(thumbs[i : i + 4096]), identity).numpy() for i in range(0, len(thumbs), 4096)]
    return np.concatenate(blocks) if blocks else np.zeros((0, _projection()[1].shape[1]), np.float32)


def find_candidates(thumbs: Thumbs, *, exact_limit: int = EXACT_LIMIT, progress: Progress | None = None) -> Candidates:
    """Pairs of `thumbs` that may show the same picture, and how it would be turned.

    Args:
        thumbs: (N, 64, 64) uint8.
        exact_limit: Up to this many images all pairs are compared, beyond it an inverted file is used.
        progress: Called with ("search", images done, N).
    """
    import torch

    n = len(thumbs)
    k = min(NEIGHBOURS, n - 1)
    if k < 1:
        return _unite(n, *(np.zeros(0, np.int64),) * 3, np.zeros(0, np.float32), np.zeros((n, 2), np.float32))
    with torch.inference_mode():
        if n <= exact_limit:
            found = _search_all(thumbs, k, progress)
        else:
            from tumorscope.data.copies.cells import search_cells

            found = search_cells(thumbs, k, progress)
    return _unite(n, *found)


Found = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]
"""Queries, answers, variants and similarities of (M,) hits, and the (N, 2) centres of all pictures."""


def _search_all(thumbs: Thumbs, k: int, progress: Progress | None) -> Found:
    import torch

    n = len(thumbs)
    base = torch.from_numpy(vectors(thumbs))
    turned, parts, centres = variants(), [], []
    best, product = torch.empty(_BLOCK, n), torch.empty(_BLOCK, n)
    for start in range(0, n, _BLOCK):
        small = _small(thumbs[start : start + _BLOCK])
        centres.append(small.centres.numpy())
        rows = len(small.centres)
        queries = torch.stack([_vectors(small, matrix) for matrix in turned])
        top = best[:rows].fill_(-1.0)
        for query in queries:
            torch.maximum(top, torch.mm(query, base.T, out=product[:rows]), out=top)
        top[torch.arange(rows), torch.arange(start, start + rows)] = -1.0
        similarity, answer = top.topk(k, dim=1)
        variant = torch.einsum("vrd,rkd->rkv", queries, base[answer]).argmax(2)
        query_of = torch.arange(start, start + rows)[:, None].expand_as(answer)
        keep = similarity >= MIN_SIMILARITY
        parts.append([x[keep].numpy() for x in (query_of, answer, variant, similarity)])
        if progress is not None:
            progress("search", start + rows, n)
    query_of, answer, variant, similarity = (np.concatenate(x) for x in zip(*parts, strict=True))
    return query_of, answer, variant, similarity, np.concatenate(centres)


def _unite(
    n: int,
    query: NDArray[np.int64],
    answer: NDArray[np.int64],
    variant: NDArray[np.int64],
    similarity: NDArray[np.float32],
    centres: NDArray[np.float32],
) -> Candidates:
    """One candidate per pair, by the better of its two directions, with the map from the smaller position."""
    low, high = np.minimum(query, answer), np.maximum(query, answer)
    order = np.lexsort((query, -similarity, high, low))
    first = np.ones(len(order), bool)
    first[1:] = np.diff(low[order] * n + high[order]) != 0
    chosen = order[first]
    query, answer, low, high = query[chosen], answer[chosen], low[chosen], high[chosen]
    linear = variants()[variant[chosen]]
    # a place p in the answer is at centre_q + matrix (p - centre_a) in the query
    shift = centres[query] - np.einsum("pij,pj->pi", linear, centres[answer])
    forward = np.concatenate([linear, shift[:, :, None]], axis=2)
    maps = np.where((answer == low)[:, None, None], forward, invert(forward))
    return Candidates(low, high, similarity[chosen], maps.astype(np.float32))


def invert(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """(P, 2, 3) inverses of the affine maps (P, 2, 3)."""
    back = np.linalg.inv(maps[:, :, :2])
    return np.concatenate([back, -back @ maps[:, :, 2:]], axis=2)
