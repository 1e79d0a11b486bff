from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.sweeping.conftest import QUIET, recipe_of
from tumorscope.core.errors import DataError, IntegrityError, ResourceError, UsageError
from tumorscope.core.files import read_json, write_json
from tumorscope.core.types import ImageRecord, Pixels
from tumorscope.data.manifest import Manifest
from tumorscope.sweeping.job import load_job
from tumorscope.sweeping.processes import this_process
from tumorscope.sweeping.sweep import Budget
from tumorscope.training.recipe import load_recipe
from tumorscope.training.run import find_copies

Search = Callable[..., dict[str, Any]]


def scores(content: dict[str, Any]) -> list[Any]:
    return [(t["slot"], t["state"], t["point"], t["folds"]) for t in content["trials"]]


@pytest.fixture
def guarded(scans: Manifest) -> Manifest:
    """The scans, their copies known; reading a test image raises."""
    find_copies(scans, QUIET)

    def reader(root: Path, records: Sequence[ImageRecord]) -> Iterator[Pixels]:
        assert not [r.path for r in records if r.split == "test"], "a test image was read"
        return scans.reader(root, records)

    return replace(scans, reader=reader)


def test_a_grid_is_walked_without_the_test_part(search: Search, guarded: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    content = search(recipe_of(), out, guarded)
    assert [(t["slot"], t["state"]) for t in content["trials"]] == [(s, "done") for s in range(4)]
    assert len({str(t["point"]) for t in content["trials"]}) == 4
    assert all(len(t["folds"]) == 2 and t["mean"] == pytest.approx(sum(t["folds"]) / 2) for t in content["trials"])
    best = max(content["trials"], key=lambda t: (t["mean"], -t["slot"]))
    assert content["best"] == best
    # no file of the sweep names a test image
    names = [r.path for r in guarded.records if r.split == "test"]
    for path in out.rglob("*"):
        if path.is_file():
            text = path.read_bytes().decode("utf-8", "replace")
            assert not [n for n in names if n in text], path
    with pytest.raises(IntegrityError, match="decoded pixels"):
        list(load_job(out / "job").manifest.pixels())
    with (out / "trials.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert [float(r["mean"]) for r in rows] == pytest.approx([t["mean"] for t in content["trials"]])
    assert {r["stage.all.lr"] for r in rows} == {"0.003", "0.001"}
    recipe = load_recipe(str(out / "best.toml"))
    assert recipe.stage["all"].lr == best["point"]["stage.all.lr"]
    assert recipe.train.batch_size == best["point"]["train.batch_size"]
    assert recipe.sweep is None
    assert {p.name for p in out.iterdir()} >= {"journal.log", "sweep.json", "trials.csv", "best.toml", "job"}
    assert not (out / "parent.json").exists()


def test_the_guard_of_that_test_sees_a_test_image(guarded: Manifest) -> None:
    with pytest.raises(AssertionError, match="a test image was read"):
        list(guarded.pixels())


def test_equal_seeds_give_equal_scores_and_a_finished_sweep_stays(search: Search, tmp_path: Path) -> None:
    first = search(recipe_of(), tmp_path / "a")
    again = search(recipe_of(), tmp_path / "a")
    assert again["trials"] == first["trials"]
    assert scores(search(recipe_of(), tmp_path / "b")) == scores(first)


def test_a_smaller_budget_comes_first_and_is_raised_later(search: Search, tmp_path: Path) -> None:
    some = search(recipe_of(), tmp_path / "a", budget=Budget(trials=2))
    assert len(some["trials"]) == 2
    every = search(recipe_of(), tmp_path / "a")
    assert scores(every) == scores(search(recipe_of(), tmp_path / "b"))
    assert [t for t in scores(every) if t in scores(some)] == scores(some)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_search_of_ranges(sampler: str, search: Search, tmp_path: Path) -> None:
    space = {"stage.all.lr": {"low": 1e-4, "high": 1e-2, "log": True}, "image.size_px": [16, 20]}
    recipe = recipe_of(sampler=sampler, trials=3, space=space, folds=1)
    content = search(recipe, tmp_path / "a")
    assert len({t["point"]["stage.all.lr"] for t in content["trials"]}) == 3
    assert all(t["se"] is None and len(t["folds"]) == 1 for t in content["trials"])
    assert scores(search(recipe, tmp_path / "b")) == scores(content)


def test_time_ends_a_search_without_a_number(search: Search, tmp_path: Path) -> None:
    recipe = recipe_of(sampler="random", space={"stage.all.lr": {"low": 1e-4, "high": 1e-2}}, folds=1)
    content = search(recipe, tmp_path / "a", budget=Budget(minutes=0.02))
    assert len(content["trials"]) >= 1
    slots = [t["slot"] for t in content["trials"]]
    assert slots == list(range(len(slots)))


def test_a_point_that_fails_is_listed_and_never_the_best(search: Search, tmp_path: Path) -> None:
    recipe = recipe_of(space={"model.name": ["tinyvgg", "tinyvg"]}, fixed={"stage.all.epochs": 2}, metric="val_loss")
    content = search(recipe, tmp_path / "a")
    assert [t["state"] for t in content["trials"]] == ["done", "failed"]
    assert "tinyvg" in content["trials"][1]["reason"]
    assert content["best"]["point"] == {"model.name": "tinyvgg"}
    assert load_recipe(str(tmp_path / "a" / "best.toml")).stage["all"].epochs == 2
    assert [t["attempt"] for t in search(recipe, tmp_path / "a")["trials"]] == [1, 1]


def test_a_sweep_without_a_finished_point_says_why(
    search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverges(*_: Any, **__: Any) -> None:
        raise DataError("the training loss became nan")

    monkeypatch.setattr("tumorscope.sweeping.trial.score_point", diverges)
    with pytest.raises(DataError, match="no point was finished: the training loss became nan"):
        search(recipe_of(), tmp_path / "a")
    assert len(read_json(tmp_path / "a" / "sweep.json")["trials"]) == 4
    assert not (tmp_path / "a" / "best.toml").exists()


def test_ties_go_to_the_earlier_point(search: Search, tmp_path: Path) -> None:
    # the steps of the second key change nothing without a schedule
    content = search(recipe_of(space={"stage.all.step_size": [3, 4, 5]}), tmp_path / "a")
    assert len({t["mean"] for t in content["trials"]}) == 1
    assert content["best"]["slot"] == 0
    assert content["importance"]["shares"] == {}


@pytest.mark.parametrize(
    ("other", "name"),
    [
        (
            recipe_of().model_copy(
                update={"stage": {"all": recipe_of().stage["all"].model_copy(update={"epochs": 2})}}
            ),
            "recipe",
        ),
        (recipe_of(space={"stage.all.lr": [1e-3]}), "space"),
        (recipe_of(fixed={"stage.all.gamma": 0.25}), "space"),
        (recipe_of(folds=3), "folds"),
        (recipe_of(metric="val_auroc"), "sampler and metric"),
    ],
)
def test_another_sweep_in_the_folder_is_refused(other: Any, name: str, search: Search, tmp_path: Path) -> None:
    out = tmp_path / "a"
    search(recipe_of(), out, budget=Budget(trials=1))
    before = (out / "journal.log").read_bytes()
    with pytest.raises(IntegrityError, match=f"another {name}"):
        search(other, out)
    assert (out / "journal.log").read_bytes() == before


def test_folders_that_are_no_sweep_or_are_worked_at(search: Search, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds no sweep"):
        search(recipe_of(), full)
    with pytest.raises(UsageError, match="names a file"):
        search(recipe_of(), full / "notes.txt")
    busy = tmp_path / "busy"
    busy.mkdir()
    alive = {**this_process("parent").to_json(), "pid": 1, "started": _start_of(1)}
    write_json(busy / "parent.json", alive)
    with pytest.raises(UsageError, match="sweeps in this folder now"):
        search(recipe_of(), busy)
    write_json(busy / "parent.json", {**alive, "started": "-1"})  # that one vanished
    search(recipe_of(), busy, budget=Budget(trials=1))


def _start_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]


def test_a_control_is_not_swept_and_leaks_are_said_at_once(search: Search, tmp_path: Path, scans: Manifest) -> None:
    recipe = recipe_of()
    control = recipe.train.model_copy(update={"control": "permuted-labels"})
    with pytest.raises(UsageError, match="control run"):
        search(recipe.model_copy(update={"train": control}), tmp_path / "a")
    first = next(i for i, r in enumerate(scans.records) if r.split == "train")
    other = next(i for i, r in enumerate(scans.records) if r.split == "test")
    records = list(scans.records)
    records[other] = replace(
        records[other], sha256=records[first].sha256, pixels_sha256=records[first].pixels_sha256, patient="p"
    )
    records[first] = replace(records[first], patient="p")
    with pytest.raises(DataError, match="have a copy or their patient"):
        search(recipe, tmp_path / "b", replace(scans, records=tuple(records)))


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, search: Search, tmp_path: Path) -> None:
    monkeypatch.setattr("tumorscope.sweeping.extra.importlib.util.find_spec", lambda _: None)
    with pytest.raises(ResourceError, match=r"pip install 'tumorscope\[sweep\]'"):
        search(recipe_of(), tmp_path / "a")


def test_the_record_is_read_back(search: Search, tmp_path: Path) -> None:
    content = search(recipe_of(), tmp_path / "a")
    assert read_json(tmp_path / "a" / "sweep.json")["trials"] == content["trials"]
