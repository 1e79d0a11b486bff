from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.scans import class_folders
from tests.sweeping.conftest import QUIET, recipe_of
from tumorscope.core.errors import DataError
from tumorscope.data.load import load
from tumorscope.sweeping.folds import draw_folds
from tumorscope.training.parts import draw_split
from tumorscope.training.run import find_copies


def test_folds_hold_no_test_image_and_cut_no_group(tmp_path: Path) -> None:
    root = class_folders(tmp_path, per_class=14, test_per_class=6)
    for number, path in enumerate(sorted(root.glob("Training/*/*.png"))[::5]):
        shutil.copy(path, path.with_name(f"copy-{number}.png"))
    manifest = load(root)
    copies = find_copies(manifest, QUIET)
    split = draw_split(recipe_of(), manifest, copies)
    usable, folds = draw_folds(manifest, split, copies, folds=3, seed=0)
    assert {r.path for r in usable.records} == {p for p, part in split.assignment.items() if part != "test"}
    assert not any(r.path.startswith("Testing") for r in usable.records)
    tried = np.concatenate([val for _, val in folds.parts])
    assert sorted(tried.tolist()) == list(range(len(usable)))
    pixels = np.array([r.pixels_sha256 for r in usable.records])
    assert len(set(pixels)) < len(pixels)
    for train, val in folds.parts:
        assert not set(train.tolist()) & set(val.tolist())
        assert not set(pixels[train]) & set(pixels[val]), "a copy stands on both sides"
    again = draw_folds(manifest, split, copies, folds=3, seed=0)[1]
    assert again.sha256 == folds.sha256 != draw_folds(manifest, split, copies, folds=3, seed=1)[1].sha256
    one = draw_folds(manifest, split, copies, folds=1, seed=0)[1]
    (train, val) = one.parts[0]
    assert [usable.records[i].path for i in val] == [p for p in split.assignment if split.assignment[p] == "val"]
    assert len(train) + len(val) == len(usable)
    assert len(draw_folds(manifest, split, copies, folds="auto", seed=0)[1]) == 3
    with pytest.raises(DataError, match="independent groups"):
        draw_folds(manifest, split, copies, folds=20, seed=0)
