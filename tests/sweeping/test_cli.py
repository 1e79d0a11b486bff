from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.scans import class_folders
from tests.sweeping.conftest import recipe_of
from tumorscope.cli import app
from tumorscope.core.files import read_json
from tumorscope.training.recipe import load_recipe, to_toml


def call(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    return result.exit_code, result.stdout


@pytest.mark.usefixtures("here")
def test_a_sweep_its_winner_and_its_page(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "scans", per_class=12, test_per_class=5, classes=("left", "none"))
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(to_toml(recipe_of()), encoding="utf-8")
    out = tmp_path / "my sweep"
    words = ("sweep", recipe, "--data", root, "--out", out, "--space", "stage.all.lr=[3e-3, 1e-3]")
    code, said = call(*words, "--no-winner")
    assert code == 0
    assert "best of 2: val_accuracy" in said
    assert not (out / "winner").exists()
    assert "not yet trained and tested" in (out / "sweep.html").read_text(encoding="utf-8")
    code, said = call(*words, "--seeds", "2", "--json")
    assert code == 0
    content = json.loads(said)
    assert [w["folder"] for w in content["winners"]] == ["winner"]
    summary = read_json(out / "winner" / "summary.json")
    assert [c["seed"] for c in summary["children"]] == [0, 1]
    # the run is that of the best recipe, and its test part was opened once a seed
    for child in summary["children"]:
        run = out / "winner" / child["name"]
        found = load_recipe(str(run / "recipe.resolved.toml"))
        assert found.stage["all"].lr == content["best"]["point"]["stage.all.lr"]
        assert len((run / "ledger.jsonl").read_text(encoding="utf-8").splitlines()) == 1
    assert "opened for this point alone" in (out / "sweep.html").read_text(encoding="utf-8")
    code, said = call(*words, "--seeds", "2")
    assert code == 0
    assert "test accuracy" in said


def test_mistakes_are_said_before_the_data_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.test_cli import call_main

    assert call_main(monkeypatch, "sweep", "demo", "--data", "nowhere", "--out", tmp_path / "a") == 2
    words = ("sweep", "demo", "-d", "nowhere", "-o", tmp_path / "a", "--space", "stage.all.lrr=[1]")
    assert call_main(monkeypatch, *words) == 2
    assert not (tmp_path / "a").exists()
