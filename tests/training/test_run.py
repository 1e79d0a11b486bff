from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.scans import class_folders
from tumorscope.bundle.predictor import Predictor
from tumorscope.core.errors import DataError, IntegrityError, ResourceError, UsageError
from tumorscope.core.files import read_json
from tumorscope.data.load import load
from tumorscope.data.manifest import Manifest
from tumorscope.reporting.render import render_report
from tumorscope.training import checkpoint
from tumorscope.training import fit as fit_module
from tumorscope.training.recipe import Recipe, load_recipe, parse_recipe
from tumorscope.training.run import Run, train

QUIET = Console(quiet=True)
FILES = (
    "recipe.resolved.toml",
    "metrics.csv",
    "predictions.csv",
    "predictions-val.csv",
    "evaluation.json",
    "split.json",
    "data.json",
    "audit.json",
    "run.json",
    "images.csv",
    "samples.npz",
    "samples.json",
    "bundle/model.safetensors",
    "bundle/card.json",
    "bundle/probe.npz",
    "bundle/README.md",
)


def recipe(**changes: Any) -> Recipe:
    raw: dict[str, Any] = {
        "name": "tiny",
        "title": "tiny",
        "image": {"size_px": 32},
        "augment": {"rotate_deg": 5.0, "contrast": 0.2},
        "model": {"name": "cnn_bn", "dropout": 0.2},
        "train": {"batch_size": 16, "precision": "fp32", "memory_format": "contiguous", "threads": 1, "compile": False},
        "stage": {
            "first": {"epochs": 3, "lr": 3e-3, "optimizer": "adamw", "schedule": "one_cycle"},
            "second": {"epochs": 2, "lr": 1e-3, "trainable": "last:1", "schedule": "plateau"},
        },
    }
    for key, value in changes.items():
        raw[key] = {**raw.get(key, {}), **value} if key != "stage" else value
    return parse_recipe(raw, where="test")


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return load(class_folders(tmp_path_factory.mktemp("scans with space"), per_class=24, test_per_class=10))


@pytest.fixture(scope="module")
def finished(scans: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(recipe(), scans, out=tmp_path_factory.mktemp("runs") / "a", command="c", console=QUIET)


def read_rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}


def test_a_run_leaves_everything(finished: Run, scans: Manifest) -> None:
    for name in FILES:
        assert (finished.folder / name).is_file(), name
    assert not (finished.folder / "checkpoint.pt").exists()
    rows = read_rows(finished.folder / "metrics.csv")
    assert [r["stage"] for r in rows] == ["first"] * 3 + ["second"] * 2
    assert [int(r["epoch"]) for r in rows] == [1, 2, 3, 4, 5]
    evaluation = read_json(finished.folder / "evaluation.json")
    assert evaluation["n"] == 30
    assert evaluation["split"] == "test"
    assert set(evaluation["baselines"]) == {"majority_class", "intensity_histogram"}
    table = read_rows(finished.folder / "predictions.csv")
    assert sorted(r["path"] for r in table) == sorted(r.path for r in scans.records if r.split == "test")
    ledger = [json.loads(line) for line in (finished.folder / "ledger.jsonl").read_text().splitlines()]
    assert [(e["purpose"], e["split"], e["n"]) for e in ledger] == [("train", "test", 30)]
    record = read_json(finished.folder / "run.json")
    assert record["hashes"]["data"] == scans.sha256
    assert record["hashes"]["bundle"] == read_json(finished.folder / "bundle" / "card.json")["identity"]
    assert evaluation["provenance"]["hashes"]["bundle"] == record["hashes"]["bundle"]


def test_nothing_is_left_automatic_and_the_resolved_recipe_trains_the_same(scans: Manifest, tmp_path: Path) -> None:
    automatic = recipe(train={"precision": "auto", "memory_format": "auto"}, stage={"all": {"epochs": 1, "lr": 1e-3}})
    first = train(automatic, scans, out=tmp_path / "a", command="c", console=QUIET)
    resolved = load_recipe(str(first.folder / "recipe.resolved.toml"))
    assert "auto" not in {resolved.train.precision, resolved.train.memory_format, resolved.image.channels}
    again = train(resolved, scans, out=tmp_path / "b", command="c", console=QUIET)
    name = "bundle/model.safetensors"
    assert digests(again.folder)[name] == digests(first.folder)[name]


def test_same_seed_same_bytes_and_another_seed_not(finished: Run, scans: Manifest, tmp_path: Path) -> None:
    again = train(recipe(), scans, out=tmp_path / "b", command="c", console=QUIET)
    assert digests(again.folder) == digests(finished.folder)
    assert render_report(again.folder).read_bytes() == render_report(finished.folder).read_bytes()
    other = train(recipe(train={"seed": 1}), scans, out=tmp_path / "c", command="c", console=QUIET)
    assert digests(other.folder)["bundle/model.safetensors"] != digests(finished.folder)["bundle/model.safetensors"]


