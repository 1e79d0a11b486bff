from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tumorscope.core.errors import DataError
from tumorscope.reporting.load import load_run

OPTIONAL = {
    "metrics.csv": "epochs",
    "predictions.csv": "predictions",
    "ledger.jsonl": "openings",
    "recipe.resolved.toml": "recipe_text",
    "samples.npz": "pictures",
    "samples.json": "samples",
}


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_everything_is_read(four_run: Path) -> None:
    found = load_run(four_run)
    assert found.evaluation.n == 1311
    assert found.predictions is not None
    assert len(found.predictions) == 1311
    assert found.epochs is not None
    assert [e.epoch for e in found.epochs] == list(range(1, 18))
    assert found.pictures is not None
    assert found.pictures.shape == (64, 160, 160)
    assert found.openings is not None
    assert [o["split"] for o in found.openings] == ["test"]


def test_the_probability_is_that_of_the_answer(binary_run: Path) -> None:
    found = load_run(binary_run).predictions
    assert found is not None
    assert min(p.prob for p in found) >= 0.5


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such run folder") as raised:
        load_run(tmp_path / "nowhere")
    assert "tumorscope train" in str(raised.value)


@pytest.mark.parametrize("name", ["run.json", "data.json", "evaluation.json"])
def test_a_required_file_is_missing(binary_copy: Path, name: str) -> None:
    (binary_copy / name).unlink()
    with pytest.raises(DataError, match=f"{name} is missing") as raised:
        load_run(binary_copy)
    assert "fix:" in str(raised.value)


@pytest.mark.parametrize(("name", "attribute"), OPTIONAL.items())
def test_an_optional_file_is_missing(binary_copy: Path, name: str, attribute: str) -> None:
    (binary_copy / name).unlink()
    assert getattr(load_run(binary_copy), attribute) is None


@pytest.mark.parametrize("name", ["run.json", "data.json", "evaluation.json", "samples.json"])
@pytest.mark.parametrize("content", ["", "{", "[1]", '"text"', "{}", "[" * 100_000])
def test_damaged_json_is_a_data_error(binary_copy: Path, name: str, content: str) -> None:
    (binary_copy / name).write_text(content)
    with pytest.raises(DataError, match=name):
        load_run(binary_copy)


def test_every_wrong_key_is_named_at_once(binary_copy: Path) -> None:
    change(binary_copy / "evaluation.json", n="many", classes=7)
    with pytest.raises(DataError, match=r"classes: .*; n: |n: .*; classes: "):
        load_run(binary_copy)


def test_unknown_keys_are_ignored(binary_copy: Path) -> None:
    change(binary_copy / "run.json", something_new={"a": 1})
    assert load_run(binary_copy).run.recipe == "breastmnist-cnn"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("stage,loss\nall,1\n", "no column epoch"),
        ("stage,epoch,val_loss\nall,1,low\n", "'low' where a number belongs"),
    ],
)
def test_damaged_learning_curves(binary_copy: Path, content: str, message: str) -> None:
    (binary_copy / "metrics.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        load_run(binary_copy)


def test_missing_figures_in_learning_curves_stay_missing(binary_copy: Path) -> None:
    (binary_copy / "metrics.csv").write_text("stage,epoch,val_loss,val_auroc\nall,1,,0.5\nall,2,nan,\nall,3,0.5,\n")
    epochs = load_run(binary_copy).epochs
    assert epochs is not None
    assert [e.val_loss for e in epochs] == [None, None, 0.5]
    assert epochs[0].train_loss is None


@pytest.mark.parametrize("line", ["nonsense", "[]"])
def test_a_damaged_ledger_is_named_with_its_line(binary_copy: Path, line: str) -> None:
    with (binary_copy / "ledger.jsonl").open("a") as handle:
        handle.write(line + "\n")
    with pytest.raises(DataError, match="line 2"):
        load_run(binary_copy)


def test_damaged_pictures(binary_copy: Path) -> None:
    (binary_copy / "samples.npz").write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(DataError, match=r"samples\.npz cannot be read"):
        load_run(binary_copy)


@pytest.mark.parametrize("shape", [(35, 160, 160), (36, 160), (36, 160, 160, 4)])
def test_pictures_of_another_shape(binary_copy: Path, shape: tuple[int, ...]) -> None:
    np.savez(binary_copy / "samples.npz", images=np.zeros(shape, np.uint8))
    with pytest.raises(DataError, match="for 36 entries"):
        load_run(binary_copy)


def test_pictures_that_would_run_code_are_refused(binary_copy: Path) -> None:
    np.savez(binary_copy / "samples.npz", images=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match=r"samples\.npz cannot be read"):
        load_run(binary_copy)


def test_a_file_in_place_of_a_folder(binary_run: Path, tmp_path: Path) -> None:
    shutil.copy(binary_run / "run.json", tmp_path / "run.json")
    with pytest.raises(DataError, match="no such run folder"):
        load_run(tmp_path / "run.json")
