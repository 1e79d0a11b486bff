from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.scans import class_folders
from tests.training.test_run import recipe
from tumorscope.core.errors import DataError
from tumorscope.data.load import load
from tumorscope.training.resolve import resolve


@pytest.fixture
def breast(tmp_path: Path) -> Path:
    """A file in BreastMNIST's form: 0 = malignant, 1 = normal or benign."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for part, n in (("train", 30), ("val", 10), ("test", 10)):
        arrays[f"{part}_images"] = rng.integers(0, 255, (n, 28, 28), dtype=np.uint8)
        arrays[f"{part}_labels"] = (np.arange(n) % 2).astype(np.uint8)[:, None]
    path = tmp_path / "breastmnist.npz"
    np.savez(path, **arrays)
    return path


def test_the_catalogue_decides_the_positive_class(breast: Path) -> None:
    manifest = load(breast)
    assert (manifest.classes[0], manifest.positive) == ("malignant", "malignant")
    assert resolve(recipe(), manifest).data.positive == "malignant"
    with pytest.raises(DataError, match="says that 'normal, benign' is the positive class"):
        resolve(recipe(data={"positive": "normal, benign"}), manifest)


def test_s0s_mapping_is_refused(breast: Path) -> None:
    with pytest.raises(DataError, match="malignant"):
        load(breast, label_names={0: "benign", 1: "malignant"})


def test_auto_channels_follow_the_images(tmp_path: Path, breast: Path) -> None:
    assert resolve(recipe(), load(class_folders(tmp_path / "scans", per_class=3))).image.channels == 1
    assert resolve(recipe(image={"channels": 3}), load(breast)).image.channels == 3
