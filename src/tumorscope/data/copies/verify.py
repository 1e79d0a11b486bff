"""Is a candidate pair one picture, or two that are alike? Registers the pictures and compares them point by point.

In: thumbnails and candidates. Out: for every candidate a score and the registered map. The score is the share of
the textured area where the local correlation of fine detail (after subtraction of a 5 x 5 mean) is at
least 0.8: neighbouring slices agree on the skull and on large structures, but not on fine detail everywhere;
copies do. Local correlation is blind to brightness, contrast and gamma.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tumorscope.data.copies.descriptors import Progress, Thumbs
from tumorscope.data.copies.register import (
    box_mean,
    correlation,
    flatten_light,
    refine,
    shift_by_correlation,
    warp,
)
from tumorscope.data.copies.search import Candidates

if TYPE_CHECKING:
    import torch

AGREEMENT = 0.8
"""Local correlation from which a place agrees."""
DETAIL = 2.0
"""Deviation of fine detail, in gray levels of the thumbnail, from which a place counts fully as textured."""
MIN_TEXTURE = 0.05
"""Share of the picture that must be textured in both and overlap; below, there is nothing to compare."""
COARSE_KEEP = 0.45
"""Correlation of the half-size pictures after registration below which a candidate is dropped."""
_BATCH = 256


@dataclass(frozen=True)
class Verified:
    """What the registration found for the candidates at `rows`; the others were dropped early.

    Attributes:
        rows: (V,) int64 positions in the candidates.
        score: (V,) float32, 0..1.
        maps: (V, 2, 3) float32 registered maps from a to b.
    """

    rows: NDArray[np.int64]
    score: NDArray[np.float32]
    maps: NDArray[np.float32]


def plausible(maps: torch.Tensor) -> torch.Tensor:
    """(B,) bool: the map stretches no direction beyond 0.65..1.55, and no direction 1.4 times another."""
    linear = maps[:, :, :2]
    half_square = (linear * linear).sum((1, 2)) / 2
    area = (linear[:, 0, 0] * linear[:, 1, 1] - linear[:, 0, 1] * linear[:, 1, 0]).abs()
    spread = (half_square * half_square - area * area).clamp_min(0).sqrt()
    high = (half_square + spread).sqrt()
    low = area / high.clamp_min(1e-6)
    return (low > 0.65) & (high < 1.55) & (high < 1.4 * low)


def agreement(fixed: torch.Tensor, moving: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """(B,) share of the textured area where fine detail of (B, 64, 64) pictures (0..255) agrees under `maps`.

    Windows of 7 x 7 pixels, every second pixel; a window's weight grows with the weaker picture's detail
    up to `DETAIL`. Zero where less than `MIN_TEXTURE` of the picture can be compared.
    """
    import torch
    from torch.nn.functional import pad

    seen, inside = warp(moving, maps, mode="bicubic")
    n = fixed.shape[-1]
    inside = (box_mean(inside, 5) > 0.999) * pad(torch.ones(n - 4, n - 4), (2, 2, 2, 2))
    a, b = fixed - box_mean(fixed, 5), seen - box_mean(seen, 5)
    cover = box_mean(inside, 7, 2)
    share = cover.clamp_min(1e-3)
    aa, bb, ab = (box_mean(inside * x, 7, 2) / share for x in (a * a, b * b, a * b))
    local = ab / (aa * bb).clamp_min(1e-9).sqrt()
    detail = torch.minimum(aa, bb).sqrt()
    usable = (cover > 0.5) & (detail > 0.3 * DETAIL)
    weight = torch.where(usable, (detail / DETAIL).clamp(max=1) ** 2 * cover, torch.zeros(()))
    total = weight.sum((1, 2))
    score = ((local >= AGREEMENT) * weight).sum((1, 2)) / total.clamp_min(1e-6)
    return torch.where(usable.float().mean((1, 2)) >= MIN_TEXTURE, score, torch.zeros(()))


def _coarse(fixed: torch.Tensor, moving: torch.Tensor, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Registered maps of the half-size pictures and the correlation reached; hopeless pairs stop half-way."""
    import torch
    from torch.nn.functional import avg_pool2d

    a = flatten_light(avg_pool2d(fixed[:, None], 2)[:, 0], 7)
    b = flatten_light(avg_pool2d(moving[:, None], 2)[:, 0], 7)
    maps = refine(a, b, shift_by_correlation(a, b, maps), steps=3)
    reached = correlation(a, *warp(b, maps))
    alive = (reached > COARSE_KEEP - 0.15).nonzero()[:, 0]
    maps[alive] = refine(a[alive], b[alive], maps[alive], steps=5)
    reached[alive] = correlation(a[alive], *warp(b[alive], maps[alive]))
    return maps, torch.where(plausible(maps), reached, torch.zeros(()))


def verify(thumbs: Thumbs, candidates: Candidates, *, progress: Progress | None = None) -> Verified:
    """Register every candidate pair and score it.

    Args:
        thumbs: (N, 64, 64) uint8.
        candidates: Pairs with first guesses.
        progress: Called with ("verify", pairs done, P).
    """
    import torch

    total = len(candidates.a)
    rows, scores, maps = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)], [np.zeros((0, 2, 3), np.float32)]
    with torch.inference_mode():
        for start in range(0, total, _BATCH):
            part = slice(start, start + _BATCH)
            fixed = torch.from_numpy(thumbs[candidates.a[part]]).float()
            moving = torch.from_numpy(thumbs[candidates.b[part]]).float()
            guess, reached = _coarse(fixed, moving, torch.from_numpy(candidates.maps[part]))
            alive = (reached > COARSE_KEEP).nonzero()[:, 0]
            if len(alive):
                fixed, moving = fixed[alive], moving[alive]
                final = refine(flatten_light(fixed, 9), flatten_light(moving, 9), guess[alive], steps=3, every=2)
                score = torch.where(plausible(final), agreement(fixed, moving, final), torch.zeros(()))
                rows.append(alive.numpy() + start)
                scores.append(score.numpy())
                maps.append(final.numpy())
            if progress is not None:
                progress("verify", min(start + _BATCH, total), total)
    return Verified(np.concatenate(rows), np.concatenate(scores), np.concatenate(maps))
