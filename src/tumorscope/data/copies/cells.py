"""The search for large sets: an inverted file whose cells hold about 250 alike images each.

In: thumbnails. Out: hits, as from the comparison of all pairs. Cells are made by k-means on unit vectors
(Dhillon & Modha 2001); every image visits the nearest cells of each of its 8 orientations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tumorscope.data.copies.descriptors import Thumbs
from tumorscope.data.copies.hits import Hits, best_hits, unite
from tumorscope.data.copies.threads import in_order
from tumorscope.data.copies.vectors import (
    BLOCK,
    Base,
    all_variants,
    moved_vectors,
    orientations,
    oriented,
    small_pictures,
)

if TYPE_CHECKING:
    import torch

CELL_SIZE = 250
"""Mean number of images in a cell: the work of one visit."""
PROBES = (4, 2)
"""Cells that one orientation of a query visits: the nearest as it is, and more when zoomed by 1.11. Of 16,521
near pairs in 7,020 brain slices 99.9% share such a cell (26 cells), of cropped, turned, mirrored copies 97%."""
PER_CELL = 24
"""Most alike images kept from one visit."""
PER_ORIENTATION = 48
"""Most alike images kept from one orientation of a query."""
_ROUNDS = 6
_SAMPLE_PER_CELL = 32
_PRODUCTS = 1 << 18
"""Products held at a time, so that a large cell takes no more memory than a small one."""
CHUNKS = 64
"""Parts of a large set. The images of one visit the cells together, and are kept together."""
MIN_CHUNK = 1 << 12


@dataclass(frozen=True)
class Cells:
    """Images by cell: `members[starts[c] : starts[c + 1]]` are the positions in cell c, `vectors` lie alike."""

    centroids: torch.Tensor
    members: torch.Tensor
    vectors: torch.Tensor
    starts: list[int]


def nearest(rows: torch.Tensor, centroids: torch.Tensor, *, threads: int = 1) -> torch.Tensor:
    """(N,) int64 most alike centroid of every row."""
    import torch

    def block(part: torch.Tensor) -> torch.Tensor:
        return (part @ centroids.T).argmax(1)

    return torch.cat(list(in_order(block, torch.split(rows, 4096), threads=threads)))


def make_cells(base: torch.Tensor, *, seed: int = 0, threads: int = 1) -> Cells:
    """Cells of the (N, 88) unit vectors `base`, the same for the same vectors and seed."""
    import torch
    from torch.nn.functional import normalize

    n = len(base)
    count = max(1, n // CELL_SIZE)
    generator = np.random.default_rng(seed)
    sample = base[np.sort(generator.permutation(n)[: count * _SAMPLE_PER_CELL])]
    centroids = sample[generator.permutation(len(sample))[:count]].clone()
    for _ in range(_ROUNDS):
        cell = nearest(sample, centroids, threads=threads)
        sums = torch.zeros_like(centroids).index_add_(0, cell, sample)
        filled = torch.bincount(cell, minlength=count) > 0
        centroids[filled] = normalize(sums[filled], dim=1)
    cell = nearest(base, centroids, threads=threads)
    sizes = torch.bincount(cell, minlength=count)
    starts = [0, *torch.cumsum(sizes, 0).tolist()]
    members = torch.argsort(cell, stable=True)
    return Cells(centroids, members, base[members], starts)


def chunk_size(n: int) -> int:
    """Images that visit the cells together: enough that a cell is visited by many at once."""
    return max(MIN_CHUNK, -(-n // CHUNKS))


def search_cells(thumbs: Thumbs, start: int, base: Base, cells: Cells, neighbours: int, keep: int) -> Hits:
    """Hits of the chunk of images that begins at `start`, `keep` each at most, from the nearest cells only."""
    import torch

    count = min(chunk_size(len(base)), len(base) - start)
    moved = torch.cat(
        [
            moved_vectors(small_pictures(thumbs[begin : begin + BLOCK], base.centres[begin : begin + BLOCK]))
            for begin in range(start, start + count, BLOCK)
        ],
        1,
    )
    answers = _neighbours(moved, cells, neighbours + 1)  # an image finds itself first
    return unite(
        [
            best_hits(
                start + begin,
                all_variants(moved[:, begin : begin + BLOCK]),
                answers[begin : begin + BLOCK],
                base,
                keep,
            )
            for begin in range(0, count, BLOCK)
        ]
    )


def _neighbours(moved: torch.Tensor, cells: Cells, count: int) -> torch.Tensor:
    """(R, <= count) int64 most alike images of a chunk, none twice; -1 where fewer were found."""
    import torch

    similar, found = [], []
    for orientation in range(len(orientations())):
        queries = oriented(moved, orientation).transpose(0, 1).contiguous()
        similarity, answers = _visit(queries, _probes(queries, cells.centroids), cells)
        top = similarity.topk(min(PER_ORIENTATION, similarity.shape[1]), dim=1)
        similar.append(top.values)
        found.append(answers.gather(1, top.indices))
    return torch.cat(
        [
            _without_twins(one, two, count)
            for one, two in zip(
                torch.split(torch.cat(similar, 1), 4096), torch.split(torch.cat(found, 1), 4096), strict=True
            )
        ]
    )


def _without_twins(similarity: torch.Tensor, found: torch.Tensor, count: int) -> torch.Tensor:
    """(R, <= count) int64 positions by falling similarity, every position once, -1 for none."""
    import torch

    order = similarity.argsort(dim=1, descending=True, stable=True)
    similarity, found = similarity.gather(1, order), found.gather(1, order)
    order = found.argsort(dim=1, stable=True)
    similarity, found = similarity.gather(1, order), found.gather(1, order)
    similarity[:, 1:][found[:, 1:] == found[:, :-1]] = -1.0
    top = similarity.topk(min(count, similarity.shape[1]), dim=1)
    return torch.where(top.values > -1.0, found.gather(1, top.indices), -1)


def _probes(queries: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """(R, P) int64 cells to visit, none twice, for (R, 9, 88) vectors: 3 turns x 3 zooms, no turn in the middle."""
    import torch

    plain, zoomed = min(PROBES[0], len(centroids)), min(PROBES[1], max(0, len(centroids) - PROBES[0]))
    parts = []
    for rows in torch.split(queries, 4096):
        near = (rows[:, 3] @ centroids.T).topk(plain, dim=1).indices
        alike = (rows[:, 4] @ centroids.T).scatter_(1, near, -2.0)
        parts.append(torch.cat([near, alike.topk(zoomed, dim=1).indices], 1))
    return torch.cat(parts)


def _visit(queries: torch.Tensor, probes: torch.Tensor, cells: Cells) -> tuple[torch.Tensor, torch.Tensor]:
    """(R, P * PER_CELL) similarities and positions of the most alike images in the cells each row visits."""
    import torch

    rows, visits = probes.shape
    similarity = torch.full((rows * visits, PER_CELL), -1.0)
    found = torch.full((rows * visits, PER_CELL), -1)
    by_cell = torch.argsort(probes.flatten(), stable=True)
    ends = torch.cumsum(torch.bincount(probes.flatten(), minlength=len(cells.centroids)), 0).tolist()
    for cell, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        low, high = cells.starts[cell], cells.starts[cell + 1]
        if start == end or low == high:
            continue
        members, vectors = cells.members[low:high], cells.vectors[low:high].T
        for slots in torch.split(by_cell[start:end], max(1, _PRODUCTS // (queries.shape[1] * (high - low)))):
            products = queries[slots // visits].flatten(0, 1) @ vectors
            alike = products.view(len(slots), -1, high - low).amax(1)
            top = alike.topk(min(PER_CELL, high - low), dim=1)
            similarity[slots, : top.values.shape[1]] = top.values
            found[slots, : top.values.shape[1]] = members[top.indices]
    return similarity.view(rows, -1), found.view(rows, -1)
