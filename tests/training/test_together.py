"""Two processes train to what one does, count every image once, write once, and end together."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from tests.scans import class_folders
from tests.training.test_run import read_rows, recipe
from tests.training.together import CASES, NORMS, SERIES, norm_example, norm_of, run_case, start
from tumorscope import api
from tumorscope.core.files import read_json
from tumorscope.training.recipe import to_toml

FIGURES = ("lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy")
TOLERANCE = 1e-4
"""Relative: sums in another order differ in the last digits of float32, and a few steps of training make more of it."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """The folder of two processes that went through all cases, and what each of them found."""
    folder = tmp_path_factory.mktemp("pair")
    class_folders(folder / "scans", per_class=24, test_per_class=7)
    stage = {"all": {"epochs": 2, "lr": 3e-3, "optimizer": "adamw"}}
    (folder / "recipe.toml").write_text(to_toml(recipe(model={"dropout": 0.0}, stage=stage)), encoding="utf-8")
    for process in start(["-W", "ignore", "-m", "tests.training.together", str(folder)]):
        assert process.returncode == 0, process.stderr
    return folder, [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in (0, 1)]


def alike(ours: Path, theirs: Path) -> None:
    """The run folders of one process and of two tell the same, each image once."""
    for file in ("predictions.csv", "predictions-val.csv"):
        a, b = read_rows(ours / file), read_rows(theirs / file)
        assert [r["path"] for r in b] == [r["path"] for r in a]
        assert max(Counter(r["path"] for r in b).values()) == 1
        for column in (c for c in a[0] if c.startswith("prob_")):
            assert [float(r[column]) for r in b] == pytest.approx([float(r[column]) for r in a], abs=1e-3)
    for name in ("train_loss", "val_loss"):
        curves = [[float(r[name]) for r in read_rows(run / "metrics.csv")] for run in (ours, theirs)]
        assert curves[1] == pytest.approx(curves[0], rel=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_processes_give_the_curve_of_one(
    pair: tuple[Path, list[dict[str, Any]]], name: str, tmp_path: Path
) -> None:
    folder, found = pair
    alone = run_case(name, tmp_path)
    assert found[0][name] == found[1][name]
    rows = found[0][name]["rows"]
    assert len(rows) == len(alone.rows)
    for ours, theirs in zip(alone.rows, rows, strict=True):
        assert [theirs[f] for f in FIGURES] == pytest.approx([ours[f] for f in FIGURES], rel=TOLERANCE)
    assert found[0][name]["frozen"] == [s["frozen"] for s in alone.stages]
    weights = [torch.load(place / "checkpoint.pt", weights_only=True)["network"] for place in (tmp_path, folder / name)]
    for key, value in weights[0].items():
        torch.testing.assert_close(weights[1][key], value, atol=2e-4, rtol=1e-3, msg=key)


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_result(pair: tuple[Path, list[dict[str, Any]]]) -> None:
    _, found = pair
    assert found[0]["stopped"]["rows"] == found[0]["batch norm and class weights"]["rows"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NORMS)
def test_a_norm_counts_the_images_of_all(pair: tuple[Path, list[dict[str, Any]]], name: str) -> None:
    _, found = pair
    kind, parts = NORMS[name]
    expected = norm_of(*norm_example(kind))
    for rank, part in enumerate(parts):
        for key in ("found", "below"):
            torch.testing.assert_close(found[rank][name][key], expected[key][part], atol=1e-5, rtol=1e-5)
        for key in ("running_mean", "running_var", "num_batches_tracked"):
            torch.testing.assert_close(found[rank][name][key], expected[key])
    for key in ("weight.grad", "bias.grad"):  # the trainer adds them up
        torch.testing.assert_close(sum(f[name][key] for f in found), expected[key], atol=1e-4, rtol=1e-5)


@pytest.mark.slow
def test_every_image_is_counted_once_and_the_first_process_alone_writes(
    pair: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    folder, found = pair
    out = api.train(
        str(folder / "recipe.toml"), str(folder / "scans"), out=tmp_path / "alone", console=Console(quiet=True)
    )
    alike(out, folder / "run")
    assert len(read_rows(folder / "run" / "predictions.csv")) == 21
    assert read_json(folder / "run" / "evaluation.json")["n"] == 21
    assert len((folder / "run" / "ledger.jsonl").read_text().splitlines()) == 1
    record = read_json(folder / "run" / "run.json")
    assert record["processes"] == 2
    assert record["command"].endswith("--devices 2")
    assert (folder / "run" / "report.html").is_file()
    assert any("run" in path for path in found[0]["written"])
    assert found[1]["written"] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", SERIES)
def test_a_series_is_that_of_one_process(pair: tuple[Path, list[dict[str, Any]]], name: str, tmp_path: Path) -> None:
    folder, _ = pair
    out = api.train(
        str(folder / "recipe.toml"),
        str(folder / "scans"),
        out=tmp_path / "alone",
        console=Console(quiet=True),
        **SERIES[name],
    )
    ours, theirs = (read_json(place / "summary.json") for place in (out, folder / name))
    children = [child["name"] for child in ours["children"]]
    assert len(children) == 2
    assert [child["name"] for child in theirs["children"]] == children
    assert theirs["test"]["n"] == ours["test"]["n"]
    for child in children:
        alike(out / child, folder / name / child)
        assert (folder / name / child / "report.html").is_file()
    if name == "folds":
        tested = Counter(r["path"] for child in children for r in read_rows(folder / name / child / "predictions.csv"))
        assert len(tested) == ours["test"]["n"]
        assert set(tested.values()) == {1}
    assert (folder / name / "summary.html").is_file()


SPEAKS = """
import os, signal, sys
from tumorscope import cli
from tumorscope.core.errors import DataError
from tumorscope.training.processes import joined
def run():
    with joined() as processes:
        if not processes.first:
            {how}
        processes.total([1.0])
cli.app = run
cli.main()
"""


@pytest.mark.parametrize(
    ("how", "codes", "said"),
    [
        ("raise DataError('no such scan')", (3, 3), "error: no such scan"),
        ("os.kill(os.getpid(), signal.SIGKILL)", (5, -9), "error: another process of this run is gone"),
    ],
)
def test_an_error_in_one_process_ends_all_and_is_said_once(how: str, codes: tuple[int, int], said: str) -> None:
    ended = start(["-c", SPEAKS.format(how=how)])
    assert tuple(process.returncode for process in ended) == codes
    text = "".join(process.stderr for process in ended)
    assert text.count(said) == 1
    assert text.count("error") == 1
    assert "Traceback" not in text
