"""Parts that score a point: folds of training and validation images, drawn once for the whole sweep.

In: the split of the run that will follow, and groups of images that belong together. Out: pairs of training and
validation rows that no group crosses. The test part is left out before anything is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.errors import DataError
from tumorscope.core.files import sha256_value
from tumorscope.core.types import Targets
from tumorscope.data.copies.survey import Survey
from tumorscope.data.manifest import Manifest
from tumorscope.data.split import Groups, Split
from tumorscope.data.splitting import grouped_folds, groups_of

Rows = NDArray[np.int64]
SMALL = 5_000
"""Below so many images of training and validation, `folds = "auto"` cross-validates."""
FOLDS = 3


@dataclass(frozen=True)
class Folds:
    """Training and validation rows of each fold, positions in the manifest without its test part."""

    parts: tuple[tuple[Rows, Rows], ...]

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def sha256(self) -> str:
        """Hash of the assignment."""
        return sha256_value([[train.tolist(), val.tolist()] for train, val in self.parts])


def without_test(manifest: Manifest, split: Split) -> tuple[Manifest, Rows]:
    """The manifest of training and validation images alone, and their positions in the whole."""
    rows = np.sort(np.concatenate([split.rows(manifest, "train"), split.rows(manifest, "val")]))
    records = tuple(manifest.records[i] for i in rows.tolist())
    return replace(manifest, records=records, exclusions=(), inputs=len(records)), rows


def draw_folds(
    manifest: Manifest, split: Split, survey: Survey, *, folds: int | Literal["auto"], seed: int
) -> tuple[Manifest, Folds]:
    """The images that may be used, and how they are divided.

    Args:
        manifest: All of the data.
        split: Parts of the run that will follow; its test part is not used.
        survey: Copies among all images.
        folds: K; 1 takes the split's own training and validation parts; "auto" 3 where the set is small.
        seed: Root of the draw.

    Raises:
        DataError: If a class has fewer independent groups than folds.
    """
    usable, rows = without_test(manifest, split)
    if folds == "auto":
        folds = FOLDS if len(usable) < SMALL else 1
    if folds == 1:
        return usable, Folds(((split.rows(usable, "train"), split.rows(usable, "val")),))
    return usable, _grouped(usable, groups_of(manifest, survey)[rows], folds=folds, seed=seed)


def _grouped(manifest: Manifest, groups: Groups, *, folds: int, seed: int) -> Folds:
    targets: Targets = manifest.targets
    rng = np.random.default_rng([seed, 0x5F01])
    parts = tuple(grouped_folds(manifest, groups, folds=folds, rng=rng, option="--set sweep.folds="))
    for number, (train, val) in enumerate(parts, start=1):
        for part, at in (("training", train), ("validation", val)):
            missing = [c for t, c in enumerate(manifest.classes) if not np.any(targets[at] == t)]
            if missing:
                raise DataError(
                    f"the {part} part of fold {number} has no image of {missing}",
                    expected="every class on both sides of every fold",
                    where=manifest.root,
                    fix="fewer folds: --set sweep.folds=2, or 1",
                )
    return Folds(parts)
