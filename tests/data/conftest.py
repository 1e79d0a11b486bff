"""Class folders with planted copies, for the tests of splits."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.scans import class_folders
from tumorscope.data.load import load
from tumorscope.data.manifest import Manifest


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
