from __future__ import annotations

from pathlib import Path

import pytest

from tumorscope.core.errors import UsageError
from tumorscope.training.recipe import load_recipe, parse_recipe, shipped_recipes, to_toml

SHIPPED = {
    "breastmnist-cnn",
    "brain-mri-yesno-cnn",
    "brain-mri-yesno-resnet50",
    "brain-mri-4class-efficientnet",
    "brain-mri-boxes-resnet50",
    "brain-mri-4class-tinyvgg",
    "demo",
}


def test_what_is_shipped() -> None:
    assert set(shipped_recipes()) == SHIPPED


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_shipped_recipes_are_valid_and_round_trip(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    path = tmp_path / "copy.toml"
    path.write_text(to_toml(recipe), encoding="utf-8")
    again = load_recipe(str(path))
    assert again == recipe
    assert again.sha256 == recipe.sha256


def test_faithful_to_the_systems() -> None:
    """The rows of the five systems, as their authors describe them."""
    s0, s2 = load_recipe("breastmnist-cnn"), load_recipe("brain-mri-4class-efficientnet")
    s3, s4 = load_recipe("brain-mri-boxes-resnet50"), load_recipe("brain-mri-4class-tinyvgg")
    s1 = load_recipe("brain-mri-yesno-resnet50")
    assert (s0.image.size_px, s0.train.loss, s0.train.pos_weight) == (28, "bce", "auto")
    assert s0.data.positive == "malignant"
    assert (s0.stage["all"].optimizer, s0.stage["all"].schedule) == ("adam", "step")
    assert [s.trainable for s in s1.stage.values()] == ["head", "last:1"]
    assert (s1.model.name, s1.model.weights) == ("resnet50", "imagenet")
    assert (s2.model.name, s2.stage["all"].lr, s2.stage["all"].epochs) == ("efficientnet_b0", 1e-4, 20)
    assert s3.train.early_stop is not None
    assert (s3.train.early_stop.patience, s3.train.early_stop.min_delta) == (10, 0.001)
    assert (s3.stage["all"].schedule, s3.stage["all"].epochs) == ("plateau", 100)
    assert (s4.model.name, s4.stage["all"].optimizer) == ("tinyvgg", "adamax")


def test_overrides_reach_their_keys() -> None:
    recipe = load_recipe(
        "brain-mri-yesno-resnet50",
        [
            "stage.top.lr=5e-5",
            "model.weights=none",
            "train.seed=7",
            "model.options.pad_type=same",
            "image.trim=false",
        ],
    )
    assert recipe.stage["top"].lr == 5e-5
    assert (recipe.model.weights, recipe.train.seed, recipe.image.trim) == ("none", 7, False)
    assert recipe.model.options == {"pad_type": "same"}
    assert recipe.sha256 != load_recipe("brain-mri-yesno-resnet50").sha256


def test_every_mistake_at_once_with_the_nearest_key() -> None:
    raw = {
        "name": "x",
        "title": "x",
        "model": {"name": "cnn28", "wieghts": "none"},
        "train": {"batchsize": 8, "monitor": "accuracy"},
        "stage": {"all": {"epochs": 0, "optimiser": "adam"}},
        "imgae": {},
    }
    with pytest.raises(UsageError) as caught:
        parse_recipe(raw, where="file.toml")
    text = str(caught.value)
    for part in (
        "mistakes in the recipe",
        "model.wieghts: unknown key; did you mean 'weights'?",
        "train.batchsize: unknown key; did you mean 'batch_size'?",
        "stage.all.optimiser: unknown key; did you mean 'optimizer'?",
        "imgae: unknown key; did you mean 'image'?",
        "stage.all.lr: required",
        "stage.all.epochs",
        "train.monitor",
    ):
        assert part in text, part


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.loss=cross_entropy"], "pos_weight needs loss"),
        (["train.class_weights=balanced"], "bce takes pos_weight"),
        (["augment.scale=[1.2, 0.8]"], "scale must be"),
        (["train.seed"], "cannot read the override"),
        (["name.sub=1"], "is no table"),
        (["stage.all.trainable=last:0"], "trainable"),
        (["train.batch_size=yes"], "batch_size"),
    ],
)
def test_contradictions_are_errors(overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_recipe("breastmnist-cnn", overrides)


def test_unknown_recipe_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean breastmnist-cnn"):
        load_recipe("breastmnist-cn")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    with pytest.raises(UsageError, match="not valid TOML"):
        load_recipe(str(broken))


def test_the_order_of_stages_is_part_of_the_hash() -> None:
    recipe = load_recipe("brain-mri-yesno-resnet50")
    swapped = recipe.model_copy(update={"stage": dict(reversed(recipe.stage.items()))})
    assert swapped.sha256 != recipe.sha256


def test_text_that_is_not_utf8_is_a_usage_error(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes("title = 'Kopfhörer'".encode("latin-1"))
    with pytest.raises(UsageError, match="not UTF-8"):
        load_recipe(str(path))