@pytest.mark.parametrize("epochs_before_kill", [1, 3, 4, 5])
def test_a_killed_run_resumes_to_the_same_bytes(
    finished: Run,
    scans: Manifest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    epochs_before_kill: int,
) -> None:
    save = checkpoint.save_checkpoint
    done = 0

    def killed_after(*args: Any, **kwargs: Any) -> None:
        nonlocal done
        save(*args, **kwargs)
        done += 1
        if done == epochs_before_kill:
            raise MemoryError("killed here")

    monkeypatch.setattr(fit_module, "save_checkpoint", killed_after)
    monkeypatch.setattr(fit_module, "CHEAP_SAVE_S", float("inf"))  # however slow the disk
    out = tmp_path / "killed"
    with pytest.raises(ResourceError):
        train(recipe(), scans, out=out, command="c", console=QUIET)
    assert not (out / "evaluation.json").exists()
    monkeypatch.setattr(fit_module, "save_checkpoint", save)
    resumed = train(recipe(), scans, out=out, command="c", console=QUIET, resume=True)
    assert digests(resumed.folder) == digests(finished.folder)


def test_slow_checkpoints_are_stored_less_often_and_a_killed_run_still_resumes_to_the_same_bytes(
    finished: Run, scans: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = checkpoint.save_checkpoint
    stored: list[tuple[int, int]] = []

    def slow(path: Path, state: Any, *args: Any) -> None:
        save(path, state, *args)
        stored.append((state.stage, state.epoch))
        if state.stage == 1:
            raise MemoryError("killed in the second stage")

    now = iter(range(10**6))
    monkeypatch.setattr(fit_module, "save_checkpoint", slow)
    monkeypatch.setattr(fit_module, "SAVE_SHARE", 1e-9)
    monkeypatch.setattr("time.perf_counter", lambda: float(next(now)))
    out = tmp_path / "killed"
    with pytest.raises(ResourceError):
        train(recipe(), scans, out=out, command="c", console=QUIET)
    assert stored == [(0, 1), (0, 3), (1, 1)]  # of the first stage its first epoch and its last
    monkeypatch.undo()
    resumed = train(recipe(), scans, out=out, command="c", console=QUIET, resume=True)
    assert digests(resumed.folder) == digests(finished.folder)


def test_resuming_a_finished_run_changes_nothing(finished: Run, scans: Manifest) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.folder.rglob("*")}
    again = train(recipe(), scans, out=finished.folder, command="c", console=QUIET, resume=True)
    assert again.evaluation == read_json(finished.folder / "evaluation.json")
    assert {p: p.stat().st_mtime_ns for p in finished.folder.rglob("*")} == before


