"""Every shipped recipe runs for one tiny epoch a stage, on generated images with the classes it names."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from tests.scans import class_folders
from tumorscope.data.load import load
from tumorscope.reporting.render import render_report
from tumorscope.training.recipe import load_recipe, shipped_recipes
from tumorscope.training.run import train


@pytest.mark.parametrize("name", shipped_recipes())
def test_one_tiny_epoch(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    size = min(recipe.image.size_px, 64)
    overrides = [f"stage.{stage}.epochs=1" for stage in recipe.stage]
    overrides += [f"image.size_px={size}", "model.weights=none", "train.precision=fp32", "train.batch_size=8"]
    overrides += ["train.memory_format=contiguous", "data.val_fraction=0.25"]
    classes = tuple(recipe.data.classes or ("a", "b", "c", "d"))
    manifest = load(class_folders(tmp_path / "scans", per_class=10, classes=classes, test_per_class=4))
    run = train(load_recipe(name, overrides), manifest, out=tmp_path / "run", command="c", console=Console(quiet=True))
    assert run.evaluation["n"] == 4 * len(classes)
    assert set(run.evaluation["classes"]) == set(classes)
    page = render_report(run.folder).read_text(encoding="utf-8")
    assert recipe.title in page
