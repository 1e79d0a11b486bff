"""Splits as a value with a hash, kept in a JSON file; copies and patients never cross a split that is made here.

In: a Manifest and a seed. Out: a `Split` that assigns each image to train, val, test or nothing. Official test
folders are kept as they are, and what crosses them is named; what is made here (validation, and test where there is
none) is stratified by class and respects groups: images with equal bytes, equal pixels or the same patient stay
together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.errors import DataError, IntegrityError, UsageError
from tumorscope.core.files import read_json, sha256_value, write_json
from tumorscope.core.types import SPLITS, SplitName
from tumorscope.data.manifest import Manifest

Policy = Literal["official", "grouped"]
Groups = NDArray[np.int64]
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


def exact_groups(manifest: Manifest) -> Groups:
    """(N,) int64 group ids: images with equal files, equal pixels or the same patient share one."""
    return merge_groups(
        len(manifest),
        [
            [r.sha256 for r in manifest.records],
            [r.pixels_sha256 for r in manifest.records],
            [r.patient for r in manifest.records],
        ],
    )


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


def crossing_copies(manifest: Manifest, split: Split) -> tuple[str, ...]:
    """Test images whose file or pixels also stand in train or val, sorted by path."""
    training = [r for r in manifest.records if split.assignment.get(r.path) in ("train", "val")]
    files = {r.sha256 for r in training}
    pixels = {r.pixels_sha256 for r in training}
    return tuple(
        r.path
        for r in manifest.records
        if split.assignment.get(r.path) == "test" and (r.sha256 in files or r.pixels_sha256 in pixels)
    )


def crossing_patients(manifest: Manifest, split: Split) -> tuple[str, ...]:
    """Test images of a patient who also stands in train or val, sorted by path; possible with official parts only."""
    parts = split.assignment
    seen = {r.patient for r in manifest.records if r.patient and parts.get(r.path) in ("train", "val")}
    return tuple(r.path for r in manifest.records if parts.get(r.path) == "test" and r.patient in seen)


def _take(
    candidates: NDArray[np.int64],
    targets: NDArray[np.int64],
    groups: Groups,
    fraction: float,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Whole groups out of `candidates`, about `fraction` of every class."""
    classes, counts = np.unique(targets[candidates], return_counts=True)
    wanted = dict(zip(classes.tolist(), np.maximum(1, np.round(counts * fraction)).astype(int).tolist(), strict=True))
    have = dict.fromkeys(wanted, 0)
    members: dict[int, list[int]] = {}
    for i in candidates.tolist():
        members.setdefault(int(groups[i]), []).append(i)
    taken: list[int] = []
    for group in rng.permutation(np.array(sorted(members), dtype=np.int64)).tolist():
        labels, sizes = np.unique(targets[members[group]], return_counts=True)
        # a group is taken if each of its classes still has room for all of it
        if all(have[c] + s <= wanted[c] for c, s in zip(labels.tolist(), sizes.tolist(), strict=True)):
            taken += members[group]
            for c, s in zip(labels.tolist(), sizes.tolist(), strict=True):
                have[c] += s
    # where every group of a class is larger than its share, the smallest one is taken rather than none
    for c in [c for c, n in have.items() if n == 0]:
        fitting = [
            g for g, rows in members.items() if any(targets[i] == c for i in rows) and not set(rows) & set(taken)
        ]
        if len(fitting) > 1:
            taken += members[min(fitting, key=lambda g: (len(members[g]), g))]
    return np.array(sorted(set(taken)), dtype=np.int64)


