"""Is a candidate pair one picture, or two that are alike? Registers the pictures and compares them point by point.

In: thumbnails and candidates. Out: for every candidate a score and the registered map. The score is the share of
the textured area where the local correlation of fine detail (after subtraction of a 5 x 5 mean) is at
least 0.8: neighbouring slices agree on the skull and on large structures, but not on fine detail everywhere;
copies do. Local correlation is blind to brightness, contrast and gamma.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tumorscope.data.copies.descriptors import Progress, Thumbs
from tumorscope.data.copies.pieces import Pieces
from tumorscope.data.copies.register import (
    box_mean,
    correlation,
    flatten_light,
    halve,
    refine,
    shift_by_correlation,
    warp,
)
from tumorscope.data.copies.search import Candidates
from tumorscope.data.copies.threads import in_order

if TYPE_CHECKING:
    import torch

AGREEMENT = 0.8
"""Local correlation from which a place agrees."""
DETAIL = 2.0
"""Deviation of fine detail, in gray levels of the thumbnail, from which a place counts fully as textured."""
MIN_TEXTURE = 0.05
"""Share of the picture that must be textured in both and overlap; below, there is nothing to compare."""
NEAR = 0.85
"""Score from which a pair is one picture. Among the 27,000 pairs that got a score in 7,020 brain slices, pairs
in the three tumour classes are neighbouring slices up to 0.81 (one pair, and its mirrored twin, up to 0.848) and
copies from 0.95, with nothing between. The no-tumour class holds sharpened and clipped copies at 0.75 to 0.95: of
90 looked at between 0.70 and 0.90 all were copies, so a little recall is given up here for precision."""
ALIKE = 0.75
"""Score from which pictures in any position are likely of one patient: 120 of 120 pairs looked at from 0.74 on
were neighbouring slices or copies; from 0.60 to 0.74 about 10 of 30 showed different people."""
ALIKE_IN_PLACE = 0.4
"""The same for pictures that registration left in place: slices of one volume share their frame, pictures of two
people do not. Nine in ten pairs with adjacent file numbers and scores of 0.3 to 0.7 moved by less than 0.013;
half of the pairs between classes moved by more than 0.04. Of 143 pairs looked at none clearly showed two people,
and of 3,978 pairs 5 join two classes, all of people filed under both. Slices that were moved into one common
frame, as in atlas-registered volumes, lose this evidence."""
IN_PLACE_SHIFT = 0.015
"""Shift, in half sides, up to which a picture is in place."""
IN_PLACE_STRETCH = 0.03
"""Largest entry by which the map may differ from a mirroring or quarter turn to be in place."""
EARLY_KEEP = 0.68
"""Correlation of quarter-size pictures after registration below which a guess is dropped: 99.5% of changed
copies reach 0.72, a third of all candidates do not reach 0.7."""
COARSE_KEEP = 0.78
"""The same for half-size pictures: 99% of changed copies reach 0.8, three in four candidates do not."""
_CHUNK = 512
_BATCH = 256
_FINE_BATCH = 64


@dataclass(frozen=True)
class Verified:
    """What the registration found.

    Attributes:
        score: (P,) float32, 0..1; 0 for candidates that were dropped early.
        maps: (P, 2, 3) float32 registered maps from a to b.
    """

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


def in_place(maps: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(P,) bool: the (P, 2, 3) maps are mirrorings and quarter turns about the middle, and hardly anything else."""
    linear = maps[:, :, :2]
    rounded = np.rint(linear)
    one_each = (np.abs(rounded).sum(1) == 1).all(1) & (np.abs(rounded).sum(2) == 1).all(1)
    stretch = np.abs(linear - rounded).max((1, 2), initial=0.0)
    shift = np.abs(maps[:, :, 2]).max(1, initial=0.0)
    still: NDArray[np.bool_] = one_each & (stretch <= IN_PLACE_STRETCH) & (shift <= IN_PLACE_SHIFT)
    return still


def alike(found: Verified) -> NDArray[np.bool_]:
    """(P,) bool: the pictures are one, or likely of one patient."""
    return (found.score >= ALIKE) | ((found.score >= ALIKE_IN_PLACE) & in_place(found.maps))


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


@dataclass(frozen=True)
class _Levels:
    """Pictures of one chunk in three sizes: gray levels, and freed of local light at a half and a quarter."""

    full: torch.Tensor
    half: torch.Tensor
    quarter: torch.Tensor


