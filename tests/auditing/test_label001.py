from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.auditing.materials import NAMES, Item, look, material, noise, two_classes
from tests.data.copies_pictures import head
from tests.data.images import encode
from tumorscope.auditing.material import Material
from tumorscope.data.copies.groups import Pair
from tumorscope.data.copies.survey import survey
from tumorscope.data.load import load


def test_the_same_picture_in_two_class_folders_is_an_error(tmp_path: Path) -> None:
    for label in ("glioma", "notumor"):
        (tmp_path / label).mkdir()
        for i in range(3):
            (tmp_path / label / f"{i}.png").write_bytes(encode(head(i + 10 * len(label), side=64)))
    (tmp_path / "glioma/copy.png").write_bytes((tmp_path / "notumor/1.png").read_bytes())
    (tmp_path / "glioma/pixels.bmp").write_bytes(encode(head(70, side=64), "BMP"))
    manifest = load(tmp_path)
    result = look("LABEL001", Material(manifest, survey(manifest, threads=1)))
    assert (result.outcome, result.severity, result.count) == ("finding", "error", 4)
    assert result.paths == ("glioma/copy.png", "notumor/1.png", "glioma/pixels.bmp", "notumor/0.png")
    assert result.figures["groups"][0] == {"glioma/copy.png": "glioma", "notumor/1.png": "notumor"}


def test_identical_images_of_one_label_are_fine() -> None:
    items = two_classes(lambda rng, second: noise(rng, side=16), each=3)
    result = look("LABEL001", material(items, pairs=[Pair(0, 2, "exact", 1.0), Pair(1, 3, "pixels", 1.0)]))
    assert result.outcome == "fine"
    assert "2 groups" in result.detail


def test_no_identical_images_are_fine() -> None:
    items = two_classes(lambda rng, second: noise(rng, side=16), each=3)
    assert look("LABEL001", material(items, pairs=[Pair(0, 1, "near", 0.9)])).outcome == "fine"


def test_one_class_is_not_applicable() -> None:
    rng = np.random.default_rng(0)
    items = [Item(NAMES[0], noise(rng, side=16)) for _ in range(4)]
    assert look("LABEL001", items).outcome == "not applicable"
