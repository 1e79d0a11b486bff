"""Search vectors: 88 low-frequency numbers that say what a picture shows, and what a turned query would find.

In: (N, 64, 64) thumbnails. Out: (N, 88) unit vectors, upright or turned by one of 72 variants, and hits between
them. A picture is centred on its foreground, seen through a round window, and described by low-frequency cosine
coefficients (as in perceptual hashing; Zauner 2010). Mirroring and quarter turns only change the signs of
coefficients and swap them, so a picture is sampled 9 times for its 72 variants.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tumorscope.data.copies.descriptors import Thumbs
from tumorscope.data.copies.register import halve
from tumorscope.data.copies.threads import in_order

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
BLOCK = 256
"""Query images worked on at a time."""


@lru_cache(maxsize=1)
def orientations() -> NDArray[np.float32]:
    """(8, 2, 2) quarter turns, then mirrored ones."""
    matrices = []
    for mirror in (1.0, -1.0):
        for degrees in (0, 90, 180, 270):
            c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
            matrices.append(np.rint([[c, -s], [s, c]]) @ np.diag([mirror, 1.0]))
    return np.array(matrices, np.float32)


@lru_cache(maxsize=1)
def moves() -> NDArray[np.float32]:
    """(9, 2, 2) turns of -7, 0, 7 degrees x zooms 1, 1.11, 1.25; the plain one is the fourth."""
    matrices = []
    for turn in (-7.0, 0.0, 7.0):
        for scale in (1.0, 0.9, 0.8):
            c, s = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
            matrices.append(scale * np.array([[c, -s], [s, c]]))
    return np.array(matrices, np.float32)


@lru_cache(maxsize=1)
def variants() -> NDArray[np.float32]:
    """(72, 2, 2) matrices to sample a query by: every orientation with every move."""
    every: NDArray[np.float32] = np.einsum("mij,ojk->omik", moves(), orientations()).reshape(-1, 2, 2)
    return every


@lru_cache(maxsize=1)
def frequencies() -> NDArray[np.int64]:
    """(88, 2) numbers (u, v) of the coefficients along x and y: both even, u odd, v odd, both odd."""
    v, u = np.divmod(np.arange(FREQUENCIES**2), FREQUENCIES)
    keep = (u + v > 0) & (u + v <= FREQUENCIES)
    pairs = np.stack([u, v], 1)[keep]
    return pairs[np.argsort(pairs[:, 1] % 2 * 2 + pairs[:, 0] % 2, kind="stable")]


@lru_cache(maxsize=1)
def parities() -> tuple[slice, slice, slice, slice]:
    """Where the coefficients lie: both even, u odd, v odd, both odd."""
    parity = frequencies()[:, 1] % 2 * 2 + frequencies()[:, 0] % 2
    ends = np.searchsorted(parity, [0, 1, 2, 3, 4]).tolist()
    return slice(*ends[0:2]), slice(*ends[1:3]), slice(*ends[2:4]), slice(*ends[3:5])


@lru_cache(maxsize=1)
def _turned_coefficients() -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(8, 88) which coefficients take the place of each in every orientation, and (8, 88) their signs."""
    pairs = frequencies().tolist()
    place = {tuple(pair): i for i, pair in enumerate(pairs)}
    taken, signs = [], []
    for (xx, xy), (yx, yy) in orientations().tolist():
        # x = xx x' + yx y' and y = xy x' + yy y' (the inverse is the transpose); cos(u x) has the sign of x to the u
        if xx:
            taken.append(list(range(len(pairs))))
            signs.append([xx**u * yy**v for u, v in pairs])
        else:
            taken.append([place[v, u] for u, v in pairs])
            signs.append([yx**u * xy**v for u, v in pairs])
    return np.array(taken), np.array(signs, np.float32)


