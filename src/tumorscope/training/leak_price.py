"""What a leak is worth: one recipe under leaking and clean splits, same seeds, same test images.

In: a recipe and data with an official test part. Out: run folders, one an arm and seed, and `leak-price.json` with
accuracies, gaps and their intervals. Finished runs are kept when the command is run again with `resume`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

import tumorscope
from tumorscope.core.files import write_json
from tumorscope.core.types import Targets
from tumorscope.data.manifest import Manifest
from tumorscope.data.splitting import groups_of
from tumorscope.evaluation.intervals import as_json
from tumorscope.evaluation.predictions import read_csv
from tumorscope.evaluation.resampling import Floats
from tumorscope.evaluation.shares import mean_contrast, mean_gap, mean_share
from tumorscope.training.leak_arms import Arm, Twins, make_arms
from tumorscope.training.parts import rules_of
from tumorscope.training.recipe import Recipe
from tumorscope.training.resolve import as_planned, resolve
from tumorscope.training.run import check_out, find_copies, train

GAPS = (
    ("leak of copies", "deduplicated-control", "deduplicated"),
    ("leak of copies and likely patients", "patient-likely-control", "patient-likely"),
    ("copies, and the data they are", "official", "deduplicated"),
    ("copies and likely patients, and the data they are", "official", "patient-likely"),
)
"""Paired differences of accuracy on the official test images: name, first arm, second arm."""


def leak_price(
    recipe: Recipe,
    manifest: Manifest,
    *,
    out: Path,
    command: str,
    seeds: int = 1,
    resume: bool = False,
    console: Console | None = None,
) -> dict[str, Any]:
    """Train every arm and write `leak-price.json`.

    Args:
        recipe: Its seed is the first one.
        manifest: The data, with an official test part.
        out: Folder of the runs; new or empty, or a stopped one with `resume`.
        command: The command that rebuilds all of it.
        seeds: Seeds of each arm.
        resume: Keep finished runs, go on with the stopped one.
        console: Where progress goes.

    Returns:
        The content of `leak-price.json`.

    Raises:
        UsageError: If `out` is not empty and `resume` is off.
        DataError: If there is no official test part, or nothing leaks.
    """
    console = console or Console(stderr=True)
    check_out(out, resume=resume)
    asked = recipe
    recipe = resolve(recipe, manifest)
    survey = find_copies(manifest, console)
    base = recipe.train.seed
    arms, twins = make_arms(manifest, survey, seed=base, rules=rules_of(recipe))
    jobs = [(arm, base + s) for s in range(seeds) for arm in arms]
    for number, (arm, seed) in enumerate(jobs, start=1):
        folder = out / arm.name / f"seed-{seed}"
        console.print(f"\n[bold]{arm.name}, seed {seed}[/bold] ({number} of {len(jobs)})", highlight=False)
        run = train(
            recipe.model_copy(update={"train": recipe.train.model_copy(update={"seed": seed})}),
            manifest,
            out=folder,
            command=command,
            split=arm.split,
            accept_leaks=True,
            resume=resume and folder.is_dir() and any(folder.iterdir()),
            console=console,
            stamps=[f"One arm of a leak price: {arm.name}."],
        )
        recipe = as_planned(recipe, run.folder)
    groups = groups_of(manifest, survey)
    content = {
        "tumorscope": tumorscope.__version__,
        "recipe": asked.name,
        "recipe_sha256": asked.sha256,
        "command": command,
        "data_sha256": manifest.sha256,
        "seeds": seeds,
        **_figures(manifest, arms, twins, groups, {a.name: _shares(manifest, a, out) for a in arms}),
    }
    write_json(out / "leak-price.json", content)
    return content


def _test_rows(manifest: Manifest, arm: Arm) -> NDArray[np.int64]:
    return arm.split.rows(manifest, "test")


def _shares(manifest: Manifest, arm: Arm, out: Path) -> Floats:
    """(n,) share of seeds that are right, for the arm's test images in the manifest's order."""
    rights = []
    for file in sorted((out / arm.name).glob("seed-*/predictions.csv")):
        table = read_csv(file)
        right = dict(zip(table.paths, table.correct.tolist(), strict=True))
        rights.append([right[manifest.records[i].path] for i in _test_rows(manifest, arm).tolist()])
    shares: Floats = np.asarray(rights, dtype=np.float64).mean(axis=0)
    return shares


def _figures(
    manifest: Manifest, arms: tuple[Arm, ...], twins: Twins, groups: Targets, shares: Mapping[str, Floats]
) -> dict[str, Any]:
    """Accuracies of every arm on all test images and its subsets, and the gaps between arms."""
    official = _test_rows(manifest, arms[0])
    codes = np.unique(groups[official], return_inverse=True)[1].astype(np.int64)
    targets = manifest.targets[official]
    subsets = {
        "all test images": np.ones(len(official), dtype=np.bool_),
        "with a copy in training": twins.copy,
        "without a copy in training": ~twins.copy,
        "without a copy or likely patient in training": ~twins.likely,
    }
    subsets = {name: chosen for name, chosen in subsets.items() if chosen.any()}
    table = []
    for arm in arms:
        row: dict[str, Any] = {
            "arm": arm.name,
            "train": int(sum(arm.split.counts(manifest)["train"].values())),
            "val": int(sum(arm.split.counts(manifest)["val"].values())),
            "removed": dict(arm.removed),
            "short": dict(arm.short),
            "accuracy": {},
        }
        if arm.name == "grouped":
            own = _test_rows(manifest, arm)
            own_codes = np.unique(groups[own], return_inverse=True)[1].astype(np.int64)
            estimate = mean_share(shares[arm.name], codes=own_codes, targets=manifest.targets[own])
            row["accuracy"]["own test images"] = {"n": len(own), **as_json(estimate)}
        else:
            for name, chosen in subsets.items():
                estimate = mean_share(shares[arm.name][chosen], codes=_dense(codes[chosen]), targets=targets[chosen])
                row["accuracy"][name] = {"n": int(chosen.sum()), **as_json(estimate)}
        table.append(row)
    gaps = []
    for title, first, second in GAPS:
        for name, chosen in subsets.items():
            estimate = mean_gap(
                shares[first][chosen],
                shares[second][chosen],
                codes=_dense(codes[chosen]),
                targets=targets[chosen],
            )
            gaps.append(
                {"gap": title, "of": first, "minus": second, "on": name, "n": int(chosen.sum()), **as_json(estimate)}
            )
    contrast = mean_contrast(shares["official"], twins.copy.astype(np.int64), codes=codes, targets=targets)
    return {
        "test_images": len(official),
        "with_copy": int(twins.copy.sum()),
        "with_copy_or_patient": int(twins.likely.sum()),
        "arms": table,
        "gaps": gaps,
        "twins_against_others": {
            "on": "official arm: test images with a copy in training minus those without",
            **as_json(contrast),
        },
    }


def _dense(codes: Targets) -> Targets:
    """Group numbers without gaps."""
    return np.unique(codes, return_inverse=True)[1].astype(np.int64)
