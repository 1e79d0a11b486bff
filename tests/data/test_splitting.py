from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.scans import class_folders
from tumorscope.core.errors import DataError, UsageError
from tumorscope.data.copies.survey import survey
from tumorscope.data.load import load
from tumorscope.data.manifest import Manifest
from tumorscope.data.split import crossing, patient_groups
from tumorscope.data.splitting import Rules, groups_of, make_folds, make_split


def parts_of_groups(manifest: Manifest, assignment: dict[str, str]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for record, group in zip(manifest.records, groups_of(manifest, survey(manifest)).tolist(), strict=True):
        found.setdefault(group, set()).add(assignment[record.path])
    return found


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_copies_never_cross_a_split_made_here(flat: Manifest, seed: int) -> None:
    split = make_split(flat, survey(flat), seed=seed)
    assert set(split.assignment) == {r.path for r in flat.records}
    assert all(len(parts) == 1 for parts in parts_of_groups(flat, dict(split.assignment)).values())
    assert crossing(flat, split, survey(flat).copies) == ()
    for part, fraction in (("test", 0.2), ("val", 0.8 * 0.15)):
        counts = split.counts(flat)[part]
        assert all(abs(n - 24 * fraction) <= 2 for n in counts.values()), (part, counts)


def test_same_seed_same_split(flat: Manifest) -> None:
    assert make_split(flat, survey(flat), seed=3).sha256 == make_split(flat, survey(flat), seed=3).sha256
    assert make_split(flat, survey(flat), seed=3).sha256 != make_split(flat, survey(flat), seed=4).sha256


def test_official_test_part_is_kept_and_its_copies_are_named(official: Manifest) -> None:
    split = make_split(official, survey(official), seed=0)
    test = {p for p, part in split.assignment.items() if part == "test"}
    assert test == {r.path for r in official.records if r.split == "test"}
    assert split.counts(official)["val"] == {"left": 3, "none": 3, "right": 3}
    assert crossing(official, split, survey(official).copies) == ("Testing/left/leak.png",)
    remade = make_split(official, survey(official), seed=0, rules=Rules("grouped"))
    assert crossing(official, remade, survey(official).copies) == ()


def test_patients_across_an_official_split_are_named(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "scans", per_class=8)
    rows = ["path,label,split,patient"]
    for i, file in enumerate(sorted(root.rglob("*.png"))):
        rows.append(f"{file.relative_to(root)},{file.parent.name},{('train', 'test')[i % 2]},p{i // 2}")
    (root / "images.csv").write_text("\n".join(rows))
    manifest = load(root)
    split = make_split(manifest, survey(manifest), seed=0)
    assert len(crossing(manifest, split, patient_groups(manifest))) == 12
    assert (
        crossing(
            manifest, make_split(manifest, survey(manifest), seed=0, rules=Rules("grouped")), patient_groups(manifest)
        )
        == ()
    )


def test_the_positive_class_does_not_change_what_the_data_is(flat: Manifest) -> None:
    assert replace(flat, positive="left").sha256 == flat.sha256


def test_folds_cover_every_image_once(flat: Manifest) -> None:
    folds = make_folds(flat, survey(flat), folds=4, seed=0)
    tested = Counter(p for f in folds for p, part in f.assignment.items() if part == "test")
    assert tested == Counter({r.path: 1 for r in flat.records})
    for fold in folds:
        assert all(len(parts) == 1 for parts in parts_of_groups(flat, dict(fold.assignment)).values())
        assert min(fold.counts(flat)["val"].values()) > 0


def test_impossible_folds_are_refused(flat: Manifest) -> None:
    with pytest.raises(DataError, match="20 independent groups"):
        make_folds(flat, survey(flat), folds=21, seed=0)
    with pytest.raises(UsageError, match="1 folds"):
        make_folds(flat, survey(flat), folds=1, seed=0)
