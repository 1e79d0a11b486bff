from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from tests.scans import class_folders
from tests.training.test_run import recipe
from tumorscope import api
from tumorscope.core.errors import DataError, UsageError
from tumorscope.data.load import load
from tumorscope.data.split import load_split
from tumorscope.training.external import evaluate_on
from tumorscope.training.run import Run, train

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("external")
    manifest = load(class_folders(root / "scans", per_class=16, test_per_class=5))
    stage = {"all": {"epochs": 1, "lr": 3e-3}}
    return train(recipe(stage=stage), manifest, out=root / "run", command="c", console=QUIET)


def test_external_images_seen_in_training_are_told_apart(run: Run, tmp_path: Path) -> None:
    other = class_folders(tmp_path / "other", per_class=6, seed=9)
    source = run.folder.parent / "scans" / "Training" / "left"
    trained = [
        line.split(",")[0]
        for line in (run.folder / "images.csv").read_text().splitlines()
        if "/left/" in line and ",train," in line
    ]
    for name in trained[:2]:
        shutil.copy(source / Path(name).name, other / "left" / f"seen-{Path(name).name}")
    result = evaluate_on(run.folder, load(other), name="other", console=QUIET)
    assert result["n"] == 20
    assert result["subsets"]["exact copy in training"]["n"] == 2
    assert any("training data" in w["message"] for w in result["warnings"])
    assert (run.folder / "evaluations" / "other" / "predictions.csv").is_file()
    entries = [json.loads(line) for line in (run.folder / "ledger.jsonl").read_text().splitlines()]
    assert entries[-1]["purpose"] == "evaluate other"


def test_copies_by_picture_are_told_apart_where_the_data_is_given(run: Run, tmp_path: Path) -> None:
    other = class_folders(tmp_path / "other", per_class=6, seed=9)
    own = load(run.folder.parent / "scans")
    split = load_split(run.folder / "split.json", own)
    for part, rows in (("train", split.rows(own, "train")[:3]), ("test", split.rows(own, "test")[:2])):
        for i in rows.tolist():
            record = own.records[i]
            image = Image.open(own.root / record.path)
            image.save(other / record.label / f"{part}-{i}.jpg", quality=90)
    plain = evaluate_on(run.folder, load(other), name="plain", console=QUIET)
    assert plain["subsets"] == {}
    result = evaluate_on(run.folder, load(other), name="held", trained_on=own, console=QUIET)
    assert result["n"] == 23
    assert result["subsets"]["copy in training"]["n"] == 3
    assert result["subsets"]["no copy in training"]["n"] == 20
    assert any("3 of 23 images have a copy" in w["message"] for w in result["warnings"])
    with pytest.raises(DataError, match="not trained on this data"):
        evaluate_on(run.folder, load(other), name="wrong", trained_on=load(other), console=QUIET)
    assert not (run.folder / "evaluations" / "wrong").exists()
    with pytest.raises(UsageError, match="nothing to hold"):
        api.evaluate(run.folder, trained_on=own)


def test_class_names_are_mapped_or_refused(run: Run, tmp_path: Path) -> None:
    other = load(class_folders(tmp_path / "other", per_class=4, classes=("LEFT", "nothing", "right")))
    with pytest.raises(DataError, match=r"does not know: \['nothing'\]"):
        evaluate_on(run.folder, other, name="x", console=QUIET)
    result = evaluate_on(run.folder, other, name="x", mapping={"nothing": "none"}, console=QUIET)
    assert result["classes"] == ["left", "none", "right"]
    with pytest.raises(UsageError, match="no test part"):
        evaluate_on(run.folder, other, name="y", part="test", mapping={"nothing": "none"}, console=QUIET)
    with pytest.raises(UsageError, match="--map names classes"):
        evaluate_on(run.folder, other, name="y", mapping={"nothing": "none", "typo": "left"}, console=QUIET)
    with pytest.raises(UsageError, match="nothing was overwritten"):
        evaluate_on(run.folder, other, name="x", part="train", mapping={"nothing": "none"}, console=QUIET)
    with pytest.raises(UsageError, match="folder name"):
        evaluate_on(run.folder, other, name="../x", mapping={"nothing": "none"}, console=QUIET)