def make_split(
    manifest: Manifest,
    *,
    seed: int,
    policy: Policy = "official",
    val_fraction: float = 0.15,
    test_fraction: float = 0.2,
    groups: Groups | None = None,
) -> Split:
    """Split the data.

    Args:
        manifest: The data.
        seed: Root of every random choice.
        policy: "official" keeps the data's own test part (and validation part, if it has one); "grouped" ignores
            official parts and makes all three.
        val_fraction: Share of the non-test images that becomes validation where none is given.
        test_fraction: Share that becomes test where none is given.
        groups: (N,) ids that must not cross; exact copies and patients by default.

    Raises:
        DataError: If a class would have no image in a part.
    """
    groups = exact_groups(manifest) if groups is None else groups
    rng = np.random.default_rng([seed, 0x5917])
    targets = manifest.targets
    official = policy == "official" and manifest.has_official_split
    parts: list[SplitName | None] = [r.split if official else None for r in manifest.records]
    notes = []
    if not official:
        test = _take(np.arange(len(manifest)), targets, groups, test_fraction, rng)
        for i in range(len(manifest)):
            parts[i] = "train"
        for i in test.tolist():
            parts[i] = "test"
        notes.append(f"test made here: {len(test)} images, stratified, copies and patients kept together")
    if "val" not in parts:
        pool = np.array([i for i, p in enumerate(parts) if p == "train"], dtype=np.int64)
        val = _take(pool, targets, groups, val_fraction, rng)
        for i in val.tolist():
            parts[i] = "val"
        notes.append(f"validation made here out of training: {len(val)} images, stratified by group")
    return _finish(manifest, parts, policy=policy if official else "grouped", seed=seed, notes=notes, groups=groups)


def make_folds(
    manifest: Manifest,
    *,
    folds: int,
    seed: int,
    val_fraction: float = 0.15,
    groups: Groups | None = None,
) -> tuple[Split, ...]:
    """Grouped, stratified K-fold: each image is in test once; validation comes out of the rest.

    Raises:
        UsageError: If `folds` is below 2.
        DataError: If a class has fewer groups than folds.
    """
    if folds < 2:
        raise UsageError(f"{folds} folds", expected="2 or more", where="--folds", fix="give --folds 5")
    from sklearn.model_selection import StratifiedGroupKFold

    groups = exact_groups(manifest) if groups is None else groups
    targets = manifest.targets
    for target, label in enumerate(manifest.classes):
        available = len(np.unique(groups[targets == target]))
        if available < folds:
            raise DataError(
                f"class {label!r} has {available} independent groups",
                expected=f"at least {folds}, one a fold",
                where=manifest.root,
                fix=f"use --folds {max(2, available)} or less",
            )
    rng = np.random.default_rng([seed, 0xF01D])
    shuffled = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=int(rng.integers(2**31)))
    splits = []
    for fold, (rest, test) in enumerate(shuffled.split(targets, targets, groups)):
        parts: list[SplitName | None] = ["train"] * len(manifest)
        for i in test.tolist():
            parts[i] = "test"
        for i in _take(rest, targets, groups, val_fraction, rng).tolist():
            parts[i] = "val"
        notes = [f"fold {fold + 1} of {folds}, stratified, copies and patients kept together"]
        splits.append(_finish(manifest, parts, policy="grouped", seed=seed, notes=notes, groups=groups))
    return tuple(splits)


def _finish(
    manifest: Manifest,
    parts: list[SplitName | None],
    *,
    policy: str,
    seed: int,
    notes: list[str],
    groups: Groups,
) -> Split:
    split = Split(
        assignment={r.path: p for r, p in zip(manifest.records, parts, strict=True) if p is not None},
        policy=policy,
        seed=seed,
        data_sha256=manifest.sha256,
        note="; ".join(notes),
        groups={r.path: int(g) for r, g in zip(manifest.records, groups, strict=True)},
    )
    for part, counts in split.counts(manifest).items():
        empty = [label for label, n in counts.items() if n == 0]
        if empty and (part != "test" or len(empty) == len(counts)):
            raise DataError(
                f"the {part} part has no image of {empty}",
                expected="every class in train and val, and a test part that is not empty",
                where=manifest.root,
                fix="add images of that class, or change val_fraction or test_fraction in the recipe",
            )
    return split
