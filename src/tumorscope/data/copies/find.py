"""All copies in a set of images: identical files, identical pixels, near copies, and patients likely the same.

In: thumbnails and, where known, hashes. Out: pairs. Images with the same content are one image from then on:
they are joined to the first of them, and only that one is searched. Near copies are one group as soon as a chain
of pairs joins them. So pairs are not listed in all combinations, but `group` joins every image to all its copies.
The result does not depend on the order of the images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.errors import DataError
from tumorscope.core.files import sha256_value
from tumorscope.data.copies.descriptors import SIDE, Progress, Thumbs
from tumorscope.data.copies.groups import CopyKind, Pair, group
from tumorscope.data.copies.pieces import Pieces
from tumorscope.data.copies.rounds import verify_in_rounds
from tumorscope.data.copies.search import CANDIDATES, Candidates, find_candidates, invert
from tumorscope.data.copies.verify import NEAR, alike

BLANK = 2.0
"""Deviation of a thumbnail, in gray levels, below which a picture is blank and no near copy of anything."""

_NEAR: tuple[CopyKind, ...] = ("near",)


@dataclass(frozen=True)
class CopyItems:
    """The images to search.

    Attributes:
        thumbs: (N, 64, 64) uint8 from `describe_many`; may be a memory-mapped array.
        sha256: Hash of every encoded file; empty if unknown.
        pixels_sha256: Hash of every decoded picture; empty if unknown.
    """

    thumbs: Thumbs
    sha256: Sequence[str] = ()
    pixels_sha256: Sequence[str] = ()

    def __post_init__(self) -> None:
        n = len(self.thumbs)
        if self.thumbs.dtype != np.uint8 or self.thumbs.shape != (n, SIDE, SIDE):
            raise DataError(
                f"thumbnails of {self.thumbs.dtype} with shape {self.thumbs.shape}",
                expected=f"uint8 with shape (N, {SIDE}, {SIDE})",
                fix="make them with describe_many",
            )
        for name, hashes in (("sha256", self.sha256), ("pixels_sha256", self.pixels_sha256)):
            if len(hashes) not in {0, n}:
                raise DataError(
                    f"{len(hashes)} {name} for {n} images",
                    expected="one hash per image, or none at all",
                    fix=f"pass {name} for every image",
                )

    def __len__(self) -> int:
        return len(self.thumbs)


def find_copies(
    items: CopyItems, *, threads: int = 1, progress: Progress | None = None, keep: Path | None = None
) -> list[Pair]:
    """Pairs of `items` that show the same picture or, likely, the same patient; sorted by position.

    Identical files give "exact", identical pixels in other files "pixels", pictures that agree in fine detail
    after registration "near", and pictures that agree in much of it "patient-likely". The first three lead
    from the first image of a set of equal ones to each of the others; "near" and "patient-likely" lead
    between first images. Blank pictures (deviation below 2 gray levels) are never near anything.

    The pairs span the groups and do not list every combination: images that near pairs join already are not
    compared again, and between two groups of near copies one or a few pairs stand for all.

    Args:
        items: Thumbnails and hashes.
        threads: Blocks worked on at a time, each on one core; the result is the same.
        progress: Called as `progress(stage, done, total)` with stages "search" and "verify". What it raises stops
            the work.
        keep: Folder for the finished pieces of the work, so that a stopped call is carried on by the next one with
            the same images. Pieces found by content, damaged and foreign ones are ignored. It is emptied of all
            pieces, and removed if nothing else is in it, when the work is done.
    """
    everyone = np.arange(len(items))
    pairs, distinct = _join_equal(items.sha256, everyone, "exact")
    more, distinct = _join_equal(items.pixels_sha256, distinct, "pixels")
    pairs += more
    digests = [hashlib.sha256(items.thumbs[i].tobytes()).hexdigest() for i in distinct]
    clear = _deviation(items.thumbs, distinct) >= BLANK
    distinct = distinct[clear]
    digests = [d for d, chosen in zip(digests, clear, strict=True) if chosen]
    by_thumb = dict(zip(distinct.tolist(), digests, strict=True))
    more, distinct = _join_equal(by_thumb, distinct, "near")
    pairs += more
    # the order of content, not of the images, decides what happens next
    distinct = distinct[np.argsort([by_thumb[i] for i in distinct.tolist()], kind="stable")]
    digests = [by_thumb[i] for i in distinct.tolist()]
    work = _Work(items.thumbs, threads, keep)
    found = work.compare(distinct, digests, progress)
    # the neighbours of an image with many copies are all copies: ask once more for one image of each large group
    rank = {i: row for row, i in enumerate(distinct.tolist())}
    groups = group(len(distinct), [replace(p, a=rank[p.a], b=rank[p.b]) for p in found], kinds=_NEAR)
    _, first, size = np.unique(groups, return_index=True, return_counts=True)
    large = np.sort(first[size > CANDIDATES // 2])
    known = {(p.a, p.b) for p in found}
    more = work.compare(distinct[large], [digests[i] for i in large.tolist()], None)
    found += [p for p in more if (p.a, p.b) not in known]
    if keep is not None:
        Pieces(keep).clear()
    return sorted(pairs + found)


@dataclass(frozen=True)
class _Work:
    """How images are compared."""

    thumbs: Thumbs
    threads: int
    keep: Path | None

    def compare(self, distinct: NDArray[np.int64], digests: list[str], progress: Progress | None) -> list[Pair]:
        """Near and patient-likely pairs among the images at `distinct`, whose content has these `digests`."""
        chosen = self.thumbs[distinct]
        pieces = Pieces(self.keep, sha256_value(digests)) if self.keep is not None else None
        candidates = find_candidates(chosen, threads=self.threads, pieces=pieces, progress=progress)
        candidates, verified = verify_in_rounds(
            chosen, candidates, threads=self.threads, pieces=pieces, progress=progress
        )
        return list(_as_pairs(distinct, candidates, alike(verified), verified.score, verified.maps))


def _deviation(thumbs: Thumbs, at: NDArray[np.int64]) -> NDArray[np.float64]:
    """Deviation of the gray levels of every thumbnail at `at`."""
    parts = [thumbs[at[i : i + 256]].std(axis=(1, 2)) for i in range(0, len(at), 256)]
    return np.concatenate([np.zeros(0), *parts])


def _join_equal(
    hashes: Sequence[str] | dict[int, str], among: NDArray[np.int64], kind: CopyKind
) -> tuple[list[Pair], NDArray[np.int64]]:
    """Pairs from the first image of every hash to the others, and the first images."""
    if not hashes:
        return [], among
    first: dict[str, int] = {}
    pairs = []
    for i in among.tolist():
        leader = first.setdefault(hashes[i], i)
        if leader != i:
            pairs.append(Pair(leader, i, kind, 1.0))
    return pairs, np.array(list(first.values()), dtype=np.int64)


def _as_pairs(
    distinct: NDArray[np.int64],
    candidates: Candidates,
    keep: NDArray[np.bool_],
    score: NDArray[np.float32],
    maps: NDArray[np.float32],
) -> Iterable[Pair]:
    first, second = distinct[candidates.a[keep]], distinct[candidates.b[keep]]
    swapped = first > second
    maps = np.where(swapped[:, None, None], invert(maps[keep]), maps[keep])
    mirrored, degrees = orientation(maps)
    low, high = np.minimum(first, second), np.maximum(first, second)
    for row, value in enumerate(score[keep].tolist()):
        kind: CopyKind = "near" if value >= NEAR else "patient-likely"
        turn = round(float(degrees[row]), 1)
        turn = 180.0 if turn <= -180.0 else turn + 0.0
        yield Pair(int(low[row]), int(high[row]), kind, round(value, 4), bool(mirrored[row]), turn)


def orientation(maps: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Whether the maps (P, 2, 3) from a to b mirror the picture, and by how many degrees they turn it.

    The turn is counter-clockwise as seen (the vertical axis of a picture points down), after the mirroring.
    """
    linear = maps[:, :, :2].astype(np.float64)
    mirrored = np.linalg.det(linear) < 0
    linear[mirrored, :, 0] *= -1
    turn = np.arctan2(linear[:, 1, 0] - linear[:, 0, 1], linear[:, 0, 0] + linear[:, 1, 1])
    return mirrored, -np.rad2deg(turn)