def test_resuming_something_else_is_refused(scans: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = checkpoint.save_checkpoint

    def killed(*args: Any, **kwargs: Any) -> None:
        save(*args, **kwargs)
        raise MemoryError

    monkeypatch.setattr(fit_module, "save_checkpoint", killed)
    with pytest.raises(ResourceError):
        train(recipe(), scans, out=tmp_path / "a", command="c", console=QUIET)
    with pytest.raises(UsageError, match="not empty"):
        train(recipe(), scans, out=tmp_path / "a", command="c", console=QUIET)
    with pytest.raises(IntegrityError, match="another recipe"):
        train(recipe(train={"seed": 5}), scans, out=tmp_path / "a", command="c", console=QUIET, resume=True)
    (tmp_path / "a" / "checkpoint.pt").write_bytes(b"PK\x03\x04broken")
    with pytest.raises(IntegrityError, match="cannot be read"):
        train(recipe(), scans, out=tmp_path / "a", command="c", console=QUIET, resume=True)
    with pytest.raises(UsageError, match="nothing to resume"):
        train(recipe(), scans, out=tmp_path / "new", command="c", console=QUIET, resume=True)


def test_predictor_gives_what_the_table_says(finished: Run, scans: Manifest) -> None:
    predictor = Predictor.load(finished.folder)
    rows = [i for i, r in enumerate(scans.records) if r.split == "test"]
    table = {r["path"]: r for r in read_rows(finished.folder / "predictions.csv")}
    for i, probs in zip(rows, predictor.predict(scans.pixels(rows)), strict=True):
        row = table[scans.records[i].path]
        assert [float(row[f"prob_{c}"]) for c in scans.classes] == pytest.approx(probs.tolist(), abs=1e-5)


def test_it_learns(scans: Manifest, tmp_path: Path) -> None:
    stage = {"all": {"epochs": 25, "lr": 3e-3, "optimizer": "adamw", "schedule": "one_cycle"}}
    run = train(
        recipe(stage=stage, augment={"rotate_deg": 0.0}),
        scans,
        out=tmp_path / "a",
        command="c",
        console=QUIET,
    )
    assert run.evaluation["metrics"]["accuracy"]["value"] > 0.8
    assert run.evaluation["baselines"]["majority_class"]["verdict"] == "better"


def test_early_stopping_and_best_epoch(scans: Manifest, tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "train": {"early_stop": {"patience": 2, "min_delta": 10.0}},
        "stage": {"all": {"epochs": 9, "lr": 1e-3}},
    }
    run = train(recipe(**changes), scans, out=tmp_path / "a", command="c", console=QUIET)
    (stage,) = read_json(run.folder / "run.json")["stages"]
    assert stage["stopped_early"]
    assert stage["epochs_run"] == 3  # the first sets the mark, two do not beat it by 10
    rows = read_rows(run.folder / "metrics.csv")
    losses = [float(r["val_loss"]) for r in rows]
    assert stage["best_epoch"] == losses.index(min(losses)) + 1


@pytest.mark.parametrize("trainable", ["head", "last:1"])
def test_kept_activations_train_to_what_images_do(scans: Manifest, tmp_path: Path, trainable: str) -> None:
    runs = {}
    for views in (0, 1):
        stage = {"top": {"epochs": 4, "lr": 1e-3, "trainable": trainable, "views": views}}
        still = recipe(stage=stage, augment={"rotate_deg": 0.0, "contrast": 0.0}, model={"dropout": 0.0})
        runs[views] = train(still, scans, out=tmp_path / str(views), command="c", console=QUIET)
    anew, once = (read_rows(runs[views].folder / "metrics.csv") for views in (0, 1))
    for a, b in zip(anew, once, strict=True):
        assert float(a["train_loss"]) == pytest.approx(float(b["train_loss"]), abs=1e-4)
        assert float(a["val_loss"]) == pytest.approx(float(b["val_loss"]), abs=1e-4)
    words = [read_json(runs[views].folder / "run.json")["stages"][0]["frozen"] for views in (0, 1)]
    assert words[0] == "the frozen part runs every epoch: views = 0"
    assert words[1].startswith("the frozen part ran once, on 1 plain view of each image")


def test_views_are_decided_by_the_stage() -> None:
    cases = (("all", "auto", 9, 0), ("head", "auto", 9, 1), ("last:2", "auto", 9, 4), ("last:2", "auto", 3, 3))
    for trainable, views, epochs, expected in (*cases, ("last:1", 7, 9, 7), ("head", 0, 9, 0), ("all", 5, 9, 0)):
        stage = {"trainable": trainable, "views": views, "epochs": epochs, "lr": 1e-3}
        assert recipe(stage={"a": stage}).stage["a"].kept_views == expected


def test_last_keeps_the_last_epoch(scans: Manifest, tmp_path: Path) -> None:
    run = train(recipe(train={"monitor": "last"}), scans, out=tmp_path / "a", command="c", console=QUIET)
    stages = read_json(run.folder / "run.json")["stages"]
    assert stages[-1]["best_epoch"] == len(read_rows(run.folder / "metrics.csv"))


def test_a_diverging_run_says_what_to_do(scans: Manifest, tmp_path: Path) -> None:
    stage = {"all": {"epochs": 3, "lr": 1e12, "optimizer": "sgd"}}
    with pytest.raises(DataError, match="lower the learning rate"):
        train(recipe(stage=stage), scans, out=tmp_path / "a", command="c", console=QUIET)


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [("adam", "step"), ("adamw", "cosine"), ("adamax", "one_cycle"), ("rmsprop", "plateau"), ("sgd", "none")],
)
def test_every_optimizer_with_every_schedule(scans: Manifest, tmp_path: Path, optimizer: str, schedule: str) -> None:
    stage = {"all": {"epochs": 2, "lr": 1e-3, "optimizer": optimizer, "schedule": schedule, "step_size": 1}}
    run = train(recipe(stage=stage), scans, out=tmp_path / "a", command="c", console=QUIET)
    rates = [float(r["lr"]) for r in read_rows(run.folder / "metrics.csv")]
    if schedule in ("step", "cosine"):
        assert rates[0] > rates[1]
    if schedule in ("none", "plateau"):
        assert rates == [1e-3, 1e-3]


def test_classes_and_positive_must_fit(scans: Manifest, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the data has the classes"):
        train(recipe(data={"classes": ["a", "b"]}), scans, out=tmp_path / "a", command="c", console=QUIET)
    with pytest.raises(DataError, match="positive class 'left'"):
        train(recipe(data={"positive": "left"}), scans, out=tmp_path / "b", command="c", console=QUIET)
    with pytest.raises(UsageError, match="two classes"):
        train(recipe(train={"loss": "bce"}), scans, out=tmp_path / "c", command="c", console=QUIET)
