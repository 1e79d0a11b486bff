from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sweeping.conftest import recipe_of
from tumorscope.sweeping.job import load_job
from tumorscope.sweeping.sweep import Budget
from tumorscope.sweeping.trial import planned, score_point, standard_error
from tumorscope.training import activations
from tumorscope.training.recipe import Recipe


def with_stages(**stages: dict[str, Any]) -> Recipe:
    raw = recipe_of(folds=3, space={f"stage.{next(iter(stages))}.lr": [1e-2, 1e-3]}).model_dump()
    return Recipe.model_validate({**raw, "stage": stages, "model": {"name": "cnn_bn"}})


HEAD = {"epochs": 1, "lr": 1e-2, "trainable": "head"}
LAST = {"epochs": 2, "lr": 1e-3, "trainable": "last:2", "views": 2}
ALL = {"epochs": 1, "lr": 1e-3}


@pytest.mark.parametrize(
    ("stages", "times"),
    [({"top": HEAD, "last": LAST}, 1), ({"all": ALL, "top": HEAD}, 2)],
    ids=["equal for all points", "another for each point"],
)
def test_a_frozen_part_runs_once_for_all_points_where_it_is_the_same(
    stages: dict[str, Any],
    times: int,
    search: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run: list[int] = []
    trunk_of = vars(activations)["trunk_of"]

    def counted(*arguments: Any) -> Any:
        run.append(len(arguments[1]))
        return trunk_of(*arguments)

    monkeypatch.setattr(activations, "trunk_of", counted)
    out = tmp_path / "a"
    content = search(with_stages(**stages), out)
    shared = sum(run)
    job = load_job(out / "job")
    assert len(content["trials"]) == 2
    for trial in content["trials"]:
        run.clear()
        alone = score_point(job, trial["point"], scratch=tmp_path / "scratch")
        assert sum(run) * times == shared > 0  # nothing is shared outside a sweep
        assert [s.value for s in alone] == trial["folds"]


def test_a_point_may_fix_what_the_plan_measured(search: Callable[..., Any], tmp_path: Path) -> None:
    search(recipe_of(), tmp_path / "a", budget=Budget(trials=1))
    job = load_job(tmp_path / "a" / "job")
    train = job.recipe.train
    plan = planned(job.recipe.model_copy(update={"train": train.model_copy(update={"precision": "bf16"})}), job.plan)
    assert (plan.precision, plan.threads, job.plan.precision, job.plan.threads) == ("bf16", 1, "fp32", 1)


def test_the_standard_error() -> None:
    assert standard_error([0.5]) is None
    assert standard_error([0.4, 0.6]) == pytest.approx(0.1)
