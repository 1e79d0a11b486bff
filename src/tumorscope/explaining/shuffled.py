"""A run that was taught shuffled labels, as a control: what the images and the boxes teach without the classes.

In: its folder, and the run that it is a control for. Out: its model, checked to be asked alike, and where it differs.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from tumorscope.bundle.bundle import Bundle, load_bundle
from tumorscope.core.errors import UsageError
from tumorscope.core.files import read_json
from tumorscope.explaining.asking import Subject


def shuffled_model(folder: Path, run: Path, bundle: Bundle) -> tuple[Subject, list[str]]:
    """The model of a run that was taught shuffled labels of the same images, and where its recipe differs.

    Args:
        folder: The run with shuffled labels.
        run: The run it is a control for.
        bundle: The model of that run.

    Returns:
        The model; and for each setting besides the shuffling that differs, "part.key = value instead of value".

    Raises:
        UsageError: If its labels were not shuffled, if it was trained on other data or another split, or if it takes
            other images or knows other classes.
    """
    recipe = _settings(folder)
    control = recipe.get("train.control", "not known")
    if control != "permuted-labels":
        raise UsageError(
            f"the labels of this run were not shuffled: control = {control!r}",
            expected='a run with train.control = "permuted-labels"',
            where=folder,
            fix="train it with --set train.control=permuted-labels",
        )
    other = load_bundle(folder)
    for what in ("classes", "preprocessing"):
        theirs, ours = getattr(other.card, what), getattr(bundle.card, what)
        if theirs != ours:
            raise UsageError(
                f"the run with shuffled labels has other {what}: {theirs}",
                expected=f"{ours}",
                where=folder,
                fix="train it on the same data with the same [image] part",
            )
    first, second = (read_json(place / "run.json")["hashes"] for place in (folder, run))
    for what in ("data", "split"):
        if first[what] != second[what]:
            raise UsageError(
                f"the run with shuffled labels has another {what} than {run}",
                expected="a run on the same data, split the same way: it must not have seen what is scored",
                where=folder,
                fix="train it by the run's own command with --set train.control=permuted-labels",
            )
    own = _settings(run)
    differences = [
        f"{key} = {recipe.get(key)} instead of {own.get(key)}"
        for key in sorted(recipe.keys() | own.keys())
        # an empty setting that the other run's version did not know yet is none
        if key != "train.control" and (recipe.get(key) or None) != (own.get(key) or None)
    ]
    return Subject.of(other), differences


def _settings(run: Path) -> dict[str, Any]:
    """Every setting of a run's resolved recipe, "part.key" to value; none where there is no such file."""
    path = run / "recipe.resolved.toml"
    found: dict[str, Any] = {}

    def walk(before: str, table: dict[str, Any]) -> None:
        for key, value in table.items():
            if isinstance(value, dict):
                walk(f"{before}{key}.", value)
            else:
                found[before + key] = value

    if path.is_file():
        walk("", tomllib.loads(path.read_text("utf-8")))
    return found
