from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scans import class_folders
from tumorscope.core.errors import DataError, IntegrityError, UsageError
from tumorscope.core.files import read_json, write_json
from tumorscope.data.load import load
from tumorscope.data.manifest import Manifest
from tumorscope.data.split import (
    crossing_copies,
    crossing_patients,
    exact_groups,
    load_split,
    make_folds,
    make_split,
    merge_groups,
)


@pytest.fixture
def flat(tmp_path: Path) -> Manifest:
    """72 images in three classes, 12 of them byte copies of others under new names."""
    root = class_folders(tmp_path / "flat", per_class=20)
    for label in ("left", "none", "right"):
        for i in range(4):
            shutil.copy(root / label / f"{label[0]}{i:03}.png", root / label / f"copy{i}.png")
    return load(root)


@pytest.fixture
def official(tmp_path: Path) -> Manifest:
    root = class_folders(tmp_path / "official", per_class=20, test_per_class=6)
    shutil.copy(root / "Training" / "left" / "l000.png", root / "Testing" / "left" / "leak.png")
    return load(root)


def parts_of_groups(manifest: Manifest, assignment: dict[str, str]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for record, group in zip(manifest.records, exact_groups(manifest).tolist(), strict=True):
        found.setdefault(group, set()).add(assignment[record.path])
    return found


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_copies_never_cross_a_split_made_here(flat: Manifest, seed: int) -> None:
    split = make_split(flat, seed=seed)
    assert set(split.assignment) == {r.path for r in flat.records}
    assert all(len(parts) == 1 for parts in parts_of_groups(flat, dict(split.assignment)).values())
    assert crossing_copies(flat, split) == ()
    for part, fraction in (("test", 0.2), ("val", 0.8 * 0.15)):
        counts = split.counts(flat)[part]
        assert all(abs(n - 24 * fraction) <= 2 for n in counts.values()), (part, counts)


def test_same_seed_same_split(flat: Manifest) -> None:
    assert make_split(flat, seed=3).sha256 == make_split(flat, seed=3).sha256
    assert make_split(flat, seed=3).sha256 != make_split(flat, seed=4).sha256


def test_official_test_part_is_kept_and_its_copies_are_named(official: Manifest) -> None:
    split = make_split(official, seed=0)
    test = {p for p, part in split.assignment.items() if part == "test"}
    assert test == {r.path for r in official.records if r.split == "test"}
    assert split.counts(official)["val"] == {"left": 3, "none": 3, "right": 3}
    assert crossing_copies(official, split) == ("Testing/left/leak.png",)
    remade = make_split(official, seed=0, policy="grouped")
    assert crossing_copies(official, remade) == ()


def test_patients_across_an_official_split_are_named(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "scans", per_class=8)
    rows = ["path,label,split,patient"]
    for i, file in enumerate(sorted(root.rglob("*.png"))):
        rows.append(f"{file.relative_to(root)},{file.parent.name},{('train', 'test')[i % 2]},p{i // 2}")
    (root / "images.csv").write_text("\n".join(rows))
    manifest = load(root)
    split = make_split(manifest, seed=0)
    assert len(crossing_patients(manifest, split)) == 12
    assert crossing_patients(manifest, make_split(manifest, seed=0, policy="grouped")) == ()


def test_the_positive_class_does_not_change_what_the_data_is(flat: Manifest) -> None:
    assert replace(flat, positive="left").sha256 == flat.sha256


def test_folds_cover_every_image_once(flat: Manifest) -> None:
    folds = make_folds(flat, folds=4, seed=0)
    tested = Counter(p for f in folds for p, part in f.assignment.items() if part == "test")
    assert tested == Counter({r.path: 1 for r in flat.records})
    for fold in folds:
        assert all(len(parts) == 1 for parts in parts_of_groups(flat, dict(fold.assignment)).values())
        assert min(fold.counts(flat)["val"].values()) > 0


def test_impossible_folds_are_refused(flat: Manifest) -> None:
    with pytest.raises(DataError, match="20 independent groups"):
        make_folds(flat, folds=21, seed=0)
    with pytest.raises(UsageError, match="1 folds"):
        make_folds(flat, folds=1, seed=0)


def test_split_file_is_checked(flat: Manifest, official: Manifest, tmp_path: Path) -> None:
    split = make_split(flat, seed=0)
    path = split.save(tmp_path / "split.json")
    again = load_split(path, flat)
    assert again.sha256 == split.sha256
    assert again.groups == split.groups
    with pytest.raises(IntegrityError, match="other data"):
        load_split(path, official)
    raw = read_json(path)
    moved = next(p for p, part in raw["assignment"].items() if part == "test")
    raw["assignment"][moved] = "train"
    write_json(path, raw)
    with pytest.raises(IntegrityError, match="its own hash"):
        load_split(path, flat)
    path.write_text("{}")
    with pytest.raises(IntegrityError, match="not a split file"):
        load_split(path, flat)
    with pytest.raises(UsageError, match="does not exist"):
        load_split(tmp_path / "none.json", flat)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["x", "y", "z", None])), min_size=1))
def test_groups_are_connected_components(pairs: list[tuple[str, str | None]]) -> None:
    groups = merge_groups(len(pairs), [[a for a, _ in pairs], [b for _, b in pairs]])
    assert groups.dtype == np.int64
    for i, (a, b) in enumerate(pairs):
        for j, (c, d) in enumerate(pairs):
            if a == c or (b is not None and b == d):
                assert groups[i] == groups[j]
    # no two groups share a key
    for column in range(2):
        owners: dict[str, set[int]] = {}
        for group, pair in zip(groups.tolist(), pairs, strict=True):
            key = pair[column]
            if key is not None:
                owners.setdefault(key, set()).add(group)
        assert all(len(found) == 1 for found in owners.values())
