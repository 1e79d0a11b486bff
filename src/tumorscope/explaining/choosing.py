"""Which images a score may use: none that training saw, and none that is a copy of another.

In: a run and its data, or other data. Out: positions to score on, to choose thresholds on, and to take a mean box of,
with the reasons for what is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorscope.data.copies.survey import Survey
from tumorscope.data.manifest import Manifest
from tumorscope.data.seen import copies_of_training, same_in_training
from tumorscope.data.split import load_split, sharing
from tumorscope.data.splitting import LIKELY_KINDS


@dataclass(frozen=True, slots=True)
class Chosen:
    """Images of a study.

    Attributes:
        rows: (n,) positions in the manifest that are scored.
        val: Positions that thresholds are chosen on, possibly none.
        train: Positions whose boxes make the mean box, possibly none.
        what: One sentence on which images and why.
        left_out: Number of images by reason.
    """

    rows: NDArray[np.int64]
    val: NDArray[np.int64]
    train: NDArray[np.int64]
    what: str
    left_out: dict[str, int]


COPIED = "have a copy in training or validation"
OTHER_IMAGES = 400
"""Most images of other data, drawn by the seed: intervals are then about five points wide, in minutes."""


def own_images(run: Path, manifest: Manifest, copies: Survey) -> Chosen:
    """The run's test images that share no picture with training or validation."""
    split = load_split(run / "split.json", manifest)
    test, val, train = (split.rows(manifest, part) for part in ("test", "val", "train"))
    parts = [split.assignment.get(r.path) for r in manifest.records]
    twins = np.isin(test, sharing(parts, copies.copies))
    likely = np.isin(test, sharing(parts, copies.groups(LIKELY_KINDS))) & ~twins
    what = "Test images of the run that have no copy in training or validation"
    if likely.any():
        what += f"; {int(likely.sum()):,} of them may be other slices of a patient there"
    return Chosen(test[~twins], val, train, what + ".", {COPIED: int(twins.sum())})


def other_images(
    run: Path, manifest: Manifest, copies: Survey, *, seed: int, trained_on: Manifest | None = None
) -> Chosen:
    """One image of each group of copies, without files and pictures of the run's training data; at most 400.

    Near copies of training images are left out for certain only where the data that the run was `trained_on` is given.
    """
    what = "Other data: one image of each group of copies"
    if trained_on is None:
        groups = copies.groups(LIKELY_KINDS)
        of_training = np.isin(groups, groups[same_in_training(run, manifest)])
        what += ". Near copies of training images are found only by way of an image that both hold to the byte or pixel"
        reason = "same file or pixels in the run's training, or a copy or likely patient of one"
    else:
        of_training = copies_of_training(run, manifest, trained_on, kinds=LIKELY_KINDS)
        what += ", without copies and likely patients of the run's training images"
        reason = "copies or likely patients of the run's training images"
    first = np.zeros(len(manifest), dtype=bool)
    first[np.unique(copies.copies, return_index=True)[1]] = True
    free = np.flatnonzero(first & ~of_training)
    chosen = np.sort(np.random.default_rng(seed).permutation(free)[:OTHER_IMAGES])
    empty = np.zeros(0, dtype=np.int64)
    left = {
        reason: int(of_training.sum()),
        "copies of another image": int((~first & ~of_training).sum()),
        f"not among the {OTHER_IMAGES} drawn": len(free) - len(chosen),
    }
    return Chosen(chosen, empty, empty, what + ".", left)
