from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.bundle.bundles import mixed, scans
from tumorscope.bundle.bundle import Bundle
from tumorscope.bundle.export import export_bundle
from tumorscope.bundle.exported import load_export
from tumorscope.bundle.extras import import_onnx
from tumorscope.bundle.int8 import int8_change
from tumorscope.bundle.predictor import Predictor
from tumorscope.core.errors import UsageError
from tumorscope.core.files import read_json


def test_int8_files_are_smaller_and_run(colour: Bundle, exports: dict[tuple[str, str], Path], tmp_path: Path) -> None:
    images = scans(colour.card.preprocessing, n=20)
    plain = load_export(exports["colour", "onnx"])
    small = load_export(export_bundle(colour.folder, tmp_path / "small", calibration=images))
    sizes = [(e.folder / "model.onnx").stat().st_size for e in (small, plain)]
    assert sizes[0] < 0.35 * sizes[1]
    nodes = import_onnx().load(str(tmp_path / "small" / "model.onnx")).graph.node
    assert sum(node.op_type == "QuantizeLinear" for node in nodes) > 10
    assert small.precision == "int8"
    record = read_json(tmp_path / "small" / "export.json")
    gaps = [small.probs(e.logits(colour.probe)) for e in (small, plain)]
    assert record["parity"]["int8_largest_difference"] == pytest.approx(np.abs(gaps[0] - gaps[1]).max(), abs=1e-5)
    assert record["parity"]["float32_largest_difference"] <= 1e-4
    torch_probs = Predictor.load(colour.folder)
    fresh = scans(colour.card.preprocessing, n=16, seed=9)
    found, expected = (p.probs(p.logits(fresh)) for p in (small, torch_probs))
    assert 1e-4 < np.abs(found - expected).max() < 0.25  # other answers, but of the same network


def test_int8_in_openvino(gray: Bundle, tmp_path: Path) -> None:
    folder = export_bundle(gray.folder, tmp_path / "out", kind="openvino", calibration=mixed(gray, n=8))
    small, plain = load_export(folder), Predictor.load(gray.folder)
    images = scans(gray.card.preprocessing, n=5, seed=9)
    assert np.abs(small.probs(small.logits(images)) - plain.probs(plain.logits(images))).max() < 0.25


@pytest.mark.parametrize("n", [0, 2])
def test_calibration_images_must_fit(gray: Bundle, tmp_path: Path, n: int) -> None:
    with pytest.raises(UsageError, match="calibration images of shape"):
        export_bundle(gray.folder, tmp_path / "out", calibration=gray.probe[:n, :, : -n or None])
    assert list((tmp_path / "out").iterdir()) == []


def test_the_change_is_paired() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 400)
    before = np.eye(2)[targets] + rng.normal(0, 0.1, (400, 2))
    after = before.copy()
    after[:40] = 1 - after[:40]
    change = int8_change(before, after, targets=targets)
    assert change.n == 400
    assert change.float32.value == 1.0
    assert change.int8.value == pytest.approx(0.9)
    assert change.changed == pytest.approx(0.1)
    assert change.difference.value == pytest.approx(-0.1)
    assert change.difference.low is not None
    assert change.difference.high is not None
    assert -0.15 < change.difference.low < -0.1 < change.difference.high < -0.05
    same = int8_change(before, before, targets=targets)
    assert same.difference.value == 0
    assert same.to_json()["difference"]["high"] >= 0


def test_groups_widen_the_interval() -> None:
    targets = np.tile([0, 1], 100)
    before = np.eye(2)[targets]
    after = before.copy()
    after[:20] = 1 - after[:20]
    widths = []
    for codes in (None, np.repeat(np.arange(10), 20)):
        difference = int8_change(before, after, targets=targets, codes=codes).difference
        assert difference.low is not None
        assert difference.high is not None
        widths.append(difference.high - difference.low)
    assert widths[1] > 1.5 * widths[0]


def test_other_images_are_refused() -> None:
    with pytest.raises(UsageError, match="the same images"):
        int8_change(np.zeros((3, 2)), np.zeros((4, 2)), targets=np.zeros(3, dtype=np.int64))
