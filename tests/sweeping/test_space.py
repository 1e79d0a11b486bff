from __future__ import annotations

from typing import Any

import pytest

from tests.sweeping.conftest import recipe_of
from tumorscope.core.errors import UsageError
from tumorscope.sweeping.space import check_space, recipe_with_sweep, space_of
from tumorscope.training.recipe import load_recipe, parse_recipe, shipped_recipes, to_toml, with_values


def test_the_shipped_grid_is_that_of_s0() -> None:
    space = check_space(load_recipe("breastmnist-cnn"))
    points = list(space.grid())
    assert space.size == len(points) == 36
    assert len({tuple(p.items()) for p in points}) == 36
    assert {p["stage.all.lr"] for p in points} == {1e-3, 1e-4, 1e-5}
    assert {p["train.batch_size"] for p in points} == {32, 64}
    assert {p["stage.all.optimizer"] for p in points} == {"adam", "adamw", "rmsprop"}
    assert {p["train.pos_weight"] for p in points} == {"auto", "none"}
    recipe = space.recipe(load_recipe("breastmnist-cnn"), points[-1])
    assert (recipe.stage["all"].epochs, recipe.stage["all"].schedule) == (25, "step")
    assert (recipe.stage["all"].lr, recipe.train.pos_weight, recipe.sweep) == (1e-5, "none", None)


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_sweep_changes_no_run(name: str) -> None:
    recipe = load_recipe(name)
    swept = parse_recipe(
        {**recipe.model_dump(), "sweep": {"space": {"train.batch_size": [4, 8]}, "folds": 2}}, where="test"
    )
    plain = recipe.model_copy(update={"sweep": None})
    assert swept.sha256 == recipe.sha256 == plain.sha256
    assert with_values(recipe, {"train.batch_size": 7}, where="test").sha256 != recipe.sha256


def test_a_recipe_with_ranges_round_trips(tmp_path: Any) -> None:
    recipe = recipe_of(
        sampler="tpe",
        trials=5,
        minutes=2.5,
        fixed={"stage.all.epochs": 2, "augment.scale": [0.9, 1.1]},
        space={"stage.all.lr": {"low": 1e-5, "high": 1e-2, "log": True}, "train.batch_size": {"low": 4, "high": 16}},
    )
    (tmp_path / "r.toml").write_text(to_toml(recipe), encoding="utf-8")
    again = load_recipe(str(tmp_path / "r.toml"))
    assert again == recipe
    assert [a.whole for a in space_of(again).axes] == [False, True]


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"space": {"stage.all.lrr": [1.0]}}, "stage.all.lrr: unknown key; did you mean 'lr'"),
        ({"space": {"stage.all.lr": [1e-3, -1.0]}}, "greater than 0"),
        ({"space": {"train.seed": [1, 2]}}, "the best of many seeds is luck"),
        ({"space": {"data.val_fraction": [0.1, 0.2]}}, "all points share the same data"),
        ({"fixed": {"data.policy": "grouped"}}, "all points share the same data"),
        ({"space": {"stage.all.lr": {"low": 1e-4, "high": 1e-2}}}, "a grid cannot walk a range"),
        ({"space": {"image.size_px": {"low": 16, "high": 32}}, "sampler": "tpe", "trials": 3}, "give a list"),
        ({"sampler": "tpe"}, "has no end"),
        ({"metric": "val_loss", "space": {"train.label_smoothing": [0.0, 0.1]}}, "changes what the loss means"),
        ({"space": {"train.pos_weight": ["none", "auto"]}}, "pos_weight needs loss"),
        ({"space": {"stage.all.epochs": list(range(1, 80)), "train.batch_size": list(range(2, 90))}}, "at most 5,000"),
    ],
)
def test_mistakes_are_said_before_anything_is_trained(sweep: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match="in the sweep") as caught:
        check_space(recipe_of(**sweep))
    assert message in str(caught.value)


