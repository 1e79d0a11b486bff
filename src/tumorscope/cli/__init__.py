"""The command line: one function a verb. Exit codes: 0 fine, 1 findings, 2 usage, 3 data, 4 integrity, 5 resources."""

from __future__ import annotations

import enum
import io
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tumorscope import __version__
from tumorscope.cli import audits, claims, datasets, models, recipes, sweeps
from tumorscope.cli.audits import Policy
from tumorscope.cli.common import (
    Data,
    Json,
    Out,
    PlanWords,
    Sets,
    TrainedOn,
    estimate_text,
    load_data,
    read_mapping,
    say_json,
    stderr,
)
from tumorscope.commands import rebuild_command
from tumorscope.core.errors import ResourceError, TumorscopeError, UsageError

app = typer.Typer(
    name="tumorscope",
    help="From a folder of scans to an honest, explained, deployable tumor classifier. Research use only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(recipes.app, name="recipes")
app.add_typer(datasets.app, name="datasets")
app.command()(audits.audit)
app.command()(audits.split)
app.command("leak-price")(audits.leak_price)
app.command()(sweeps.sweep)
app.command()(claims.claim)
app.command()(models.predict)
app.command()(models.package)
app.command()(models.card)
app.command()(models.export)
app.command()(models.explain)
app.command()(models.serve)


class Control(enum.StrEnum):
    """A run that must fail to learn."""

    PERMUTED = "permuted-labels"


INTERRUPTED = 130
"""Exit code after Ctrl-C."""


def _version(value: bool) -> None:
    if value:
        typer.echo(f"tumorscope {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """From a folder of scans to an honest, explained, deployable tumor classifier."""
    from tumorscope.training.processes import of_environment

    processes = of_environment(os.environ)
    if not processes.alone and context.invoked_subcommand != "train":
        raise UsageError(
            f"`{context.invoked_subcommand}` in {processes.world} processes",
            expected="`train`: the only verb whose processes work together",
            where="torchrun",
            fix="run it without torchrun; `sweep` and `predict` have options of their own for many processes",
        )


@app.command()
def demo(out: Out = Path("runs/demo"), json_: Json = False) -> None:
    """Train the small demo network on the embedded phantom set and write its report."""
    from tumorscope import api

    if out.exists() and not out.is_dir():
        raise UsageError("--out names a file", expected="a folder", where=out, fix="choose another name")
    folder = out = out.resolve()
    number = 2
    while folder.exists() and any(folder.iterdir()):
        folder = out.with_name(f"{out.name}-{number}")
        number += 1
    api.quiet_threads()
    manifest = load_data("phantom")
    command = rebuild_command("demo", "phantom", ())
    api.train("demo", manifest, out=folder, command=command, console=stderr())
    _finish(folder, json_)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Shipped recipe name or .toml file.")],
    data: Data,
    out: Out,
    set_: Sets = None,
    plan: PlanWords = None,
    split: Annotated[Path | None, typer.Option(help="Split file made by `tumorscope split`.")] = None,
    seeds: Annotated[int, typer.Option(help="Train this many seeds on one split.")] = 1,
    folds: Annotated[int | None, typer.Option(help="Grouped K-fold cross-validation.")] = None,
    repeats: Annotated[int, typer.Option(help="Repeat the cross-validation with new folds.")] = 1,
    workers: Annotated[
        int | None,
        typer.Option(help="Runs of a series at a time after the first; as many as have cores by default.", min=1),
    ] = None,
    devices: Annotated[
        int | None,
        typer.Option(help="Processes on this machine that train each run together, with a share of each batch.", min=1),
    ] = None,
    positive: Annotated[str | None, typer.Option(help="Positive class of a two-class problem.")] = None,
    policy: Annotated[Policy | None, typer.Option(help="How the test part comes about; see `split`.")] = None,
    accept_leaks: Annotated[
        bool, typer.Option("--accept-leaks", help="Train although copies cross the split; the report is stamped.")
    ] = False,
    control: Annotated[
        Control | None, typer.Option(help="Shuffle the labels of training: the run must land at chance.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped run.")] = False,
    json_: Json = False,
) -> None:
    """Train a recipe, open the test part once, and write the run folder with its report."""
    from tumorscope import api
    from tumorscope.training.launch import run_processes
    from tumorscope.training.plan_words import plan_overrides
    from tumorscope.training.processes import joined, launched
    from tumorscope.training.recipe import load_recipe

    api.quiet_threads()
    overrides = list(set_ or ())
    if positive is not None:
        overrides.append(f"data.positive={json.dumps(positive, ensure_ascii=False)}")
    if policy is not None:
        overrides.append(f"data.policy={policy.value}")
    if control is not None:
        overrides.append(f"train.control={control.value}")
    if plan is not None:
        overrides += plan_overrides(plan)
    if devices is not None and devices > 1 and not launched():
        load_recipe(recipe, overrides)
        run_processes(devices, sys.argv[1:])
        return
    with joined(devices) as processes:
        load_recipe(recipe, overrides)
        manifest = processes.from_first(lambda: load_data(data, positive))
        command = rebuild_command(
            recipe,
            data,
            overrides,
            split=split,
            seeds=seeds,
            folds=folds,
            repeats=repeats,
            devices=processes.world,
            accept_leaks=accept_leaks,
        )
        folder = api.train(
            recipe,
            manifest,
            out=out,
            overrides=overrides,
            split=split,
            seeds=seeds,
            folds=folds,
            repeats=repeats,
            accept_leaks=accept_leaks,
            resume=resume,
            workers=workers,
            command=command,
            console=stderr(),
            processes=processes,
        )
        if processes.first:
            _finish(folder, json_)


def _finish(folder: Path, json_: bool) -> None:
    """Say the result of a run or a series, and where its page lies."""
    from tumorscope.core.files import read_json

    if (folder / "summary.json").is_file():
        summary = read_json(folder / "summary.json")
        page = folder / "summary.html"
        if json_:
            say_json({"run": folder, "report": page, **summary})
            return
        for name in ("accuracy", "auroc", "balanced_accuracy"):
            typer.echo(f"{name:18} {estimate_text(summary['test']['metrics'][name]['mean'])}")
    else:
        evaluation = read_json(folder / "evaluation.json")
        page = folder / "report.html"
        if json_:
            say_json({"run": folder, "report": page, **evaluation})
            return
        _show(evaluation)
    typer.echo(f"report: {page.resolve()}")


def _show(evaluation: dict[str, Any]) -> None:
    typer.echo(f"{evaluation['split']}, n = {evaluation['n']:,}")
    for name, estimate in evaluation["metrics"].items():
        typer.echo(f"  {name:18} {estimate_text(estimate)}")
    for name, baseline in evaluation["baselines"].items():
        if baseline:
            typer.echo(
                f"  baseline {name}: accuracy {estimate_text(baseline['accuracy'])}; model {baseline['verdict']}"
            )
    for name, subset in evaluation.get("subsets", {}).items():
        typer.echo(f"  {name} (n = {subset['n']:,}): accuracy {estimate_text(subset['metrics']['accuracy'])}")
    for warning in evaluation["warnings"]:
        typer.echo(f"  {warning['code']} {warning['message']}")


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    data: Annotated[str | None, typer.Option("--data", "-d", help="Other data to evaluate on.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the evaluation; the data's by default.")] = None,
    part: Annotated[str, typer.Option(help="all, train, val or test part of the other data.")] = "all",
    map_: Annotated[
        list[str] | None, typer.Option("--map", help="A class called otherwise: 'DATA NAME=MODEL NAME'.")
    ] = None,
    trained_on: TrainedOn = None,
    json_: Json = False,
) -> None:
    """Show a run's evaluation, or evaluate its bundle on other data."""
    from tumorscope import api

    mapping = read_mapping(map_ or ())
    if data is not None:
        api.quiet_threads()
    manifest = None if data is None else load_data(data)
    learned = None if trained_on is None else load_data(trained_on)
    result = api.evaluate(run, manifest, name=name, part=part, mapping=mapping, trained_on=learned, console=stderr())
    if json_:
        say_json(result)
    else:
        _show(result)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two or more run folders or predictions.csv files.")],
    reference: Annotated[Path | None, typer.Option(help="Compare each against this run only.")] = None,
    json_: Json = False,
) -> None:
    """Compare runs on the same test images with paired tests."""
    from tumorscope import api

    found = api.compare(runs, reference=reference)
    if json_:
        say_json([one.to_json() for one in found])
        return
    for one in found:
        typer.echo(one.sentence())


@app.command()
def report(run: Annotated[Path, typer.Argument(help="Folder of a run, a series or a sweep.")]) -> None:
    """Render the page of a run, a series or a sweep again."""
    from tumorscope import api

    typer.echo(str(api.report(run).resolve()))


@app.command()
def doctor(json_: Json = False) -> None:
    """Check this installation: versions, devices, cache folder."""
    from tumorscope import api

    api.quiet_threads()
    from tumorscope.core.files import cache_root
    from tumorscope.core.machine import machine, versions

    groups = {"versions": versions(), "machine": machine(), "cache": {"folder": str(cache_root())}}
    if json_:
        say_json(groups)
        return
    for group in groups.values():
        for key, value in group.items():
            typer.echo(f"{key:14} {value}")


def main() -> None:
    """Run the command line; errors a user can cause are printed without a traceback."""
    try:
        _run()
    except SystemExit as leaving:
        from tumorscope.training.processes import launched, leave

        if launched():
            leave(leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None))
        raise


def _run() -> None:
    """The verb that the command line names; leaves with an exit code."""
    # file names may hold bytes that are no UTF-8: they are shown escaped instead of ending the program
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if os.environ.get("TUMORSCOPE_TRACEBACK"):
        app()
        return
    try:
        app()
    except TumorscopeError as error:
        stderr().print(f"[red]error:[/red] {_escape(str(error))}", highlight=False)
        sys.exit(error.exit_code)
    except OSError as error:
        text = f"the operating system refused: {error}\n  fix: check the rights of that place and the space on its disk"
        stderr().print(f"[red]error:[/red] {_escape(text)}", highlight=False)
        sys.exit(ResourceError.exit_code)
    except SystemExit as leaving:
        from tumorscope.training.processes import launched

        # of several processes, the one that launched them says it
        if leaving.code == INTERRUPTED and not launched():
            resumed = "--resume goes on from the last finished epoch"
            again = "the same command goes on with what was kept"
            trains = len(sys.argv) > 1 and sys.argv[1] in ("train", "leak-price")
            stderr().print(f"stopped; {resumed if trains else again}", highlight=False)
        raise


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text.encode("utf-8", "backslashreplace").decode("utf-8"))
