"""Exports of a run: what 8-bit integers cost is measured on its validation images, and test stays closed."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from tests.scans import class_folders
from tests.training.test_run import recipe
from tumorscope.bundle.exported import load_export
from tumorscope.core.errors import IntegrityError, UsageError
from tumorscope.core.files import read_json
from tumorscope.data.load import load
from tumorscope.data.manifest import Manifest
from tumorscope.training.exporting import export_model
from tumorscope.training.run import train

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return load(class_folders(tmp_path_factory.mktemp("data") / "scans", per_class=20))


@pytest.fixture(scope="module")
def run(scans: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "a"
    stage = {"all": {"epochs": 3, "lr": 3e-3}}
    return train(recipe(stage=stage), scans, out=out, command="c", console=QUIET).folder


def test_eight_bits_are_measured_on_validation(run: Path, scans: Manifest, tmp_path: Path) -> None:
    ledger = (run / "ledger.jsonl").read_bytes()
    report = export_model(run, "onnx", out=tmp_path / "x", int8=True, manifest=scans)
    assert report is not None
    val = sum(read_json(run / "data.json")["split"]["counts"]["val"].values())
    assert report.change.n == val
    assert f"n = {val}" in report.sentence()
    assert read_json(tmp_path / "x" / "export.json")["int8_on_validation"] == report.to_json()
    assert load_export(tmp_path / "x").precision == "int8"
    assert (run / "ledger.jsonl").read_bytes() == ledger


def test_float32_needs_no_data(run: Path, tmp_path: Path) -> None:
    assert export_model(run, "onnx", out=tmp_path / "x") is None
    assert load_export(tmp_path / "x").precision == "float32"


def test_eight_bits_need_the_run_and_its_own_data(run: Path, tmp_path: Path, scans: Manifest) -> None:
    with pytest.raises(UsageError, match="without the images"):
        export_model(run, "onnx", out=tmp_path / "x", int8=True)
    with pytest.raises(UsageError, match="without the images"):
        export_model(run / "bundle", "onnx", out=tmp_path / "x", int8=True, manifest=scans)
    other = load(class_folders(tmp_path / "other", per_class=20, seed=1))
    with pytest.raises(IntegrityError):
        export_model(run, "onnx", out=tmp_path / "x", int8=True, manifest=other)
    assert not (tmp_path / "x").exists()
