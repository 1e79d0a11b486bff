from __future__ import annotations

import json
import multiprocessing
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.auditing.materials import NAMES, Item, blob, look, material, noise, two_classes
from tumorscope.core.types import Pixels


def telling(rng: np.random.Generator, second: bool) -> Pixels:
    return blob(rng, x=20 if second else 44, y=int(rng.integers(16, 48)), bright=60)


def flipped(items: list[Item], rows: Sequence[int]) -> list[Item]:
    other = dict(zip(NAMES, reversed(NAMES), strict=True))
    return [replace(item, label=other[item.label]) if i in rows else item for i, item in enumerate(items)]


def test_changed_labels_are_found() -> None:
    wrong = [3, 10, 25, 44, 61]
    result = look("LABEL003", flipped(two_classes(telling, each=50), wrong))
    assert (result.outcome, result.severity) == ("finding", "warning")
    assert {f"images/{i:04d}.png" for i in wrong} == set(result.paths)
    assert result.count == len(result.paths)
    first = result.figures["suspects"][0]
    assert first["path"] == result.paths[0]
    assert first["label"] != first["suggested"]
    assert 0 <= first["self_confidence"] < first["probability"] <= 1
    confidences = [s["self_confidence"] for s in result.figures["suspects"]]
    assert confidences == sorted(confidences)
    assert result.figures["balanced_accuracy"]["low"] > 0.6
    assert result.figures["trial"]["changed"] == 5
    json.dumps(result.to_json())


def test_right_labels_are_fine() -> None:
    result = look("LABEL003", two_classes(telling, each=40))
    assert (result.outcome, result.count) == ("fine", 0)
    trial = result.figures["trial"]
    assert trial["found"] >= trial["changed"] / 2, "it would have found wrong ones"


def test_another_slice_of_the_patient_shows_the_wrong_label() -> None:
    """The patient's own anatomy is far stronger than what tells the classes apart."""
    rng = np.random.default_rng(0)
    items = []
    for patient in range(24):
        anatomy = np.kron(rng.normal(0, 30, (8, 8)), np.ones((8, 8)))
        for _ in range(8):
            pixels = (blob(rng, bright=50 * (patient % 2)) + anatomy).clip(0, 255).astype(np.uint8)
            items.append(Item(NAMES[patient % 2], pixels, patient=f"p{patient}"))
    wrong = [2, 21, 50, 77, 111]
    result = look("LABEL003", flipped(items, wrong))
    assert result.outcome == "finding"
    assert result.figures["balanced_accuracy"]["value"] < 0.95, "other patients do not give the label away"
    found = set(result.paths) & {f"images/{i:04d}.png" for i in wrong}
    assert len(found) >= 4
    assert result.count <= 6, "a model that never saw the patient doubts 17 labels"


def test_a_model_no_better_than_chance_is_said() -> None:
    result = look("LABEL003", two_classes(lambda rng, second: noise(rng), each=40))
    assert result.outcome == "skipped"
    assert "hardly better than chance" in result.detail


def test_few_images_are_not_applicable() -> None:
    assert look("LABEL003", two_classes(telling, each=9)).outcome == "not applicable"


def test_without_cleanlab_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    result = look("LABEL003", two_classes(telling, each=12))
    assert result.outcome == "skipped"
    assert result.detail == "cleanlab is not installed: pip install 'tumorscope[audit]'"


def test_no_process_is_started_and_nothing_printed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(multiprocessing, "Pool", refuse)
    monkeypatch.setattr(multiprocessing.Process, "start", refuse)
    assert look("LABEL003", flipped(two_classes(telling, each=30), [4, 9])).outcome == "finding"
    assert capfd.readouterr() == ("", "")


def test_the_same_seed_gives_the_same_answer() -> None:
    items = flipped(two_classes(telling, each=15), [4, 9])
    assert look("LABEL003", material(items, seed=5)) == look("LABEL003", material(items, seed=5))
