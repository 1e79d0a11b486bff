"""Search vectors: 88 low-frequency numbers that say what a picture shows, and what a turned query would find.

In: (N, 64, 64) thumbnails. Out: (N, 88) unit vectors, upright or turned by one of 72 variants, and hits between
them. A picture is centred on its foreground, seen through a round window, and described by low-frequency cosine
coefficients (as in perceptual hashing; Zauner 2010).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tumorscope.data.copies.descriptors import Thumbs

if TYPE_CHECKING:
    import torch

GRID = 16
"""Samples a side of the centred picture."""
EXTENT = 0.9
"""Half side of the sampled square, in half sides of the thumbnail."""
FREQUENCIES = 12
"""Cosine coefficients (u, v) with 0 < u + v <= 12, u, v < 12 are kept: 88 of them."""
MIN_SIMILARITY = 0.5
"""Cosine below which a neighbour is no candidate: 98% of transformed slices keep more than 0.6."""
STIFFNESS = 0.05
"""Ridge that keeps tangent moves small; a move of one unit is a shift of 0.08 half sides or a stretch of 10%."""
FAINT = 1e-3
"""Norm of the coefficients below which a picture is blank."""
BLOCK = 512
"""Query images worked on at a time."""


@lru_cache(maxsize=1)
def variants() -> NDArray[np.float32]:
    """(72, 2, 2) matrices to sample a query by: 8 orientations x turns of -7, 0, 7 deg x zooms 1, 1.11, 1.25."""
    matrices = []
    for mirror in (1.0, -1.0):
        for degrees in (0, 90, 180, 270):
            for turn in (-7.0, 0.0, 7.0):
                for scale in (1.0, 0.9, 0.8):
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
class SmallPictures:
    """(N, 32, 32) half-size pictures and (N, 2) foreground centres, as torch tensors."""

    pictures: torch.Tensor
    centres: torch.Tensor


def small_pictures(thumbs: Thumbs) -> SmallPictures:
    """Half-size pictures in 0..1, and where the middle of what stands out from the background lies."""
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
    return SmallPictures(pictures, torch.stack([x, y], 1))


def _coefficients(
    small: SmallPictures, matrix: NDArray[np.float32], shift: tuple[float, float] = (0.0, 0.0)
) -> torch.Tensor:
    """(N, 88) coefficients of the pictures sampled through `matrix`, `shift` from the centre."""
    import torch
    from torch.nn.functional import grid_sample

    points, projection = _projection()
    moved = points + np.array(shift, np.float32)
    places = torch.from_numpy(moved @ matrix.T) + small.centres[:, None, :]
    samples = grid_sample(small.pictures[:, None], places[:, None], padding_mode="border", align_corners=False)[:, 0, 0]
    return samples @ torch.from_numpy(projection)


def turned_vectors(small: SmallPictures, matrix: NDArray[np.float32]) -> torch.Tensor:
    """(N, 88) unit vectors of the pictures sampled through `matrix`; zero where a picture is blank."""
    import torch

    raw = _coefficients(small, matrix)
    norm = raw.norm(dim=1, keepdim=True)
    return torch.where(norm > FAINT, raw / norm.clamp_min(FAINT), torch.zeros(()))


def tangents(thumbs: Thumbs) -> torch.Tensor:
    """(N, 7, 88) float16 bases: the vector of each picture, and how it changes as the picture moves a little.

    The norm of a query's product with a basis is its cosine with the picture after the best small shift,
    stretch and shear (tangent distance; Simard et al. 1993).
    """
    import torch

    identity = np.eye(2, dtype=np.float32)
    ridge = 1e-6 * torch.eye(7) + STIFFNESS * torch.diag(torch.tensor([0.0] + [1.0] * 6))
    blocks = [torch.zeros(0, 7, _projection()[1].shape[1], dtype=torch.float16)]
    for start in range(0, len(thumbs), 4096):
        small = small_pictures(thumbs[start : start + 4096])
        upright = _coefficients(small, identity)
        rows = [upright]
        for step in ((0.06, 0.0), (0.0, 0.06)):
            back = (-step[0], -step[1])
            change = _coefficients(small, identity, step) - _coefficients(small, identity, back)
            rows.append(change * (0.08 / 0.12))
        for entry in range(4):
            step_matrix = np.zeros((2, 2), np.float32)
            step_matrix.flat[entry] = 0.03
            change = _coefficients(small, identity + step_matrix) - _coefficients(small, identity - step_matrix)
            rows.append(change * (0.1 / 0.06))
        scale = upright.norm(dim=1)[:, None, None].clamp_min(FAINT)
        raw = torch.stack(rows, 1) / scale
        factor = torch.linalg.cholesky(raw @ raw.transpose(1, 2) + ridge)
        basis = torch.linalg.solve_triangular(factor, raw, upper=False)
        blocks.append(torch.where(scale > FAINT, basis, torch.zeros(())).half())
    return torch.cat(blocks)


def vectors(thumbs: Thumbs) -> NDArray[np.float32]:
    """(N, 88) float32 search vectors of upright pictures, made in blocks; blank pictures have zeros."""
    identity = np.eye(2, dtype=np.float32)
    blocks = [
        turned_vectors(small_pictures(thumbs[i : i + 4096]), identity).numpy() for i in range(0, len(thumbs), 4096)
    ]
    return np.concatenate(blocks) if blocks else np.zeros((0, _projection()[1].shape[1]), np.float32)


@dataclass(frozen=True)
class Base:
    """What is known of all images: (N, 88) vectors and (N, 7, 88) tangent bases."""

    vectors: torch.Tensor
    tangents: torch.Tensor


def make_base(thumbs: Thumbs) -> Base:
    """Vectors and tangent bases of all images, 1.6 KB each."""
    import torch

    return Base(torch.from_numpy(vectors(thumbs)), tangents(thumbs))


@dataclass(frozen=True)
class Hits:
    """(M,) queries and answers, (M, 2) best similarity upright and mirrored, (M, 2) variants that gave it."""

    query: NDArray[np.int64]
    answer: NDArray[np.int64]
    similarity: NDArray[np.float32]
    variant: NDArray[np.int8]


def hits(first: int, queries: torch.Tensor, answers: torch.Tensor, base: Base, k: int) -> Hits:
    """The best `k` hits of every query of a block, among neighbours that are compared once more.

    Args:
        first: Position of the block's first image.
        queries: (72, R, 88) vectors of the block.
        answers: (R, K) int64 positions of neighbours; negative for none.
        base: What is known of all images.
        k: Hits to keep of each query.
    """
    import torch

    parts = []
    for start in range(0, len(answers), 128):
        known = answers[start : start + 128]
        block = queries[:, start : start + 128]
        at = known.clamp_min(0)
        by_variant = torch.einsum("vrd,rkd->rkv", block, base.vectors[at])
        half = by_variant.shape[2] // 2
        similarity, variant = by_variant.reshape(*known.shape, 2, half).max(3)
        variant = variant + torch.tensor([0, half])
        rows = torch.arange(len(known))[:, None]
        turned = block[variant, rows[:, :, None]]
        moved = torch.einsum("rkhd,rktd->rkht", turned, base.tangents[at].float()).norm(dim=3)
        possible = (similarity.amax(2) >= MIN_SIMILARITY) & (known >= 0) & (known != rows + first + start)
        order = torch.where(possible, moved.amax(2), -1.0).topk(min(k, known.shape[1]), dim=1).indices
        kept = possible.gather(1, order)
        parts.append(
            (
                (rows + first + start).expand_as(order)[kept],
                known.gather(1, order)[kept],
                similarity[rows, order][kept],
                variant[rows, order][kept].to(torch.int8),
            )
        )
    columns = [torch.cat(column).numpy() for column in zip(*parts, strict=True)]
    return Hits(columns[0], columns[1], columns[2], columns[3])
