"""A split as a value with a hash, kept in a JSON file, and what crosses it.

In: an assignment of images to train, val, test or nothing. `splitting` makes splits; this file keeps and checks them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.errors import IntegrityError, UsageError
from tumorscope.core.files import read_json, sha256_value, write_json
from tumorscope.core.types import SPLITS, SplitName
from tumorscope.data.manifest import Manifest

Groups: TypeAlias = NDArray[np.int64]
"""(N,) int64 group number of every image; images of one group belong together."""
FORMAT = 1


@dataclass(frozen=True)
class Split:
    """Which part each image belongs to.

    Attributes:
        assignment: Path to "train", "val" or "test"; images left out have no entry.
        policy: How the test part came about.
        seed: Root of every random choice.
        data_sha256: Hash of the manifest it was made for.
        note: What a reader must know, in one sentence.
        groups: Path to group id of the images, as used when splitting.
    """

    assignment: Mapping[str, SplitName]
    policy: str
    seed: int
    data_sha256: str
    note: str = ""
    groups: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def sha256(self) -> str:
        """Hash of the assignment alone: equal splits have equal hashes however they were made."""
        return sha256_value(dict(self.assignment))

    def rows(self, manifest: Manifest, part: SplitName) -> NDArray[np.int64]:
        """(n,) int64 positions in `manifest.records` of one part."""
        return np.array(
            [i for i, r in enumerate(manifest.records) if self.assignment.get(r.path) == part], dtype=np.int64
        )

    def counts(self, manifest: Manifest) -> dict[str, dict[str, int]]:
        """Images by part and class."""
        table: dict[str, dict[str, int]] = {part: dict.fromkeys(manifest.classes, 0) for part in SPLITS}
        for record in manifest.records:
            if part := self.assignment.get(record.path):
                table[part][record.label] += 1
        return table

    def save(self, path: Path) -> Path:
        """Write the split file (JSON with its own hash)."""
        return write_json(
            path,
            {
                "format": FORMAT,
                "policy": self.policy,
                "seed": self.seed,
                "data_sha256": self.data_sha256,
                "sha256": self.sha256,
                "note": self.note,
                "assignment": dict(sorted(self.assignment.items())),
                "groups": dict(sorted(self.groups.items())),
            },
        )


def load_split(path: Path, manifest: Manifest) -> Split:
    """Read a split file and check it against its own hash and the data.

    Raises:
        UsageError: If there is no such file.
        IntegrityError: If the file was changed by hand, or was made for other data.
    """
    if not path.is_file():
        raise UsageError(
            "the split file does not exist",
            where=path,
            fix="make one with `tumorscope split DATA --out FILE`",
        )
    try:
        raw: dict[str, Any] = read_json(path)
        split = Split(
            assignment=raw["assignment"],
            policy=raw["policy"],
            seed=int(raw["seed"]),
            data_sha256=raw["data_sha256"],
            note=raw.get("note", ""),
            groups=raw.get("groups", {}),
        )
        recorded = raw["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"not a split file: {error}", where=path, fix="make the split again") from error
    if split.sha256 != recorded or not set(split.assignment.values()) <= set(SPLITS):
        raise IntegrityError(
            "the assignment does not match its own hash",
            expected=f"sha256 {recorded[:12]}…, found {split.sha256[:12]}…",
            where=path,
            fix="make the split again; a split file is not edited by hand",
        )
    if split.data_sha256 != manifest.sha256:
        raise IntegrityError(
            "the split was made for other data",
            expected=f"data {split.data_sha256[:12]}…, found {manifest.sha256[:12]}…",
            where=path,
            fix="make the split again for this data",
        )
    return split


def merge_groups(n: int, keys: list[list[str | None]]) -> Groups:
    """Connected components of n items that share any non-None key; ids run from 0 in order of first item."""
    parent = list(range(n))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for column in keys:
        first: dict[str, int] = {}
        for i, key in enumerate(column):
            if key is None:
                continue
            a, b = root(first.setdefault(key, i)), root(i)
            parent[max(a, b)] = min(a, b)
    order: dict[int, int] = {}
    return np.array([order.setdefault(root(i), len(order)) for i in range(n)], dtype=np.int64)


def sharing(parts: Sequence[SplitName | None], groups: Groups) -> list[int]:
    """Positions of test images whose group has an image in train or val, in order.

    Args:
        parts: (N,) part of every image, None for those left out.
        groups: (N,) group numbers.
    """
    training = {group for group, part in zip(groups.tolist(), parts, strict=True) if part in ("train", "val")}
    return [
        i
        for i, (group, part) in enumerate(zip(groups.tolist(), parts, strict=True))
        if part == "test" and group in training
    ]


def crossing(manifest: Manifest, split: Split, groups: Groups) -> tuple[str, ...]:
    """Paths of test images that share a group with an image in train or val, in the manifest's order."""
    parts = [split.assignment.get(r.path) for r in manifest.records]
    return tuple(manifest.records[i].path for i in sharing(parts, groups))


def patient_groups(manifest: Manifest) -> Groups:
    """(N,) int64 groups of images of one patient; an image without a patient is a group of its own."""
    return merge_groups(len(manifest), [[r.patient for r in manifest.records]])


def exact_groups(manifest: Manifest) -> Groups:
    """(N,) int64 groups: images with equal files, equal pixels or the same patient share one."""
    return merge_groups(
        len(manifest),
        [
            [r.sha256 for r in manifest.records],
            [r.pixels_sha256 for r in manifest.records],
            [r.patient for r in manifest.records],
        ],
    )
