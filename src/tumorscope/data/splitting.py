"""Make splits that copies and patients never cross, by four policies.

In: a Manifest, its copies, a seed. Out: a `Split`. Whatever is made here (validation, and test where there is none)
is stratified by class and takes whole groups: copies, patients, and images that likely show one patient.

| policy | the data's own test part | what is left out |
|---|---|---|
| `official` | kept as it is, and what crosses it is named | nothing |
| `deduplicated` | kept | training images with a copy or the patient in test (or, as asked, the test images) |
| `patient-likely` | kept | as above, and images that likely show a patient of test |
| `grouped` | ignored: all three parts are made anew | nothing |
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.errors import DataError, UsageError
from tumorscope.core.types import SplitName
from tumorscope.data.copies.groups import COPY_KINDS, CopyKind
from tumorscope.data.copies.survey import Survey
from tumorscope.data.manifest import Manifest
from tumorscope.data.split import Groups, Split, merge_groups

Policy: TypeAlias = Literal["official", "deduplicated", "patient-likely", "grouped"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
Keep: TypeAlias = Literal["test", "train"]
LIKELY_KINDS: tuple[CopyKind, ...] = (*COPY_KINDS, "patient-likely")


@dataclass(frozen=True, slots=True)
class Rules:
    """How a split is made.

    Attributes:
        policy: Where the test part comes from; see the table above.
        keep: What stays whole when `deduplicated` or `patient-likely` takes twins out: "test" takes them out of
            training, "train" out of test.
        val_fraction: Share of the non-test images that becomes validation where none is given.
        test_fraction: Share that becomes test where none is given.
    """

    policy: Policy = "official"
    keep: Keep = "test"
    val_fraction: float = 0.15
    test_fraction: float = 0.2


def groups_of(manifest: Manifest, survey: Survey, *, likely: bool = True) -> Groups:
    """(N,) int64 groups that belong together: copies and patients, and with `likely` images likely of one patient."""
    return merge_groups(
        len(manifest),
        [
            [str(g) for g in survey.groups(LIKELY_KINDS if likely else COPY_KINDS).tolist()],
            [r.patient for r in manifest.records],
        ],
    )


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


def make_split(manifest: Manifest, survey: Survey, *, seed: int, rules: Rules | None = None) -> Split:
    """Split the data.

    Args:
        manifest: The data.
        survey: Its copies.
        seed: Root of every random choice.
        rules: Policy and fractions.

    Raises:
        DataError: If a class would have no image in a part.
    """
    rules = rules or Rules()
    rng = np.random.default_rng([seed, 0x5917])
    targets = manifest.targets
    groups = groups_of(manifest, survey)
    official = rules.policy != "grouped" and manifest.has_official_split
    parts: list[SplitName | None] = [r.split if official else None for r in manifest.records]
    notes = []
    if not official:
        test = _take(np.arange(len(manifest)), targets, groups, rules.test_fraction, rng)
        for i in range(len(manifest)):
            parts[i] = "train"
        for i in test.tolist():
            parts[i] = "test"
        notes.append(
            f"test made here: {len(test):,} images, stratified, groups of copies and (likely) patients kept whole"
        )
    elif rules.policy != "official":
        twins = groups if rules.policy == "patient-likely" else groups_of(manifest, survey, likely=False)
        notes.append(_leave_out(parts, twins, rules))
    if "val" not in parts:
        pool = np.array([i for i, p in enumerate(parts) if p == "train"], dtype=np.int64)
        val = _take(pool, targets, groups, rules.val_fraction, rng)
        for i in val.tolist():
            parts[i] = "val"
        notes.append(f"validation made here out of training: {len(val):,} images, stratified by group")
    policy = rules.policy if official else "grouped"
    return _finish(manifest, parts, policy=policy, seed=seed, notes=notes, groups=groups)


def _leave_out(parts: list[SplitName | None], groups: Groups, rules: Rules) -> str:
    """Empty the parts of twins, test before validation before training as `keep` asks; returns the note."""
    order: tuple[SplitName, ...] = ("test", "val", "train") if rules.keep == "test" else ("train", "val", "test")
    left_out: Counter[str] = Counter()
    owner: dict[int, SplitName] = {}
    for part in order:
        members = [i for i, p in enumerate(parts) if p == part]
        for i in members:
            if owner.get(int(groups[i]), part) != part:
                parts[i] = None
                left_out[part] += 1
        owner |= {int(groups[i]): part for i in members if parts[i] == part}
    what = "a copy or the patient" if rules.policy == "deduplicated" else "a copy or likely the patient"
    told = ", ".join(f"{left_out[part]:,} of {part}" for part in reversed(order) if left_out[part]) or "none"
    return f"left out because {what} stands in another part: {told}"


def make_folds(
    manifest: Manifest,
    survey: Survey,
    *,
    folds: int,
    seed: int,
    val_fraction: float = 0.15,
) -> tuple[Split, ...]:
    """Grouped, stratified K-fold: each image is in test once; validation comes out of the rest.

    Raises:
        UsageError: If `folds` is below 2.
        DataError: If a class has fewer groups than folds.
    """
    if folds < 2:
        raise UsageError(f"{folds} folds", expected="2 or more", where="--folds", fix="give --folds 5")
    targets = manifest.targets
    groups = groups_of(manifest, survey)
    rng = np.random.default_rng([seed, 0xF01D])
    splits = []
    for fold, (rest, test) in enumerate(grouped_folds(manifest, groups, folds=folds, rng=rng, option="--folds ")):
        parts: list[SplitName | None] = ["train"] * len(manifest)
        for i in test.tolist():
            parts[i] = "test"
        for i in _take(rest, targets, groups, val_fraction, rng).tolist():
            parts[i] = "val"
        notes = [f"fold {fold + 1} of {folds}, stratified, groups of copies and (likely) patients kept whole"]
        splits.append(_finish(manifest, parts, policy="grouped", seed=seed, notes=notes, groups=groups))
    return tuple(splits)


def grouped_folds(
    manifest: Manifest, groups: Groups, *, folds: int, rng: np.random.Generator, option: str
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """K stratified pairs of rows: all others, and those held out, whole groups each; every row is held out once.

    Args:
        manifest: The data.
        groups: (N,) group of every record.
        folds: K.
        rng: One number is drawn from it.
        option: What a user says K with, for the error.

    Raises:
        DataError: If a class has fewer groups than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    targets = manifest.targets
    for target, label in enumerate(manifest.classes):
        available = len(np.unique(groups[targets == target]))
        if available < folds:
            raise DataError(
                f"class {label!r} has {available} independent groups",
                expected=f"at least {folds}, one a fold",
                where=manifest.root,
                fix=f"use {option}{available} or less" if available > 1 else "add images of the class",
            )
    drawn = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=int(rng.integers(2**31)))
    return [(rest.astype(np.int64), held.astype(np.int64)) for rest, held in drawn.split(targets, targets, groups)]


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
