"""What a sweep tries: the points of a grid, or points drawn from lists and ranges.

In: a recipe with its `[sweep]` table. Out: a `Space`, whose points are `{recipe key: value}`, each checked against the
recipe before anything is trained. Points change how a network is trained, never which images are used or judged.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tumorscope.core.errors import UsageError
from tumorscope.training.recipe import (
    Recipe,
    Scalar,
    Sweep,
    SweepRange,
    load_recipe,
    parse_recipe,
    read_override,
    with_values,
)

Point = dict[str, Scalar]
MOST_POINTS = 5_000
"""Points of a grid; more would take days, and a sampler finds good points among them sooner."""
ROOTS = ("image", "augment", "model", "train", "stage")
NOT_TUNED = {
    "train.seed": "the best of many seeds is luck; the winner is trained with several",
    "train.control": "a control must fail to learn",
    "train.monitor": "it chooses epochs within a point, so that points could not be compared",
    "train.early_stop.monitor": "it chooses epochs within a point, so that points could not be compared",
}
LOSS_SCALE = ("train.loss", "train.pos_weight", "train.class_weights", "train.label_smoothing", "train.attend")


@dataclass(frozen=True)
class Axis:
    """One recipe key and what is tried: a list of values, or a range of numbers.

    Attributes:
        key: Dotted recipe key.
        choices: The values of a list; empty for a range.
        low: Lower end of a range.
        high: Upper end, included.
        log: The range is drawn from evenly in its logarithm.
    """

    key: str
    choices: tuple[Scalar, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False

    @property
    def whole(self) -> bool:
        """True for a range of whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def samples(self) -> tuple[Scalar, ...]:
        """All values of a list, the ends of a range."""
        return self.choices or (self.low, self.high)

    def draw(self, rng: np.random.Generator) -> Scalar:
        """A value drawn evenly."""
        if self.choices:
            return self.choices[int(rng.integers(len(self.choices)))]
        if self.whole and not self.log:
            return int(rng.integers(int(self.low), int(self.high), endpoint=True))
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        value = float(rng.uniform(low, high))
        value = min(max(math.exp(value) if self.log else value, self.low), self.high)
        return round(value) if self.whole else value

    def to_json(self) -> dict[str, Any]:
        """For `sweep.json`."""
        if self.choices:
            return {"key": self.key, "choices": list(self.choices)}
        return {"key": self.key, "low": self.low, "high": self.high, "log": self.log}


@dataclass(frozen=True)
class Space:
    """All that is tried.

    Attributes:
        axes: What differs between points, in the recipe's order.
        fixed: What all points share beside the recipe itself.
    """

    axes: tuple[Axis, ...]
    fixed: Mapping[str, Scalar | list[Scalar]]

    @property
    def size(self) -> int | None:
        """Points of the grid; None where a range has no number of points."""
        return math.prod(len(a.choices) for a in self.axes) if all(a.choices for a in self.axes) else None

    def grid(self) -> Iterator[Point]:
        """Every point, the last key changing fastest."""
        for values in itertools.product(*(a.choices for a in self.axes)):
            yield dict(zip((a.key for a in self.axes), values, strict=True))

    def some_point(self) -> Point:
        """The first point of a grid, or a drawn one: for what is measured once for all points."""
        return next(self.grid()) if self.size else self.drawn(0, 0)

    def drawn(self, seed: int, slot: int) -> Point:
        """The point number `slot` of a random search; depends on nothing else."""
        rng = np.random.default_rng([seed, 0x5EE9, slot])
        return {a.key: a.draw(rng) for a in self.axes}

    def recipe(self, base: Recipe, point: Mapping[str, Scalar]) -> Recipe:
        """The recipe of a point; raises UsageError if it contradicts itself."""
        return with_values(base, {**self.fixed, **point}, where="[sweep]")


