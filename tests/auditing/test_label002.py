from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.auditing.materials import NAMES, Item, look, material, noise
from tests.data.copies_pictures import head, reencoded
from tests.data.images import encode
from tumorscope.auditing.check import Result
from tumorscope.auditing.material import Material
from tumorscope.data.copies.groups import Pair
from tumorscope.data.copies.survey import survey
from tumorscope.data.load import load


def labelled(labels: str, *pairs: Pair) -> Result:
    """LABEL002 on images named a.png, b.png, ... with the labels "0" and "1", and third "2"."""
    rng = np.random.default_rng(0)
    names = (*NAMES, "normal")
    items = [Item(names[int(c)], noise(rng, side=16), path=f"{'abcdef'[i]}.png") for i, c in enumerate(labels)]
    return look("LABEL002", material(items, pairs=pairs))


def test_a_mirrored_copy_under_another_label_is_an_error(tmp_path: Path) -> None:
    for label in ("glioma", "notumor"):
        (tmp_path / label).mkdir()
        for i in range(3):
            (tmp_path / label / f"{i}.png").write_bytes(encode(head(i + 10 * len(label))))
    copy = reencoded(np.ascontiguousarray(head(71)[:, ::-1]), quality=80)
    (tmp_path / "glioma/other.png").write_bytes(encode(copy))
    manifest = load(tmp_path)
    data = Material(manifest, survey(manifest, threads=1))
    result = look("LABEL002", data)
    assert (result.outcome, result.severity, result.count) == ("finding", "error", 2)
    assert set(result.paths) == {"glioma/other.png", "notumor/1.png"}
    assert result.figures["pairs"][0]["mirrored"] is True
    assert look("LABEL001", data).outcome == "fine"


def test_the_surest_pair_comes_first() -> None:
    result = labelled("0101", Pair(0, 1, "near", 0.7), Pair(2, 3, "near", 0.9))
    assert result.paths == ("c.png", "d.png", "a.png", "b.png")


def test_identical_images_are_left_to_their_own_check() -> None:
    pairs = (Pair(0, 1, "exact", 1.0), Pair(0, 2, "near", 0.9), Pair(1, 2, "near", 0.9))
    assert labelled("010", *pairs).outcome == "fine"
    assert labelled("012", *pairs).outcome == "finding"


def test_every_identical_image_of_a_near_copy_is_named() -> None:
    result = labelled("001", Pair(0, 1, "exact", 1.0), Pair(1, 2, "near", 0.9))
    assert set(result.paths) == {"a.png", "b.png", "c.png"}
    assert "1 of 1 pairs" in result.detail


def test_near_copies_of_one_label_are_fine() -> None:
    result = labelled("0011", Pair(0, 1, "near", 0.9), Pair(1, 2, "patient-likely", 0.5))
    assert (result.outcome, result.detail) == ("fine", "1 pairs of near copies carry one label each.")


def test_no_near_copies_are_fine() -> None:
    assert labelled("01").outcome == "fine"


def test_one_class_is_not_applicable() -> None:
    assert labelled("00", Pair(0, 1, "near", 0.9)).outcome == "not applicable"
