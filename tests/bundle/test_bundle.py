from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tumorscope.bundle.bundle import Card, load_bundle, save_bundle
from tumorscope.core.errors import IntegrityError, UsageError
from tumorscope.core.files import read_json, write_json
from tumorscope.imaging.preprocess import Preprocessing
from tumorscope.models.registry import build_model

ARCHITECTURE: dict[str, Any] = {
    "name": "cnn_bn",
    "outputs": 1,
    "channels": 1,
    "size_px": 32,
    "dropout": 0.1,
    "options": {},
}
PROBE = np.random.default_rng(0).integers(0, 255, (3, 1, 32, 32), dtype=np.uint8)


def card() -> Card:
    built = build_model(**ARCHITECTURE)
    return Card(
        recipe="r",
        title="A title",
        architecture=ARCHITECTURE,
        preprocessing=Preprocessing(32, 1),
        normalisation=built.normalisation,
        classes=("malignant", "normal, benign"),
        positive="malignant",
        temperature=1.3,
        threshold=0.4,
        licence="Apache-2.0",
        metrics={},
        hashes={"data": "d", "split": "s"},
        versions={"torch": torch.__version__},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    built = build_model(**ARCHITECTURE)
    save_bundle(tmp_path / "bundle", built, card(), PROBE)
    return tmp_path / "bundle"


def test_round_trip(folder: Path) -> None:
    bundle = load_bundle(folder)
    assert bundle.card == card()
    assert load_bundle(folder.parent).identity == bundle.identity
    assert not bundle.model.module.training


def test_identity_ignores_results_only(tmp_path: Path) -> None:
    torch.manual_seed(0)
    built = build_model(**ARCHITECTURE)
    first = save_bundle(tmp_path / "a", built, card(), PROBE)
    metrics = {"n": 3, "test": {"accuracy": {"value": 0.5, "low": 0.1, "high": 0.9}}}
    assert save_bundle(tmp_path / "b", built, replace(card(), metrics=metrics), PROBE) == first
    assert save_bundle(tmp_path / "c", built, replace(card(), temperature=2.0), PROBE) != first
    assert "| accuracy | 0.500 | 0.100 to 0.900 |" in (tmp_path / "b" / "README.md").read_text()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def edit(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    raw = read_json(path)
    change(raw)
    write_json(path, raw)


@pytest.mark.parametrize("name", ["model.safetensors", "probe.npz", "README.md"])
def test_a_changed_byte_is_refused(folder: Path, name: str) -> None:
    flip(folder / name)
    with pytest.raises(IntegrityError, match=f"{name} is not the file"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw.update(format=2), "bundle format 2"),
        (lambda raw: raw.update(temperature=0.1), "does not match its own identity"),
        (lambda raw: raw["classes"].reverse(), "does not match its own identity"),
        (lambda raw: raw.pop("classes"), "cannot be read"),
        (lambda raw: raw.update(surprise=1), "cannot be read"),
    ],
)
def test_a_changed_card_is_refused(folder: Path, change: Callable[[dict[str, object]], object], message: str) -> None:
    edit(folder / "card.json", change)
    with pytest.raises(IntegrityError, match=message):
        load_bundle(folder)


@pytest.mark.parametrize(("name", "words"), [("model.pth", "a pickle runs code"), ("model.h5", "was not opened")])
def test_single_files_are_refused_unopened(tmp_path: Path, name: str, words: str) -> None:
    opened = tmp_path / "opened"
    (tmp_path / name).write_bytes(pickle.dumps(_Opens(str(opened))))
    with pytest.raises(UsageError, match=words):
        load_bundle(tmp_path / name)
    assert not opened.exists()


class _Opens:
    """A pickle of it makes a folder when it is read."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


def test_missing_files_are_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(IntegrityError, match="missing"):
        load_bundle(folder)
    with pytest.raises(UsageError, match="no bundle here"):
        load_bundle(tmp_path / "nowhere")


def test_a_probe_that_does_not_reproduce_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tumorscope.bundle.bundle as module

    honest = module._run
    monkeypatch.setattr(module, "_run", lambda *a: honest(*a) + 0.5)
    with pytest.raises(IntegrityError, match="does not reproduce"):
        load_bundle(folder)
