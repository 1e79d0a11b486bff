"""The input gate: what it lets through, what it refuses and why, and how it travels."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.bundle.bundles import GRAY, save
from tests.scans import CLASSES, scan
from tumorscope.bundle import gate as module
from tumorscope.bundle.bundle import load_bundle, save_bundle
from tumorscope.bundle.descriptor import LENGTH, PROPERTIES, coloured_share, describe, thumbnail
from tumorscope.bundle.export import export_bundle
from tumorscope.bundle.exported import load_export
from tumorscope.bundle.gate import Described, Gate, described, fit_gate, load_gate
from tumorscope.core.errors import IntegrityError
from tumorscope.core.files import read_json, sha256_file, sha256_value, write_json
from tumorscope.core.types import Pixels
from tumorscope.imaging.preprocess import Preprocessing, preprocess

SHAPE = Preprocessing(32, 1)


def scans(n: int, seed: int) -> list[Pixels]:
    rng = np.random.default_rng(seed)
    return [np.asarray(scan(CLASSES[i % 3], rng, 40)) for i in range(n)]


def table(pictures: list[Pixels], shape: Preprocessing = SHAPE) -> Described:
    return described([(p, preprocess(p, shape)[0]) for p in pictures], np.arange(len(pictures)) % 3)


def fitted(train: Described, validation: Described, groups: NDArray[np.int64] | None = None) -> Gate | None:
    return fit_gate(train, validation, classes=CLASSES, groups=np.arange(len(train)) if groups is None else groups)


def refusal(gate: Gate, pixels: Pixels) -> str:
    return gate.refusal(pixels, preprocess(pixels, SHAPE)[0])


@pytest.fixture(scope="module")
def gate() -> Gate:
    found = fitted(table(scans(240, 0)), table(scans(300, 1)))
    assert found is not None
    return found


def test_new_scans_of_each_class_pass_as_often_as_asked(gate: Gate) -> None:
    refused = np.array([bool(refusal(gate, p)) for p in scans(300, 2)])
    assert [refused[np.arange(300) % 3 == target].mean() < 0.13 for target in range(3)] == [True] * 3
    assert (gate.calibration_images, gate.cross_fitted) == (300, 0)
    assert [region.name for region in gate.regions] == list(CLASSES)


def page(rng: np.random.Generator) -> Pixels:
    pixels = np.full((90, 70), 250, np.uint8)
    pixels[5::9, 5:-5] = rng.integers(0, 60, (len(pixels[5::9]), 60))
    return pixels


FOREIGN: dict[str, tuple[Callable[[np.random.Generator], Pixels], str]] = {
    "blank": (lambda rng: np.zeros((64, 64), np.uint8), "mostly black"),
    "white": (lambda rng: np.full((64, 64), 255, np.uint8), "even areas, as in drawings, in"),
    "noise": (lambda rng: rng.integers(0, 256, (64, 64), dtype=np.uint8), "unlike the training images"),
    "page": (page, ""),
    "inverted": (lambda rng: 255 - scans(1, 5)[0], "bright"),
    "ramp": (lambda rng: np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1)), "unlike the training images"),
    "colour": (lambda rng: np.stack([scans(1, 5)[0], *[scans(1, 5)[0] // 3] * 2], -1), "colour in"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_other_pictures_are_refused_with_what_is_unusual(gate: Gate, kind: str) -> None:
    make, word = FOREIGN[kind]
    reason = refusal(gate, make(np.random.default_rng(3)))
    assert reason
    assert word in reason
    if reason.startswith("unlike"):
        assert re.search(r"distance \d+\.\d\d, limit \d+\.\d\d", reason)


def test_limits_are_corrected_for_few_images() -> None:
    # the k-th farthest of n, with k = floor((n + 1) * share): none for n = 18 at 5%, the farthest for n = 19
    train, validation = table(scans(120, 0)).features, table(scans(19, 1)).features
    same = np.zeros(120, np.int64)
    assert module._fit("x", train, validation[:18], same, 0.05, 0) is None
    found = module._fit("x", train, validation, same, 0.05, 0)
    assert found is not None
    over = np.array([found.region.distances(row) for row in validation]) / np.array(found.region.limits)
    assert over.max() == pytest.approx(1)
    two = module._fit("x", train, np.concatenate([validation, validation, validation[:1]]), same, 0.05, 0)
    assert two is not None
    assert two.region.limits < found.region.limits
    assert module._fit("x", train[:19], validation, same[:19], 0.05, 0) is None


def test_training_images_join_only_as_strangers() -> None:
    """Measured by a distance fitted to themselves they would look near, and the limit would be too low."""
    pictures = scans(60, 0)
    train, validation = table(pictures).features, table(scans(15, 1)).features
    crossed = module._fit("x", train, validation, np.arange(60), 0.05, 0)
    assert crossed is not None
    assert (crossed.images, crossed.crossed) == (75, 60)
    own = crossed.region.metrics[0](train[:, module.PARTS[0]])
    assert crossed.region.limits[0] > 1.2 * own.max()
    # copies in other folds would make them look near too
    twice = table(pictures[:30] * 2).features
    apart = module._fit("x", twice, validation[:0], np.arange(60), 0.05, 0)
    together = module._fit("x", twice, validation[:0], np.tile(np.arange(30), 2), 0.05, 0)
    assert apart is not None
    assert together is not None
    assert together.region.limits[1] > apart.region.limits[1]


def test_a_class_with_few_images_is_not_shut_out() -> None:
    """Without a region of its own it would be refused as a stranger."""
    train, validation = table(scans(240, 0)), table(scans(120, 1))
    rare = train.targets == 2
    rare[np.flatnonzero(rare)[:10]] = False
    few = Described(*(getattr(train, name)[~rare] for name in ("features", "properties", "coloured", "targets")))
    found = fitted(few, validation)
    assert found is not None
    assert [region.name for region in found.regions] == [*CLASSES[:2], module.ALL]
    fresh = [p for i, p in enumerate(scans(150, 7)) if i % 3 == 2]
    assert np.mean([bool(refusal(found, p)) for p in fresh]) < 0.3
    assert fitted(table(scans(15, 0)), table(scans(90, 1))) is None


def test_folds_keep_groups_whole() -> None:
    groups = np.repeat(np.arange(20), 3)
    folds = module._folds(groups, 0)
    assert np.array_equal(np.sum(folds, axis=0), np.ones(60))
    assert all(len(set(groups[fold]) & set(groups[~fold])) == 0 for fold in folds)


def test_a_gate_of_colour_pictures_refuses_gray_ones() -> None:
    def tinted(pixels: Pixels) -> Pixels:
        return np.stack([pixels, pixels // 2, pixels // 3], axis=2)

    shape = Preprocessing(32, 3)
    found = fitted(table([tinted(p) for p in scans(150, 0)], shape), table([tinted(p) for p in scans(150, 1)], shape))
    assert found is not None
    fresh = tinted(scans(1, 9)[0])
    assert found.refusal(fresh, preprocess(fresh, shape)[0]) == ""
    gray = scans(1, 9)[0]
    assert "at least" in found.refusal(gray, preprocess(gray, shape)[0])


def test_descriptors_are_finite_for_any_picture() -> None:
    for side in (16, 28, 65, 224):
        for value in (0, 7, 255):
            features, properties = describe(np.full((1, side, side), value, np.uint8))
            assert features.shape == (LENGTH,)
            assert np.isfinite(features).all()
            assert list(properties) == list(PROPERTIES)
    assert thumbnail(np.zeros((3, 100, 100), np.uint8)).shape == (64, 64)
    assert coloured_share(np.zeros((5, 5), np.uint8)) == 0


def test_a_gate_comes_back_as_it_was(gate: Gate, tmp_path: Path) -> None:
    gate.save(tmp_path / "a.npz")
    again = load_gate(tmp_path / "a.npz")
    again.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    for make, _ in FOREIGN.values():
        pixels = make(np.random.default_rng(3))
        assert refusal(again, pixels) == refusal(gate, pixels)
    assert again.summary() == gate.summary()


def test_a_gate_of_another_version_is_refused(gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate.save(tmp_path / "a.npz")
    monkeypatch.setattr(module, "VERSION", 2)
    with pytest.raises(ValueError, match="gate of version 1"):
        load_gate(tmp_path / "a.npz")


@pytest.fixture
def with_gate(gate: Gate, tmp_path: Path) -> Path:
    plain = load_bundle(save(tmp_path / "plain", GRAY))
    save_bundle(tmp_path / "bundle", plain.model, plain.card, plain.probe, gate=gate)
    return tmp_path / "bundle"


def test_a_bundle_carries_its_gate(with_gate: Path, gate: Gate) -> None:
    bundle = load_bundle(with_gate)
    assert bundle.gate is not None
    assert bundle.card.gate == gate.summary()
    assert load_bundle(with_gate.parent / "plain").gate is None
    text = (with_gate / "README.md").read_text()
    assert "refuses pictures unlike the training images" in text
    assert "no input gate" in (with_gate.parent / "plain" / "README.md").read_text()


def test_the_gate_decides_and_descriptions_do_not(with_gate: Path, gate: Gate) -> None:
    bundle = load_bundle(with_gate)
    plain = load_bundle(with_gate.parent / "plain")
    assert bundle.identity != plain.identity
    other = replace(gate, even=0.5)
    probe: NDArray[np.uint8] = bundle.probe
    assert save_bundle(with_gate, bundle.model, bundle.card, probe, gate=other) != bundle.identity
    told = replace(bundle.card, about=None, metrics={"n": 1, "test": {}})
    assert save_bundle(with_gate, bundle.model, told, probe, gate=gate) == bundle.identity
    assert save_bundle(with_gate, bundle.model, bundle.card, probe) == plain.identity
    assert not (with_gate / "gate.npz").exists()


def test_a_bundle_without_a_gate_keeps_the_identity_of_the_first_format(tmp_path: Path) -> None:
    folder = save(tmp_path / "bundle", GRAY)
    raw = read_json(folder / "card.json")
    assert not {"gate", "about", "prediction_sets"} & set(raw)
    deciding = {k: v for k, v in raw.items() if k not in ("format", "identity", "files", "metrics")}
    files = [sha256_file(folder / name) for name in ("model.safetensors", "probe.npz")]
    assert raw["identity"] == sha256_value({**deciding, "files": files})


def test_a_changed_gate_is_refused(with_gate: Path) -> None:
    data = bytearray((with_gate / "gate.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (with_gate / "gate.npz").write_bytes(data)
    with pytest.raises(IntegrityError, match=r"gate\.npz is not the file"):
        load_bundle(with_gate)


@pytest.mark.parametrize(
    ("name", "message"),
    [("gate", "does not match its own identity"), ("files", "no hash of gate.npz"), ("out", "leads out")],
)
def test_a_gate_is_not_taken_away_by_hand(with_gate: Path, name: str, message: str) -> None:
    raw = read_json(with_gate / "card.json")
    if name == "gate":
        del raw["gate"]
    elif name == "files":
        del raw["files"]["gate.npz"]
    else:
        raw["files"]["../gate.npz"] = raw["files"]["gate.npz"]
    write_json(with_gate / "card.json", raw)
    with pytest.raises(IntegrityError, match=message):
        load_bundle(with_gate)


def test_an_export_carries_the_gate(with_gate: Path, tmp_path: Path) -> None:
    out = export_bundle(with_gate, tmp_path / "onnx")
    exported = load_export(out)
    bundle = load_bundle(with_gate)
    assert exported.gate is not None
    assert bundle.gate is not None
    assert exported.gate.summary() == bundle.gate.summary()
    (out / "gate.npz").unlink()
    with pytest.raises(IntegrityError, match=r"gate\.npz is not the file"):
        load_export(out)