def _levels(thumbs: Thumbs) -> _Levels:
    import torch

    full = torch.from_numpy(thumbs)
    half = halve(full.float())
    return _Levels(full, flatten_light(half, 7), flatten_light(halve(half), 5))


def _coarse(levels: _Levels, a: torch.Tensor, b: torch.Tensor, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Maps registered at half size and the correlation reached there (0 for guesses dropped early)."""
    import torch

    found, reached = maps.clone(), torch.zeros(len(maps))
    for start in range(0, len(maps), _BATCH):
        part = torch.arange(start, min(start + _BATCH, len(maps)))
        fixed, moving = levels.half[a[part]], levels.half[b[part]]
        guess = shift_by_correlation(fixed, moving, maps[part])
        small_fixed, small_moving = levels.quarter[a[part]], levels.quarter[b[part]]
        guess = refine(small_fixed, small_moving, guess, steps=4)
        alive = correlation(small_fixed, *warp(small_moving, guess)) > EARLY_KEEP
        part, fixed, moving, guess = part[alive], fixed[alive], moving[alive], guess[alive]
        guess = refine(fixed, moving, guess, steps=4, every=2)
        reached[part] = torch.where(plausible(guess), correlation(fixed, *warp(moving, guess)), 0.0)
        found[part] = guess
    return found, reached


def _fine(levels: _Levels, a: torch.Tensor, b: torch.Tensor, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Maps registered at full size and the score there."""
    import torch

    found, score = maps.clone(), torch.zeros(len(maps))
    for start in range(0, len(maps), _FINE_BATCH):
        part = slice(start, start + _FINE_BATCH)
        fixed, moving = levels.full[a[part]].float(), levels.full[b[part]].float()
        final = refine(flatten_light(fixed, 9), flatten_light(moving, 9), maps[part], steps=3, every=2)
        score[part] = torch.where(plausible(final), agreement(fixed, moving, final), 0.0)
        found[part] = final
    return found, score


def _verify_chunk(thumbs: Thumbs, candidates: Candidates) -> Verified:
    """Scores and maps of one chunk: the better guess first; the other one where the first is alike, no copy."""
    import torch

    used, place = np.unique(np.stack([candidates.a, candidates.b]), return_inverse=True)
    levels = _levels(thumbs[used])
    a, b = torch.from_numpy(place.reshape(2, -1))
    guesses = torch.from_numpy(candidates.maps)
    score, maps = torch.zeros(len(a)), guesses[:, 0].clone()
    todo = torch.arange(len(a))
    for attempt in range(2):
        coarse, reached = _coarse(levels, a[todo], b[todo], guesses[todo, attempt])
        alive = (reached >= COARSE_KEEP).nonzero()[:, 0]
        rows = todo[alive]
        final, reached_score = _fine(levels, a[rows], b[rows], coarse[alive])
        better = reached_score > score[rows]
        score[rows[better]], maps[rows[better]] = reached_score[better], final[better]
        todo = todo[(reached >= COARSE_KEEP - 0.05) & (score[todo] < NEAR)]
    return Verified(score.numpy(), maps.numpy())


def verify(
    thumbs: Thumbs,
    candidates: Candidates,
    *,
    threads: int = 1,
    pieces: Pieces | None = None,
    progress: Progress | None = None,
) -> Verified:
    """Register every candidate pair and score it.

    Args:
        thumbs: (N, 64, 64) uint8.
        candidates: Pairs with first guesses.
        threads: Chunks of pairs worked on at a time; the result is the same.
        pieces: Where finished chunks are kept; the pieces must have been made for these `thumbs`.
        progress: Called with ("verify", pairs done, P).
    """
    total = len(candidates)
    pieces = pieces or Pieces()
    score, maps = np.zeros(total, np.float32), candidates.maps[:, 0].copy()

    def chunk(part: slice) -> Verified:
        chosen = candidates.take(part)
        key = pieces.key("verify", chosen.a, chosen.b, chosen.maps)
        kept = pieces.load(key)
        if kept is not None:
            return Verified(kept["score"], kept["maps"])
        found = _verify_chunk(thumbs, chosen)
        pieces.save(key, {"score": found.score, "maps": found.maps})
        return found

    parts = [slice(i, min(i + _CHUNK, total)) for i in range(0, total, _CHUNK)]
    with closing(in_order(chunk, parts, threads=threads)) as chunks:
        for part, found in zip(parts, chunks, strict=True):
            score[part], maps[part] = found.score, found.maps
            if progress is not None:
                progress("verify", part.stop, total)
    return Verified(score, maps)
