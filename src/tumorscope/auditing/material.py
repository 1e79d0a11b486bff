"""What every check looks at: the manifest, the parts, the thumbnails and the copies, each computed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.types import SplitName, Targets
from tumorscope.data.copies.descriptors import Thumbs
from tumorscope.data.copies.survey import Survey
from tumorscope.data.manifest import Manifest
from tumorscope.data.split import merge_groups

BLOCK = 1024
"""Thumbnails worked on at a time."""


@dataclass(frozen=True)
class Material:
    """The data under audit.

    Attributes:
        manifest: The data.
        survey: Its copies, and a thumbnail of every image.
        parts: Path to part: the data's own parts, or those of a split file; empty where there are none.
        seed: Root of every random choice a check makes.
    """

    manifest: Manifest
    survey: Survey = field(repr=False)
    parts: Mapping[str, SplitName] = field(default_factory=dict, repr=False)
    seed: int = 0

    def __len__(self) -> int:
        return len(self.manifest)

    @property
    def targets(self) -> Targets:
        """(N,) int64 class positions."""
        return self.manifest.targets

    @property
    def thumbs(self) -> Thumbs:
        """(N, 64, 64) uint8 gray thumbnails."""
        return self.survey.thumbs

    @cached_property
    def levels(self) -> NDArray[np.float64]:
        """(N, 2) mean and deviation of each thumbnail's gray levels; made block by block, for memory."""
        found = np.empty((len(self), 2))
        for start in range(0, len(self), BLOCK):
            flat = self.thumbs[start : start + BLOCK].reshape(-1, self.thumbs[0].size)
            found[start : start + BLOCK] = np.stack([flat.mean(axis=1), flat.std(axis=1)], axis=1)
        return found

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """(N,) paths of the records."""
        return tuple(r.path for r in self.manifest.records)

    @cached_property
    def part_names(self) -> tuple[SplitName | None, ...]:
        """(N,) part of every record, None for those left out."""
        return tuple(self.parts.get(path) for path in self.paths)

    @cached_property
    def independent(self) -> NDArray[np.int64]:
        """(N,) int64 groups for cross-validation: copies, patients, and images likely of one patient together."""
        likely = self.survey.groups(("exact", "pixels", "near", "patient-likely"))
        return merge_groups(
            len(self),
            [[str(g) for g in likely.tolist()], [r.patient for r in self.manifest.records]],
        )