@lru_cache(maxsize=1)
def _projection() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(256, 2) sampling points and the (256, 88) matrix from samples to coefficients."""
    line = ((np.arange(GRID) + 0.5) / GRID * 2 - 1) * EXTENT
    x, y = (v.ravel() for v in np.meshgrid(line, line))
    window = np.clip((1.15 - np.hypot(x, y) / EXTENT) / 0.5, 0, 1)
    k = np.arange(FREQUENCIES)
    cosines = np.cos(np.pi * k[:, None] * (np.arange(GRID) + 0.5) / GRID)
    cosines *= np.sqrt(np.where(k == 0, 1, 2) / GRID)[:, None]
    u, v = frequencies().T
    basis = np.einsum("ky,kx->kyx", cosines[v], cosines[u]).reshape(-1, GRID * GRID)
    basis *= np.sqrt(np.hypot(u, v))[:, None]
    basis = basis * window
    centre = np.eye(GRID * GRID) - window[:, None] / window.sum()
    return np.stack([x, y], 1).astype(np.float32), (centre @ basis.T).astype(np.float32)


@dataclass(frozen=True)
class SmallPictures:
    """(N, 32, 32) half-size pictures in 0..1 and (N, 2) foreground centres, as torch tensors."""

    pictures: torch.Tensor
    centres: torch.Tensor


def small_pictures(thumbs: Thumbs, centres: torch.Tensor | None = None) -> SmallPictures:
    """Half-size pictures, and where the middle of what stands out from the background lies (found if not given)."""
    import torch

    pictures = halve(torch.from_numpy(np.ascontiguousarray(thumbs)).float()) / 255
    return SmallPictures(pictures, _centres(pictures) if centres is None else centres)


def _centres(pictures: torch.Tensor) -> torch.Tensor:
    import torch

    flat = pictures.flatten(1)
    low, high = (flat.kthvalue(int(q * (flat.shape[1] - 1)) + 1).values[:, None, None] for q in (0.05, 0.95))
    mask = ((pictures - low) / (0.6 * (high - low).clamp_min(1e-3)) - 0.1).clamp(0, 1)
    n = pictures.shape[-1]
    line = (torch.arange(n) + 0.5) / n * 2 - 1
    weight = mask.sum((1, 2)).clamp_min(1e-6)
    x = (mask.sum(1) * line).sum(1) / weight
    y = (mask.sum(2) * line).sum(1) / weight
    return torch.stack([x, y], 1)


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
    return _unit(_coefficients(small, matrix))


def _unit(raw: torch.Tensor) -> torch.Tensor:
    import torch

    norm = raw.norm(dim=1, keepdim=True)
    return torch.where(norm > FAINT, raw / norm.clamp_min(FAINT), torch.zeros(()))


def moved_vectors(small: SmallPictures) -> torch.Tensor:
    """(9, N, 88) unit vectors of the pictures in every move, upright."""
    import torch

    return torch.stack([turned_vectors(small, matrix) for matrix in moves()])


def oriented(vectors: torch.Tensor, orientation: int) -> torch.Tensor:
    """(..., 88) `vectors` as they would be of pictures in one of the 8 orientations, without sampling again."""
    import torch

    taken, signs = _turned_coefficients()
    return vectors[..., torch.from_numpy(taken[orientation])] * torch.from_numpy(signs[orientation])


def all_variants(moved: torch.Tensor) -> torch.Tensor:
    """(72, N, 88) unit vectors of all variants, for the (9, N, 88) ones of the moves."""
    import torch

    return torch.cat([oriented(moved, i) for i in range(len(orientations()))])


def _tangents(small: SmallPictures, upright: torch.Tensor) -> torch.Tensor:
    """(N, 7, 88) float16 bases: the coefficients of each picture, and how they change as it moves a little.

    The norm of a query's product with a basis is its cosine with the picture after the best small shift,
    stretch and shear (tangent distance; Simard et al. 1993).
    """
    import torch

    identity = np.eye(2, dtype=np.float32)
    ridge = 1e-6 * torch.eye(7) + STIFFNESS * torch.diag(torch.tensor([0.0] + [1.0] * 6))
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
    return torch.where(scale > FAINT, basis, torch.zeros(())).half()


@dataclass(frozen=True)
class Base:
    """What is known of all images: (N, 88) upright vectors, (N, 7, 88) tangent bases, (N, 2) foreground centres."""

    vectors: torch.Tensor
    tangents: torch.Tensor
    centres: torch.Tensor

    def __len__(self) -> int:
        return len(self.vectors)


def make_base(thumbs: Thumbs, *, threads: int = 1) -> Base:
    """What the search needs of all images, 1.6 KB each; the vectors of blank pictures are zero."""
    import torch

    n, d = len(thumbs), len(frequencies())
    base = Base(torch.empty(n, d), torch.empty(n, 7, d, dtype=torch.float16), torch.empty(n, 2))

    def fill(start: int) -> None:
        rows = slice(start, start + BLOCK)
        small = small_pictures(thumbs[rows])
        upright = _coefficients(small, np.eye(2, dtype=np.float32))
        base.vectors[rows], base.centres[rows] = _unit(upright), small.centres
        base.tangents[rows] = _tangents(small, upright)

    for _ in in_order(fill, range(0, n, BLOCK), threads=threads):
        pass
    return base
