from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from tests.scans import class_folders
from tests.training.test_run import recipe
from tumorscope.core.errors import IntegrityError, UsageError
from tumorscope.core.files import read_json
from tumorscope.data.load import load
from tumorscope.data.manifest import Manifest
from tumorscope.evaluation.predictions import read_csv
from tumorscope.reporting.summary import render_summary
from tumorscope.training import repeat as module
from tumorscope.training.repeat import Repetition, train_repeated

QUIET = Console(quiet=True)
SHORT = {"all": {"epochs": 1, "lr": 3e-3}}


@pytest.fixture
def scans(tmp_path: Path) -> Manifest:
    return load(class_folders(tmp_path / "scans", per_class=16))


def test_folds_pool_to_every_image_once_a_repeat(scans: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "cv"
    summary = train_repeated(
        recipe(stage=SHORT), scans, Repetition(folds=2, repeats=2), out=out, command="c", console=QUIET
    )
    names = [child["name"] for child in summary["children"]]
    assert names == ["repeat-1-fold-1", "repeat-1-fold-2", "repeat-2-fold-1", "repeat-2-fold-2"]
    for repeat in (1, 2):
        paths = [p for fold in (1, 2) for p in read_csv(out / f"repeat-{repeat}-fold-{fold}" / "predictions.csv").paths]
        assert sorted(paths) == sorted(r.path for r in scans.records)
    assert summary["test"]["kind"] == "repeats"
    assert (summary["test"]["runs"], summary["test"]["n"]) == (2, len(scans))
    accuracy = summary["test"]["metrics"]["accuracy"]
    assert accuracy["mean"]["low"] <= accuracy["mean"]["value"] <= accuracy["mean"]["high"]
    folds = {read_json(out / n / "split.json")["sha256"] for n in names}
    assert len(folds) == 4
    assert render_summary(out).is_file()


def test_seeds_are_summed_up_on_test_images_without_copies(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "scans", per_class=16, test_per_class=8)
    planted = sorted(root.glob("Testing/*/*.png"))[::4]
    for number, path in enumerate(planted):
        shutil.copy(path, root / "Training" / path.parent.name / f"copy-{number}.png")
    out = tmp_path / "seeds"
    summary = train_repeated(
        recipe(stage=SHORT),
        load(root),
        Repetition(seeds=2),
        out=out,
        command="c",
        accept_leaks=True,
        console=QUIET,
    )
    tables = [read_csv(out / f"seed-{seed}" / "predictions.csv") for seed in (0, 1)]
    gone = {path.relative_to(root).as_posix() for path in planted}
    clean = summary["subsets"]["no copy in training"]
    assert clean["n"] == len(tables[0]) - len(planted)
    right = [
        [right for path, right in zip(t.paths, t.correct.tolist(), strict=True) if path not in gone] for t in tables
    ]
    assert clean["metrics"]["accuracy"]["mean"]["value"] == pytest.approx(np.mean(right))
    assert summary["subsets"]["copy in training"]["n"] == len(planted)
    page = render_summary(out).read_text(encoding="utf-8")
    assert "test images: no copy in training" in page


def test_seeds_share_the_split_and_a_killed_series_goes_on(
    scans: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "seeds"
    train = vars(module)["train"]

    def second_dies(*args: Any, **kwargs: Any) -> Any:
        if str(kwargs["out"]).endswith("seed-1"):
            raise MemoryError
        return train(*args, **kwargs)

    monkeypatch.setattr(module, "train", second_dies)
    arguments = (recipe(stage=SHORT), scans, Repetition(seeds=3))
    with pytest.raises(MemoryError):
        train_repeated(*arguments, out=out, command="c", console=QUIET)
    first = (out / "seed-0" / "run.json").stat().st_mtime_ns
    monkeypatch.setattr(module, "train", train)
    (out / "seed-1").mkdir()
    (out / "seed-1" / "split.json").write_text("{}")  # killed before the first checkpoint
    with pytest.raises(IntegrityError, match="another recipe"):
        train_repeated(
            recipe(stage=SHORT, train={"batch_size": 8}),
            *arguments[1:],
            out=out,
            command="c",
            console=QUIET,
            resume=True,
        )
    with pytest.raises(UsageError, match="not empty"):
        train_repeated(*arguments, out=out, command="c", console=QUIET)
    summary = train_repeated(*arguments, out=out, command="c", console=QUIET, resume=True)
    assert (out / "seed-0" / "run.json").stat().st_mtime_ns == first
    assert [c["seed"] for c in summary["children"]] == [0, 1, 2]
    assert len({read_json(out / c["name"] / "split.json")["sha256"] for c in summary["children"]}) == 1
    assert len({c["bundle"] for c in summary["children"]}) == 3
    assert summary["test"]["kind"] == "seeds"
    assert summary["validation"]["runs"] == 3


@pytest.mark.parametrize("wrong", [{"seeds": 2, "folds": 5}, {"repeats": 2}, {"seeds": 0}])
def test_contradictory_repetitions(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        Repetition(**wrong)
