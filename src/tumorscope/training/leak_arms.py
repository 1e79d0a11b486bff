"""The splits a leak price compares: all with the official test part, none with other validation images.

In: a Manifest with an official test part, its copies, a seed. Out: arms. Each takes the official split and leaves
training images out; a control leaves out as many of the images that have no twin in test, class by class, so that
less data is not taken for less leak. The `grouped` arm ignores the official test part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.errors import DataError
from tumorscope.core.types import SplitName
from tumorscope.data.copies.survey import Survey
from tumorscope.data.manifest import Manifest
from tumorscope.data.split import Groups, Split, sharing
from tumorscope.data.splitting import Rules, groups_of, make_split

LEFT_IN = 0.2
"""Share of a class's images without a twin that a control always keeps: a control without any would be no control."""


@dataclass(frozen=True)
class Arm:
    """One way to split.

    Attributes:
        name: "official", "deduplicated", "patient-likely", each of the latter two with "-control", and "grouped".
        split: The parts.
        removed: Training and validation images left out, by class.
        short: Images a control should have left out beyond those it could, by class.
    """

    name: str
    split: Split
    removed: Mapping[str, int] = field(default_factory=dict)
    short: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Twins:
    """Which test images have a twin in training under the official split.

    Attributes:
        copy: (n,) bool, over the test images in the manifest's order: a copy.
        likely: (n,) bool: a copy, the patient, or likely another slice of the patient.
    """

    copy: NDArray[np.bool_]
    likely: NDArray[np.bool_]


def make_arms(manifest: Manifest, survey: Survey, *, seed: int, rules: Rules) -> tuple[tuple[Arm, ...], Twins]:
    """All arms, and which official test images have twins.

    Raises:
        DataError: If the data has no official test part, or no test image has a twin in training.
    """
    if not manifest.has_official_split:
        raise DataError(
            "the data has no test part of its own",
            expected="train and test parts, whose leak can be priced",
            where=manifest.root,
            fix="use data with official parts; a split made by tumorscope never cuts copies",
        )
    copies, likely = groups_of(manifest, survey, likely=False), groups_of(manifest, survey)
    official = make_split(manifest, survey, seed=seed, rules=replace(rules, policy="official"))
    parts = [official.assignment.get(r.path) for r in manifest.records]
    test = np.array([i for i, part in enumerate(parts) if part == "test"], dtype=np.int64)
    twins = Twins(np.isin(test, sharing(parts, survey.copies)), np.isin(test, sharing(parts, likely)))
    if not twins.likely.any():
        raise DataError(
            "no test image has a copy or a likely patient in training",
            expected="a leak to be priced",
            where=manifest.root,
            fix="nothing to do: the official split is clean",
        )
    arms = [Arm("official", official)]
    for name, groups in (("deduplicated", copies), ("patient-likely", likely)):
        arms += _without(manifest, official, groups, name=name, seed=seed)
    share = len(test) / len(manifest)
    grouped = make_split(manifest, survey, seed=seed, rules=replace(rules, policy="grouped", test_fraction=share))
    return (*arms, Arm("grouped", grouped)), twins


def _without(manifest: Manifest, official: Split, groups: Groups, *, name: str, seed: int) -> list[Arm]:
    """The official split without the twins of test, and its size-matched control."""
    parts = [official.assignment.get(r.path) for r in manifest.records]
    tested = {int(g) for g, part in zip(groups, parts, strict=True) if part == "test"}
    twin = np.array([int(g) in tested and part in ("train", "val") for g, part in zip(groups, parts, strict=True)])
    rng = np.random.default_rng([seed, 0x1EA7])
    chosen: list[int] = []
    short: Counter[str] = Counter()
    for part in ("train", "val"):
        inside = np.array([p == part for p in parts])
        for target, label in enumerate(manifest.classes):
            here = inside & (manifest.targets == target)
            wanted, free = int((here & twin).sum()), np.flatnonzero(here & ~twin)
            most = len(free) - int(np.ceil(LEFT_IN * len(free)))
            chosen += rng.permutation(free)[: min(wanted, most)].tolist()
            short[label] += max(0, wanted - most)
    removed = np.flatnonzero(twin).tolist()
    return [
        Arm(name, _left_out(manifest, official, removed, name), _by_class(manifest, removed)),
        Arm(
            f"{name}-control",
            _left_out(manifest, official, chosen, f"{name}-control"),
            _by_class(manifest, chosen),
            {label: n for label, n in short.items() if n},
        ),
    ]


def _by_class(manifest: Manifest, rows: list[int]) -> dict[str, int]:
    counts = Counter(manifest.records[i].label for i in rows)
    return {label: counts[label] for label in manifest.classes}


def _left_out(manifest: Manifest, official: Split, rows: list[int], policy: str) -> Split:
    out = {manifest.records[i].path for i in rows}
    kept: dict[str, SplitName] = {path: part for path, part in official.assignment.items() if path not in out}
    split = replace(official, assignment=kept, policy=policy, note=f"{len(out):,} training images left out")
    for part in ("train", "val"):
        empty = [label for label, n in split.counts(manifest)[part].items() if n == 0]
        if empty:
            raise DataError(
                f"without twins of test, {part} has no image of {empty}",
                expected="images of every class",
                where=manifest.root,
                fix="set data.val_fraction higher, or price the leak of the other classes only",
            )
    return split
