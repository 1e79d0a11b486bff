"""Tiny scans and recipes for sweeps, and a crew that works in the test's own process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.scans import class_folders
from tumorscope.data.load import load
from tumorscope.data.manifest import Manifest
from tumorscope.sweeping import sweep as module
from tumorscope.sweeping.worker import work
from tumorscope.training.recipe import Recipe, parse_recipe

QUIET = Console(quiet=True)
SPACE: dict[str, Any] = {"stage.all.lr": [3e-3, 1e-3], "train.batch_size": [8, 16]}


def recipe_of(**sweep: Any) -> Recipe:
    """A tiny recipe with a grid of four points on two folds, unless told otherwise."""
    raw: dict[str, Any] = {
        "name": "tiny",
        "title": "Tiny",
        "image": {"size_px": 16},
        "model": {"name": "tinyvgg", "options": {"width": 2}},
        "train": {"batch_size": 16, "precision": "fp32", "memory_format": "contiguous"},
        "stage": {"all": {"epochs": 1, "lr": 3e-3}},
        "sweep": {"folds": 2, "metric": "val_accuracy", "space": SPACE, **sweep},
    }
    return parse_recipe(raw, where="test")


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return load(
        class_folders(tmp_path_factory.mktemp("scans"), per_class=12, test_per_class=5, classes=("left", "none"))
    )


class HereCrew:
    """What `Crew` does, in this process: works until nothing is left."""

    workers = 1

    def __init__(self, folder: Path, *, until: float | None, **_: Any) -> None:
        self.folder, self.until = folder, until

    def __enter__(self) -> HereCrew:
        return self

    def __exit__(self, *_: object) -> None: ...

    def look(self, *, waiting: int, busy: int) -> None:
        del waiting, busy
        work(self.folder, name="here", until=self.until)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps of this test start no process."""
    monkeypatch.setattr(module, "Crew", HereCrew)
    monkeypatch.setattr(module, "POLL_S", 0.0)


@pytest.fixture
def search(here: None, scans: Manifest) -> Callable[..., dict[str, Any]]:
    """`sweep` on the tiny scans, in this process."""

    def run(recipe: Recipe, out: Path, manifest: Manifest = scans, **more: Any) -> dict[str, Any]:
        return module.sweep(recipe, manifest, out=out, command="tumorscope sweep tiny", console=QUIET, **more)

    return run