def test_all_mistakes_at_once() -> None:
    with pytest.raises(UsageError, match="3 mistakes") as caught:
        check_space(recipe_of(sampler="random", space={"train.seed": [1], "data.policy": ["official"]}))
    assert "has no end" in str(caught.value)


def test_a_value_needs_one_company_that_suits_it() -> None:
    space = {"train.loss": ["cross_entropy", "bce"], "train.label_smoothing": [0.0, 0.1]}
    check_space(recipe_of(sampler="random", trials=4, space=space))
    with pytest.raises(UsageError, match="label_smoothing need loss"):
        check_space(recipe_of(space=space))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"space": {}}, "space"),
        ({"space": {"stage.all.lr": []}}, "at least one value"),
        ({"space": {"stage.all.lr": [1.0, 1.0]}}, "each one once"),
        ({"space": {"a": [1]}, "fixed": {"a": 1}}, "under fixed and under space"),
        ({"space": {"a": {"low": 2, "high": 1}}}, "low < high"),
        ({"space": {"a": [1]}, "sampler": "magic"}, "sweep.sampler"),
        ({"space": {"a": [1]}, "metric": "test_accuracy"}, "sweep.metric"),
        ({"space": {"a": [1]}, "smapler": "grid"}, "did you mean 'sampler'"),
    ],
)
def test_a_wrong_table_is_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match="mistake") as caught:
        parse_recipe({**recipe_of().model_dump(), "sweep": table}, where="test")
    assert message in str(caught.value)


def test_drawn_points_depend_on_seed_and_number_alone() -> None:
    space = space_of(
        recipe_of(
            space={
                "stage.all.lr": {"low": 1e-5, "high": 1e-2, "log": True},
                "stage.all.momentum": {"low": 0.1, "high": 0.9},
                "train.batch_size": {"low": 2, "high": 5},
                "stage.all.step_size": {"low": 1, "high": 100, "log": True},
                "stage.all.optimizer": ["adam", "sgd"],
            }
        )
    )
    points = [space.drawn(3, slot) for slot in range(300)]
    assert points == [space.drawn(3, slot) for slot in range(300)]
    assert points[0] != space.drawn(4, 0)
    rates = [float(p["stage.all.lr"]) for p in points]
    assert 1e-5 <= min(rates) < 1e-4
    assert 1e-3 < max(rates) <= 1e-2
    assert 0.3 < sum(r < 10**-3.5 for r in rates) / 300 < 0.7  # even in the logarithm
    assert {p["train.batch_size"] for p in points} == {2, 3, 4, 5}
    assert {p["stage.all.optimizer"] for p in points} == {"adam", "sgd"}
    assert all(isinstance(p["stage.all.step_size"], int) and 1 <= p["stage.all.step_size"] <= 100 for p in points)


def test_a_space_from_the_command_line() -> None:
    recipe = recipe_with_sweep("demo", ["train.seed=4", "sweep.folds=2"], ["stage.all.lr=[1e-3,1e-4]"])
    assert recipe.sweep is not None
    assert (recipe.train.seed, recipe.sweep.folds, recipe.sweep.space) == (4, 2, {"stage.all.lr": [1e-3, 1e-4]})
    with pytest.raises(UsageError, match="does not say what to try"):
        recipe_with_sweep("demo", ["sweep.folds=2"], [])
    with pytest.raises(UsageError, match="cannot read the override"):
        recipe_with_sweep("demo", [], ["stage.all.lr"])
    with pytest.raises(UsageError, match="cannot be set so"):
        recipe_with_sweep("demo", ["sweep.space.x=[1]"], [])


def test_what_is_set_by_hand_stands_above_what_the_table_fixes() -> None:
    recipe = recipe_with_sweep("breastmnist-cnn", ["stage.all.epochs=2"], ["stage.all.lr=[1e-3]"])
    assert recipe.sweep is not None
    assert "stage.all.epochs" not in recipe.sweep.fixed
    assert space_of(recipe).recipe(recipe, {}).stage["all"].epochs == 2
