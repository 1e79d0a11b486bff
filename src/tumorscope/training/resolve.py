"""From a recipe as written to one that fits the data: "auto" values decided, contradictions refused."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path

from tumorscope.core.errors import DataError
from tumorscope.core.files import read_json
from tumorscope.core.types import Targets
from tumorscope.data.manifest import Manifest
from tumorscope.data.medmnist_catalogue import catalogue
from tumorscope.imaging.preprocess import Preprocessing
from tumorscope.training.losses import automatic_pos_weight
from tumorscope.training.plan import Plan, Way, Wishes
from tumorscope.training.recipe import Recipe


def resolve(recipe: Recipe, manifest: Manifest) -> Recipe:
    """The recipe with data-dependent "auto" values decided, checked against the data.

    Raises:
        DataError: If the data does not have the classes that the recipe names.
    """
    wanted = recipe.data.classes
    if wanted is not None and set(wanted) != set(manifest.classes):
        raise DataError(
            f"the data has the classes {list(manifest.classes)}",
            expected=f"{wanted}, as recipe {recipe.name!r} names them",
            where=manifest.root,
            fix="choose the data set the recipe is for, or --set 'data.classes=[...]' with the names of the data",
        )
    positive = recipe.data.positive or manifest.positive
    if positive is not None and (positive not in manifest.classes or len(manifest.classes) != 2):
        raise DataError(
            f"positive class {positive!r} with the classes {list(manifest.classes)}",
            expected="one of exactly two classes",
            where="[data] positive",
            fix="name one of them, or leave it out with more than two classes",
        )
    if manifest.info.name in catalogue() and manifest.positive and positive != manifest.positive:
        raise DataError(
            f"the recipe says that {positive!r} is the positive class",
            expected=f"{manifest.positive!r}, as the data set's catalogue has it",
            where="[data] positive",
            fix="use the catalogue's positive class: sensitivity and specificity would change places",
        )
    channels = recipe.image.channels
    if channels == "auto":
        channels = 1 if all(r.gray for r in manifest.records) else 3
    return recipe.model_copy(
        update={
            "image": recipe.image.model_copy(update={"channels": channels}),
            "data": recipe.data.model_copy(
                update={"classes": list(manifest.classes), "positive": positive},
            ),
        }
    )


def preprocessing_of(recipe: Recipe) -> Preprocessing:
    """Preprocessing of a resolved recipe."""
    image = recipe.image
    if image.channels == "auto":
        raise AssertionError("the recipe is not resolved")
    return Preprocessing(size_px=image.size_px, channels=image.channels, fit=image.fit, trim=image.trim)


def wishes_of(recipe: Recipe) -> Wishes:
    """What the recipe fixes of the execution plan."""
    part = recipe.train
    return Wishes(part.precision, part.memory_format, part.threads, part.compile)


def with_plan(recipe: Recipe, plan: Plan, train_targets: Targets, positive: int | None) -> Recipe:
    """The recipe with the measured plan and the computed weight written in: nothing "auto" is left.

    This is what `recipe.resolved.toml` holds; training it again takes the same decisions on any machine.
    """
    changes: dict[str, object] = asdict(plan.way)
    if recipe.train.pos_weight == "auto" and positive is not None:
        changes["pos_weight"] = automatic_pos_weight(train_targets, positive)
    stages = {name: stage.model_copy(update={"views": stage.kept_views}) for name, stage in recipe.stage.items()}
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=changes), "stage": stages})


def as_planned(recipe: Recipe, run: Path) -> Recipe:
    """The recipe with the execution plan that a finished run measured, so that runs to be compared compute alike."""
    plan = read_json(run / "run.json")["plan"]
    chosen = {field.name: plan[field.name] for field in fields(Way)}
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=chosen)})
