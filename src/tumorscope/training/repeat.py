"""The same recipe many times: several seeds on one split, or repeated grouped K-fold cross-validation.

In: a recipe and data. Out: one run folder a child, and `summary.json` with means, spread and intervals. The first child
runs alone and measures how steps are computed; the others run side by side where that leaves cores free, or one after
another where several processes train each of them together. Finished children are kept when the command is run again
with `resume`, so that a killed series goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from tumorscope.core.errors import UsageError
from tumorscope.core.files import read_json, write_json
from tumorscope.data.copies.survey import Survey
from tumorscope.data.manifest import Manifest
from tumorscope.data.split import Split
from tumorscope.data.splitting import make_folds
from tumorscope.evaluation.predictions import Predictions, read_csv
from tumorscope.evaluation.repeated import Aggregate, aggregate_repeats, aggregate_seeds, pool_folds
from tumorscope.training.children import Job, side_by_side, train_side_by_side
from tumorscope.training.parts import draw_split, overlaps
from tumorscope.training.processes import ALONE, Processes
from tumorscope.training.recipe import Recipe
from tumorscope.training.resolve import as_planned, resolve
from tumorscope.training.run import check_out, find_copies, train


@dataclass(frozen=True, slots=True)
class Repetition:
    """How often and on which parts.

    Attributes:
        seeds: Number of seeds on one split (1 with folds).
        folds: K of K-fold cross-validation; None trains on one split.
        repeats: Times the cross-validation is repeated with new folds.
    """

    seeds: int = 1
    folds: int | None = None
    repeats: int = 1

    def __post_init__(self) -> None:
        if self.seeds > 1 and self.folds is not None:
            raise UsageError(
                "--seeds and --folds together",
                expected="one of them: every fold already has its own seed",
                where="--seeds, --folds",
                fix="use --folds K --repeats R",
            )
        if self.repeats > 1 and self.folds is None:
            raise UsageError("--repeats without --folds", where="--repeats", fix="add --folds 5, or use --seeds")
        if min(self.seeds, self.repeats) < 1:
            raise UsageError("fewer than one run", where="--seeds, --repeats", fix="give 1 or more")

    @property
    def single(self) -> bool:
        """True for one ordinary run."""
        return self.seeds == 1 and self.folds is None


@dataclass(frozen=True)
class _Child:
    name: str
    recipe: Recipe
    split: Split
    repeat: int


def _children(
    recipe: Recipe, manifest: Manifest, copies: Survey, repetition: Repetition, split: Split | None
) -> list[_Child]:
    base = recipe.train.seed

    def seeded(seed: int) -> Recipe:
        return recipe.model_copy(update={"train": recipe.train.model_copy(update={"seed": seed})})

    if repetition.folds is None:
        common = split or draw_split(recipe, manifest, copies)
        return [_Child(f"seed-{base + s}", seeded(base + s), common, s) for s in range(repetition.seeds)]
    if split is not None:
        raise UsageError("--split with --folds", where="--split", fix="leave --split out: folds make their own")
    children = []
    for repeat in range(repetition.repeats):
        seed = base + repeat
        splits = make_folds(manifest, copies, folds=repetition.folds, seed=seed, val_fraction=recipe.data.val_fraction)
        children += [
            _Child(f"repeat-{repeat + 1}-fold-{fold + 1}", seeded(seed), s, repeat) for fold, s in enumerate(splits)
        ]
    return children


def train_repeated(
    recipe: Recipe,
    manifest: Manifest,
    repetition: Repetition,
    *,
    out: Path,
    command: str,
    split: Split | None = None,
    accept_leaks: bool = False,
    resume: bool = False,
    console: Console | None = None,
    stamps: Sequence[str] = (),
    workers: int | None = None,
    processes: Processes = ALONE,
) -> dict[str, Any]:
    """Train every child and write `summary.json`.

    Args:
        recipe: Its seed is the first one.
        manifest: The data.
        repetition: How often.
        out: Folder of the child runs; new or empty, or a stopped series with `resume`.
        command: The command that rebuilds all of it.
        split: For seeds: a split made before.
        accept_leaks: Train although copies or patients cross the split; every report is stamped.
        resume: Keep finished children, go on with the stopped one.
        console: Where progress goes.
        stamps: Sentences for every child's report.
        workers: Children at a time after the first; None as many as have cores of their own, one where they are
            short. The result is the same.
        processes: Those that train each child together; all call this with the same arguments.

    Returns:
        The content of `summary.json`; empty in all processes but the first.

    Raises:
        UsageError: If `out` is not empty and `resume` is off, or children are to go side by side in many processes.
    """
    console = processes.console(console or Console(stderr=True))
    if workers is not None and not processes.alone:
        raise UsageError(
            f"--workers in {processes.world} processes that train together",
            expected="one of them: runs side by side, or every run by all processes",
            where="--workers",
            fix="leave --workers out, or train in one process",
        )
    if processes.first:
        check_out(out, resume=resume)
    copies = find_copies(manifest, console) if processes.first else None

    def begin() -> tuple[list[_Child], list[bool]]:
        """The children, and which of them were begun before."""
        assert copies is not None
        found = _children(resolve(recipe, manifest), manifest, copies, repetition, split)
        folders = [out / child.name for child in found]
        return found, [resume and folder.is_dir() and any(folder.iterdir()) for folder in folders]

    children, begun = processes.from_first(begin)
    jobs = [
        Job(
            recipe=child.recipe,
            manifest=manifest,
            split=child.split,
            out=out / child.name,
            command=command,
            accept_leaks=accept_leaks,
            resume=before,
            stamps=tuple(stamps),
        )
        for child, before in zip(children, begun, strict=True)
    ]
    _train_all(jobs, workers=workers, console=console, processes=processes)
    if copies is None:
        return {}
    summary = summarise(recipe, [(c.name, c.repeat) for c in children], out, folds=repetition.folds)
    if repetition.folds is None:
        summary["subsets"] = _subsets(manifest, children, copies, out)
    summary["command"] = command
    write_json(out / "summary.json", summary)
    return summary


def _train_all(jobs: Sequence[Job], *, workers: int | None, console: Console, processes: Processes) -> None:
    """The first job alone, as it measures the plan; the others by that plan, side by side where cores are free."""
    first, *others = jobs

    def alone(job: Job, number: int) -> None:
        console.print(f"\n[bold]{job.out.name}[/bold] ({number} of {len(jobs)})", highlight=False)
        train(
            job.recipe,
            job.manifest,
            out=job.out,
            command=job.command,
            split=job.split,
            accept_leaks=job.accept_leaks,
            resume=job.resume,
            console=console,
            stamps=job.stamps,
            processes=processes,
        )

    alone(first, 1)
    recipes = processes.from_first(lambda: [as_planned(job.recipe, first.out) for job in others])
    others = [replace(job, recipe=recipe) for job, recipe in zip(others, recipes, strict=True)]
    together = workers
    if together is None:
        together = side_by_side(first.out, len(others)) if processes.alone else 1
    if min(together, len(others)) > 1:
        console.print(f"\n{len(others)} more, {together} at a time", highlight=False)
        train_side_by_side(others, workers=together, console=console)
        return
    for number, job in enumerate(others, start=2):
        alone(job, number)


def _series(out: Path, children: Sequence[tuple[str, int]], *, file: str, folds: int | None) -> Sequence[Predictions]:
    """One predictions table a seed, or one pooled table a repeat."""
    if folds is None:
        return [read_csv(out / name / file) for name, _ in children]
    repeats = sorted({repeat for _, repeat in children})
    return [
        pool_folds([read_csv(out / name / file) for name, repeat in children if repeat == wanted]) for wanted in repeats
    ]


def _subsets(manifest: Manifest, children: Sequence[_Child], copies: Survey, out: Path) -> dict[str, Any]:
    """Test figures of seeds on one split, on the test images without and with something shared with training."""
    split = children[0].split
    test = split.rows(manifest, "test")
    tables = [read_csv(out / child.name / "predictions.csv") for child in children]
    place = {manifest.records[i].path: position for position, i in enumerate(test.tolist())}
    found = {}
    for overlap in overlaps(manifest, split, copies, test):
        for name, chosen in overlap.subsets().items():
            if chosen.any():
                masks = [np.array([chosen[place[path]] for path in table.paths]) for table in tables]
                parts = [table.take(np.flatnonzero(mask)) for table, mask in zip(tables, masks, strict=True)]
                found[name] = aggregate_seeds(parts).to_json()
    return found


def summarise(recipe: Recipe, children: Sequence[tuple[str, int]], out: Path, *, folds: int | None) -> dict[str, Any]:
    """Aggregate finished children: test figures always, validation figures for seeds on one split."""
    tables = _series(out, children, file="predictions.csv", folds=folds)
    test: Aggregate = aggregate_seeds(tables) if folds is None else aggregate_repeats(tables)
    summary: dict[str, Any] = {
        "recipe": recipe.name,
        "title": recipe.title,
        "folds": folds,
        "test": test.to_json(),
        "children": [],
    }
    if folds is None:
        validation = _series(out, children, file="predictions-val.csv", folds=None)
        summary["validation"] = aggregate_seeds(validation).to_json()
    for name, repeat in children:
        evaluation = read_json(out / name / "evaluation.json")
        run = read_json(out / name / "run.json")
        summary["children"].append(
            {
                "name": name,
                "repeat": repeat,
                "seed": run["seed"],
                "n": evaluation["n"],
                "accuracy": evaluation["metrics"]["accuracy"],
                "auroc": evaluation["metrics"]["auroc"],
                "balanced_accuracy": evaluation["metrics"]["balanced_accuracy"],
                "epochs": sum(stage["epochs_run"] for stage in run["stages"]),
                "bundle": run["hashes"]["bundle"],
            }
        )
    return summary
