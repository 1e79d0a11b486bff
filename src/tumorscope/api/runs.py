"""Runs: train them, evaluate and compare them, render their pages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tumorscope.api.common import manifest_of, quiet_threads
from tumorscope.commands import PathLike, leak_price_command, rebuild_command
from tumorscope.core.errors import UsageError
from tumorscope.data.manifest import Manifest

if TYPE_CHECKING:
    from rich.console import Console

    from tumorscope.data.split import Split
    from tumorscope.evaluation.comparison import Comparison
    from tumorscope.training.processes import Processes


def train(
    recipe: str,
    data: Manifest | PathLike,
    *,
    out: PathLike,
    overrides: Sequence[str] = (),
    split: PathLike | None = None,
    seeds: int = 1,
    folds: int | None = None,
    repeats: int = 1,
    accept_leaks: bool = False,
    resume: bool = False,
    workers: int | None = None,
    command: str | None = None,
    console: Console | None = None,
    processes: Processes | None = None,
) -> Path:
    """Train a recipe, evaluate it, and write its report.

    In a script that `torchrun` started in several processes, all of them call this and train together.

    Args:
        recipe: Shipped name or `.toml` file.
        data: What `load` gives, or what it takes.
        out: Run folder; new or empty, or a stopped run with `resume`.
        overrides: `key=value` strings, such as "train.seed=3".
        split: Split file made before.
        seeds: Number of seeds on one split.
        folds: K of a grouped cross-validation.
        repeats: Times the cross-validation is repeated.
        accept_leaks: Train although copies or patients cross the split; the report is stamped.
        resume: Go on with a stopped run.
        workers: Runs of a series at a time after the first; None as many as have cores of their own.
        command: What the report gives as the command that rebuilds the run; made from the arguments by default.
        console: Where progress goes.
        processes: Those that train together, already joined; None joins those that `torchrun` started.

    Returns:
        The run folder; the first process alone has written it.

    Raises:
        UsageError: For a mistake in the recipe, the overrides or the output folder.
        DataError: If the data does not fit the recipe, or copies cross its split and `accept_leaks` is false.
        IntegrityError: If a checkpoint or split file does not belong to this run.
    """
    quiet_threads()
    from tumorscope.data.split import load_split
    from tumorscope.reporting.render import render_report
    from tumorscope.reporting.summary import render_summary
    from tumorscope.training.processes import joined
    from tumorscope.training.recipe import load_recipe
    from tumorscope.training.repeat import Repetition, train_repeated
    from tumorscope.training.run import train as train_one

    folder = Path(out)
    with joined() if processes is None else nullcontext(processes) as together:
        checked = load_recipe(recipe, overrides)
        manifest = data if isinstance(data, Manifest) else together.from_first(lambda: manifest_of(data))
        repetition = Repetition(seeds=seeds, folds=folds, repeats=repeats)
        given: Split | None = None
        if split is not None:
            given = together.from_first(lambda: load_split(Path(split), manifest))
        common: dict[str, Any] = {
            "command": command
            or rebuild_command(
                recipe,
                str(data.root) if isinstance(data, Manifest) else str(data),
                overrides,
                split=split,
                seeds=seeds,
                folds=folds,
                repeats=repeats,
                devices=together.world,
                accept_leaks=accept_leaks,
            ),
            "split": given,
            "accept_leaks": accept_leaks,
            "resume": resume,
            "console": console,
            "processes": together,
        }
        if repetition.single:
            train_one(checked, manifest, out=folder, **common)
            if together.first:
                render_report(folder)
            return folder
        summary = train_repeated(checked, manifest, repetition, out=folder, workers=workers, **common)
        if together.first:
            for child in summary["children"]:
                render_report(folder / child["name"])
            render_summary(folder)
    return folder


def leak_price(
    recipe: str,
    data: Manifest | PathLike,
    *,
    out: PathLike,
    overrides: Sequence[str] = (),
    seeds: int = 1,
    resume: bool = False,
    command: str | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """What the leak of an official split is worth in accuracy: one recipe under leaking and clean splits.

    Args:
        recipe: Shipped name or `.toml` file.
        data: What `load` gives, or what it takes; with a test part of its own.
        out: Folder of the runs; new or empty, or a stopped one with `resume`.
        overrides: `key=value` strings.
        seeds: Seeds of each arm.
        resume: Go on with stopped runs.
        command: What the page gives as the command; made from the arguments by default.
        console: Where progress goes.

    Returns:
        The content of `leak-price.json`; `leak-price.html` is written beside it.

    Raises:
        UsageError: For a mistake in the recipe, the overrides or the output folder.
        DataError: If there is no official test part, or nothing leaks.
    """
    quiet_threads()
    from tumorscope.reporting.leak_price_page import render_leak_price
    from tumorscope.reporting.render import render_report
    from tumorscope.training.leak_price import leak_price as price
    from tumorscope.training.recipe import load_recipe

    checked = load_recipe(recipe, overrides)
    manifest = manifest_of(data)
    if command is None:
        command = leak_price_command(recipe, str(manifest.root), overrides, seeds)
    folder = Path(out)
    content = price(checked, manifest, out=folder, command=command, seeds=seeds, resume=resume, console=console)
    for run in sorted(folder.glob("*/seed-*/run.json")):
        render_report(run.parent)
    render_leak_price(folder)
    return content


def evaluate(
    run: PathLike,
    data: Manifest | PathLike | None = None,
    *,
    name: str | None = None,
    part: str = "all",
    mapping: Mapping[str, str] | None = None,
    trained_on: Manifest | PathLike | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """The evaluation of a run: as it was made, or of its bundle on other data.

    Args:
        run: Run folder.
        data: Other data; None returns the run's own evaluation without opening test again.
        name: Folder for the new evaluation inside the run; the data's name by default.
        part: "all", "train", "val" or "test" of the other data.
        mapping: Class names of the data that the model calls otherwise.
        trained_on: The data that the run was trained on, so that near copies of its training images are told apart;
            without it only the same files and pixels are.
        console: Where progress goes.

    Returns:
        The content of `evaluation.json`.

    Raises:
        UsageError: If the folder is no finished run, or `trained_on` is given without data.
        DataError: If classes do not match, or the run was not trained on `trained_on`.
        IntegrityError: If the bundle fails its checks.
    """
    from tumorscope.core.files import read_json

    folder = Path(run)
    path = folder / "evaluation.json"
    if (folder / "summary.json").is_file():
        raise UsageError(
            "this is a series of runs",
            expected="one run folder",
            where=folder,
            fix="read its summary.html and summary.json, or name one of the runs inside it",
        )
    if not path.is_file():
        raise UsageError(
            "no evaluation.json here",
            expected="a finished run folder",
            where=folder,
            fix="finish it with `tumorscope train ... --resume`, or give another folder",
        )
    if data is None and trained_on is not None:
        raise UsageError(
            "nothing to hold against the run's training data",
            expected="--trained-on beside --data",
            where="--trained-on",
            fix="give other data with --data, or leave --trained-on out",
        )
    if data is None:
        stored: dict[str, Any] = read_json(path)
        return stored
    quiet_threads()
    from tumorscope.training.external import evaluate_on

    manifest = manifest_of(data)
    result = evaluate_on(
        folder,
        manifest,
        name=name or _plain_name("phantom" if manifest.layout == "phantom" else manifest.root.name, part),
        part=part,
        mapping=mapping,
        trained_on=None if trained_on is None else manifest_of(trained_on),
        console=console,
    )
    report(folder)
    return result


def _plain_name(text: str, part: str) -> str:
    """`text` as a folder name, with the part where it is not all of the data."""
    name = re.sub(r"[^\w.-]+", "-", text).strip("-.")[:60] or "data"
    return name if part == "all" else f"{name}-{part}"


def compare(runs: Sequence[PathLike], *, reference: PathLike | None = None) -> tuple[Comparison, ...]:
    """Compare runs on the test images they share, with paired tests and Holm's correction.

    Args:
        runs: Two or more run folders (or `predictions.csv` files).
        reference: Compare each against this one only.

    Raises:
        UsageError: Fewer than two runs, or a folder without predictions.
        DataError: No shared image, or other classes.
    """
    from tumorscope.evaluation.comparison import compare_many
    from tumorscope.evaluation.predictions import read_csv

    resolved = [Path(run).resolve() for run in runs]
    if len(set(resolved)) < len(resolved):
        raise UsageError(
            "a run is named twice", expected="different runs", where=", ".join(map(str, runs)), fix="name each once"
        )
    tables = {}
    for run in [*runs, *([reference] if reference is not None and reference not in runs else [])]:
        path = Path(run)
        file = path / "predictions.csv" if path.is_dir() else path
        if not file.is_file():
            raise UsageError(
                "no predictions.csv here",
                expected="a finished run folder, or a predictions.csv",
                where=path,
                fix="check the path; a series of runs is compared child by child",
            )
        tables[str(run)] = read_csv(file)
    return compare_many(tables, reference=None if reference is None else str(reference))


def report(run: PathLike) -> Path:
    """Render the page of a run, a series or a sweep again from its folder; returns the HTML file."""
    from tumorscope.reporting.render import render_report
    from tumorscope.reporting.summary import render_summary
    from tumorscope.reporting.sweep_page import render_sweep

    folder = Path(run)
    for name, render in (("summary.json", render_summary), ("sweep.json", render_sweep)):
        if (folder / name).is_file():
            return render(folder)
    return render_report(folder)
