"""`predict`, `package`, `card`, `export` and `explain` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.bundle.bundles import GRAY, save
from tumorscope.cli import app
from tumorscope.core.errors import UsageError

runner = CliRunner()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("models") / "bundle", GRAY)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "my scan.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 100), dtype=np.uint8)).save(path)
    return path


def test_predict_says_what_failed_and_leaves_with_1(bundle: Path, scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    words = ["predict", str(bundle), str(scan), str(tmp_path / "gone.png"), "--out", str(out), "--backend", "torch"]
    found = runner.invoke(app, words)
    assert found.exit_code == 1
    first, second = (json.loads(line) for line in out.read_text().splitlines())
    assert first["predicted"] in ("malignant", "normal, benign")
    assert second["error"].startswith("missing-file")
    assert "2 rows, 1 with an error" in found.stderr
    assert found.stdout == ""
    fine = runner.invoke(app, ["predict", str(bundle), str(scan), "--backend", "torch"])
    assert fine.exit_code == 0
    assert fine.stdout.splitlines()[0] == '"path","predicted"'.replace('"', "") + (
        ',prob_malignant,"prob_normal, benign",set,error,abstained'
    )


def test_card_and_package(bundle: Path, tmp_path: Path) -> None:
    card = json.loads(runner.invoke(app, ["card", str(bundle), "--json"]).stdout)
    assert card["classes"] == ["malignant", "normal, benign"]
    found = runner.invoke(app, ["package", str(bundle), "--out", str(tmp_path / "for you")])
    assert Path(found.stdout.strip()) == tmp_path / "for you"
    assert json.loads(runner.invoke(app, ["card", found.stdout.strip(), "--json"]).stdout) == card
    assert "not for clinical decisions" in runner.invoke(app, ["card", str(bundle)]).stdout


def test_explain_writes_pictures_numbers_and_the_caution(bundle: Path, scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "heat"
    found = runner.invoke(app, ["explain", str(bundle), str(scan), "--out", str(out), "--class", "malignant"])
    assert found.exit_code == 0
    names = [f"001-my scan-grad-cam.{suffix}" for suffix in ("json", "npy", "png")]
    assert sorted(p.name for p in out.iterdir()) == names
    assert "likeness to random weights" in found.stdout
    assert "not the place of a lesion" in found.stdout
    said = runner.invoke(app, ["explain", str(bundle), str(scan), "--out", str(out), "--json"])
    assert json.loads(said.stdout)["explanations"][0]["method"] == "grad-cam"


@pytest.mark.parametrize("words", [["--score"], ["--out", "x"], []])
def test_explain_says_what_it_needs(bundle: Path, words: list[str]) -> None:
    found = runner.invoke(app, ["explain", str(bundle), *words])
    assert isinstance(found.exception, UsageError)


def test_int8_needs_data(bundle: Path, tmp_path: Path) -> None:
    found = runner.invoke(app, ["export", str(bundle), "--out", str(tmp_path / "x"), "--int8"])
    assert isinstance(found.exception, UsageError)
    assert "--data" in found.exception.fix
    assert not (tmp_path / "x").exists()