def recipe_with_sweep(name_or_path: str, overrides: Sequence[str], space: Sequence[str]) -> Recipe:
    """Load a recipe that is to be swept.

    Args:
        name_or_path: Shipped name or `.toml` file.
        overrides: `key=value` strings; those that begin with `sweep.` need no `[sweep]` table in the file.
        space: `key=[values]` strings; given, they take the place of the recipe's own space.

    Raises:
        UsageError: With every mistake at once; or if nothing says what to try.
    """
    of_sweep = [o for o in overrides if o.startswith("sweep.")]
    recipe = load_recipe(name_or_path, [o for o in overrides if o not in of_sweep])
    table: dict[str, Any] = {} if recipe.sweep is None else recipe.sweep.model_dump(exclude_none=True)
    for override in of_sweep:
        key, value = read_override(override, where="--set")
        name = key.removeprefix("sweep.")
        if "." in name and name.partition(".")[0] in ("space", "fixed"):
            raise UsageError(
                f"{name.partition('.')[0]!r} cannot be set so",
                expected="--space 'stage.all.lr=[1e-3, 1e-4]' for what is tried, --set KEY=VALUE for what is fixed",
                where="--set",
                fix="write it so, or write it into the recipe's [sweep] table",
            )
        table[name] = value
    if space:
        table["space"] = dict(read_override(one, where="--space") for one in space)
        table["fixed"] = {k: v for k, v in table.get("fixed", {}).items() if k not in table["space"]}
    # what was set by hand stands above what the table fixes
    by_hand = {read_override(o, where="--set")[0] for o in overrides if o not in of_sweep}
    if "fixed" in table:
        table["fixed"] = {k: v for k, v in table["fixed"].items() if k not in by_hand}
    if not table.get("space"):
        raise UsageError(
            f"recipe {recipe.name!r} does not say what to try",
            expected="a [sweep] table with a space, or --space",
            where=name_or_path,
            fix="add --space 'stage.all.lr=[1e-3, 1e-4]' for each key, as often as needed",
        )
    return parse_recipe({**recipe.model_dump(exclude={"sweep"}), "sweep": table}, where=name_or_path)


def space_of(recipe: Recipe) -> Space:
    """The space of a recipe's sweep."""
    if recipe.sweep is None:
        raise AssertionError("the recipe has no sweep")
    return Space(tuple(_axis(key, values) for key, values in recipe.sweep.space.items()), dict(recipe.sweep.fixed))


def check_space(recipe: Recipe) -> Space:
    """The space of a recipe's sweep, every value tried against the recipe.

    Raises:
        UsageError: With every mistake at once: keys that are not tuned, ranges in a grid, values that the recipe
            refuses, a figure that cannot compare the points.
    """
    sweep, space = recipe.sweep, space_of(recipe)
    if sweep is None:
        raise AssertionError("the recipe has no sweep")
    axes = space.axes
    mistakes = [f"{a.key} is not tuned: {NOT_TUNED[a.key]}" for a in axes if a.key in NOT_TUNED]
    mistakes += [
        f"{key} is not tuned: keys begin with {', '.join(ROOTS)}; all points share the same data"
        for key in (*space.fixed, *(a.key for a in axes))
        if key.partition(".")[0] not in ROOTS
    ]
    mistakes += _sampler_mistakes(sweep, space)
    if sweep.metric == "val_loss":
        mistakes += [f"{a.key} changes what the loss means: choose another metric" for a in axes if a.key in LOSS_SCALE]
    if not mistakes:
        mistakes = _refused(recipe, space, every=sweep.sampler == "grid")
    if mistakes:
        raise UsageError(
            f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''} in the sweep:\n  - " + "\n  - ".join(mistakes),
            where="[sweep]",
            fix="correct the [sweep] table, --space or --set",
        )
    return space


def _axis(key: str, values: list[Scalar] | SweepRange) -> Axis:
    if isinstance(values, SweepRange):
        return Axis(key, low=values.low, high=values.high, log=values.log)
    return Axis(key, choices=tuple(values))


def _sampler_mistakes(sweep: Sweep, space: Space) -> list[str]:
    found = [
        f"{a.key}: a range of the picture's preparation; give a list, as each value is decoded beforehand"
        for a in space.axes
        if a.key.startswith("image.") and not a.choices
    ]
    if sweep.sampler == "grid":
        found += [f"{a.key}: a grid cannot walk a range; give a list" for a in space.axes if not a.choices]
        if (size := space.size or 0) > MOST_POINTS:
            found.append(f"a grid of {size:,} points, at most {MOST_POINTS:,}: take sampler = 'tpe' and a budget")
    elif sweep.trials is None and sweep.minutes is None:
        found.append(f"sampler = {sweep.sampler!r} has no end: give trials or minutes")
    return found


def _refused(recipe: Recipe, space: Space, *, every: bool) -> list[str]:
    """What the recipe says against points: every point of a grid, else each value in company that suits it."""
    if every:
        points: list[list[Point]] = [[p] for p in space.grid()]
    else:
        drawn = [space.drawn(0, slot) for slot in range(50)]
        points = [[{**p, a.key: v} for p in ({}, *drawn)] for a in space.axes for v in a.samples]
    found: dict[str, str] = {}
    for company in points:
        first = ""
        for point in company:
            try:
                space.recipe(recipe, point)
                break
            except UsageError as error:
                first = first or error.found.split("\n  - ", 1)[-1].replace("\n  - ", "; ")
        else:
            found.setdefault(first, ", ".join(f"{k} = {v!r}" for k, v in company[0].items()))
    return [f"{said} (with {point})" for said, point in list(found.items())[:10]]
