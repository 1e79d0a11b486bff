"""The command line: one function a verb. Exit codes: 0 fine, 1 findings, 2 usage, 3 data, 4 integrity, 5 resources."""

from __future__ import annotations

import enum
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from tumorscope import __version__
from tumorscope.core.errors import TumorscopeError, UsageError

app = typer.Typer(
    name="tumorscope",
    help="From a folder of scans to an honest, explained, deployable tumor classifier. Research use only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
recipes_app = typer.Typer(no_args_is_help=True, help="Shipped recipes: list, show, copy, check.")
datasets_app = typer.Typer(no_args_is_help=True, help="Public data sets and folder layouts.")
app.add_typer(recipes_app, name="recipes")
app.add_typer(datasets_app, name="datasets")

Json = Annotated[bool, typer.Option("--json", help="Print JSON to standard output.")]
Data = Annotated[
    str, typer.Option("--data", "-d", help="Folder, table, .npz, MedMNIST name, or phantom[:key=value,...].")
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write; new or empty.")]
Sets = Annotated[list[str] | None, typer.Option("--set", "-s", help="Override a recipe key: KEY=VALUE.")]


class Policy(enum.StrEnum):
    """How the test part comes about."""

    OFFICIAL = "official"
    GROUPED = "grouped"


def stderr() -> Console:
    """Where everything but results goes."""
    return Console(stderr=True, soft_wrap=True)


def say_json(value: Any) -> None:
    """One JSON value on standard output."""
    from tumorscope.core.files import plain

    sys.stdout.write(json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")


def _load(data: str, positive: str | None = None) -> Any:
    from tumorscope.core.screen import bar
    from tumorscope.data.load import load

    with bar(stderr(), "read") as progress:
        return load(data, positive=positive, progress=progress)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"tumorscope {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """From a folder of scans to an honest, explained, deployable tumor classifier."""


@app.command()
def demo(out: Out = Path("runs/demo"), json_: Json = False) -> None:
    """Train the small demo network on the embedded phantom set and write its report."""
    from tumorscope import api

    folder = out
    number = 2
    while folder.exists() and any(folder.iterdir()):
        folder = out.with_name(f"{out.name}-{number}")
        number += 1
    api.quiet_threads()
    manifest = _load("phantom")
    command = api.rebuild_command("demo", "phantom", ())
    api.train("demo", manifest, out=folder, command=command, console=stderr())
    _finish(folder, json_)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Shipped recipe name or .toml file.")],
    data: Data,
    out: Out,
    set_: Sets = None,
    split: Annotated[Path | None, typer.Option(help="Split file made by `tumorscope split`.")] = None,
    seeds: Annotated[int, typer.Option(help="Train this many seeds on one split.")] = 1,
    folds: Annotated[int | None, typer.Option(help="Grouped K-fold cross-validation.")] = None,
    repeats: Annotated[int, typer.Option(help="Repeat the cross-validation with new folds.")] = 1,
    positive: Annotated[str | None, typer.Option(help="Positive class of a two-class problem.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped run.")] = False,
    json_: Json = False,
) -> None:
    """Train a recipe, open the test part once, and write the run folder with its report."""
    from tumorscope import api
    from tumorscope.training.recipe import load_recipe

    api.quiet_threads()
    overrides = list(set_ or ())
    if positive is not None:
        overrides.append(f'data.positive="{positive}"')
    load_recipe(recipe, overrides)
    manifest = _load(data, positive)
    command = api.rebuild_command(recipe, data, overrides, split=split, seeds=seeds, folds=folds, repeats=repeats)
    folder = api.train(
        recipe,
        manifest,
        out=out,
        overrides=overrides,
        split=split,
        seeds=seeds,
        folds=folds,
        repeats=repeats,
        resume=resume,
        command=command,
        console=stderr(),
    )
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
            typer.echo(f"{name:18} {_interval(summary['test']['metrics'][name]['mean'])}")
    else:
        evaluation = read_json(folder / "evaluation.json")
        page = folder / "report.html"
        if json_:
            say_json({"run": folder, "report": page, **evaluation})
            return
        _show(evaluation)
    typer.echo(f"report: {page.resolve()}")


def _interval(estimate: dict[str, Any]) -> str:
    if estimate["value"] is None:
        return f"undefined ({estimate['method']})"
    text = f"{estimate['value']:.3f}"
    if estimate.get("low") is not None:
        text += f"  95% {estimate['low']:.3f} to {estimate['high']:.3f}"
    return text


def _show(evaluation: dict[str, Any]) -> None:
    typer.echo(f"{evaluation['split']}, n = {evaluation['n']:,}")
    for name, estimate in evaluation["metrics"].items():
        typer.echo(f"  {name:18} {_interval(estimate)}")
    for name, baseline in evaluation["baselines"].items():
        if baseline:
            typer.echo(f"  baseline {name}: accuracy {_interval(baseline['accuracy'])}; model {baseline['verdict']}")
    for name, subset in evaluation.get("subsets", {}).items():
        typer.echo(f"  {name} (n = {subset['n']:,}): accuracy {_interval(subset['metrics']['accuracy'])}")
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
    json_: Json = False,
) -> None:
    """Show a run's evaluation, or evaluate its bundle on other data."""
    from tumorscope import api

    mapping: dict[str, str] = {}
    for pair in map_ or ():
        source, separator, target = pair.partition("=")
        if not separator:
            raise UsageError(
                f"cannot read {pair!r}", expected="'DATA NAME=MODEL NAME'", where="--map", fix="write it so"
            )
        mapping[source] = target
    if data is not None:
        api.quiet_threads()
    manifest = None if data is None else _load(data)
    result = api.evaluate(run, manifest, name=name, part=part, mapping=mapping, console=stderr())
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
def report(run: Annotated[Path, typer.Argument(help="Run folder or folder of a series.")]) -> None:
    """Render the report of a run, or the summary of a series, again."""
    from tumorscope import api

    typer.echo(str(api.report(run).resolve()))


@recipes_app.command("list")
def recipes_list(json_: Json = False) -> None:
    """Names and titles of the shipped recipes."""
    from tumorscope.training.recipe import load_recipe, shipped_recipes

    rows = [load_recipe(name) for name in shipped_recipes()]
    if json_:
        say_json([{"name": r.name, "title": r.title, "reproduces": r.reproduces} for r in rows])
        return
    width = max(len(r.name) for r in rows)
    for r in rows:
        typer.echo(f"{r.name:{width}}  {r.title}")


@recipes_app.command("show")
def recipes_show(recipe: str) -> None:
    """Print a recipe as it is written."""
    from tumorscope.training.recipe import recipe_text

    typer.echo(recipe_text(recipe), nl=False)


@recipes_app.command("copy")
def recipes_copy(recipe: str, to: Annotated[Path, typer.Argument(help="File to write.")]) -> None:
    """Copy a shipped recipe to a file of your own."""
    from tumorscope.core.files import write_text
    from tumorscope.training.recipe import recipe_text

    text = recipe_text(recipe)
    if to.exists():
        raise UsageError("the file exists", where=to, fix="choose another name, or remove it first")
    typer.echo(str(write_text(to, text)))


@recipes_app.command("check")
def recipes_check(recipe: str, set_: Sets = None) -> None:
    """Check a recipe; every mistake is shown at once."""
    from tumorscope.training.recipe import load_recipe

    checked = load_recipe(recipe, set_ or ())
    typer.echo(f"{checked.name}: fine, {len(checked.stage)} stage(s), sha256 {checked.sha256[:12]}")


@datasets_app.command("list")
def datasets_list(json_: Json = False) -> None:
    """Data sets that are catalogued."""
    from tumorscope import api

    rows = api.datasets()
    if json_:
        say_json(rows)
        return
    for row in rows:
        typer.echo(f"{row['flag']:16} {row['title']}, {row['modality']}, {sum(row['images'].values()):,} images")


@datasets_app.command("layouts")
def datasets_layouts() -> None:
    """Folder and file layouts that are recognised."""
    from tumorscope.data.load import LAYOUTS

    typer.echo(LAYOUTS)


@datasets_app.command("fetch")
def datasets_fetch(
    name: str,
    size_px: Annotated[int, typer.Option("--size", help="Side of the images in pixels.")] = 28,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the file.")] = None,
) -> None:
    """Download a data set, with checksum. This and weights = "imagenet" are all that ever goes out."""
    from tumorscope.core.screen import bar
    from tumorscope.data.datasets import fetch

    with bar(stderr(), f"fetch {name}") as progress:
        typer.echo(str(fetch(name, size_px=size_px, out=out, progress=progress)))


@datasets_app.command("show")
def datasets_show(data: Annotated[str, typer.Argument(help="As for train --data.")], json_: Json = False) -> None:
    """Say how a folder is read: layout, classes, parts, exclusions and findings."""
    manifest = _load(data)
    if json_:
        say_json(manifest.describe())
        return
    typer.echo(manifest.summary)
    for part, counts in manifest.counts().items():
        typer.echo(f"  {part:6} " + ", ".join(f"{label} {n:,}" for label, n in counts.items()))
    copies = len(manifest) - len({r.pixels_sha256 for r in manifest.records})
    if copies:
        typer.echo(f"  {copies:,} images show the same pixels as another one; `train` and `split` keep them together")
    for finding in manifest.findings:
        typer.echo(f"  {finding.code} {finding.severity}: {finding.title}: {finding.detail}")
    for exclusion in manifest.exclusions[:20]:
        typer.echo(f"  excluded {exclusion.path!r}: {exclusion.reason}, {exclusion.detail}")
    if len(manifest.exclusions) > 20:
        typer.echo(f"  … and {len(manifest.exclusions) - 20} more exclusions; --json lists all")


@app.command()
def split(
    data: Annotated[str, typer.Argument(help="As for train --data.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Split file to write (.json).")],
    policy: Annotated[Policy, typer.Option(help="Keep official parts, or make all anew.")] = Policy.OFFICIAL,
    seed: Annotated[int, typer.Option(help="Root of every random choice.")] = 0,
    val_fraction: Annotated[float, typer.Option(help="Share of training that becomes validation.")] = 0.15,
    test_fraction: Annotated[float, typer.Option(help="Share that becomes test where needed.")] = 0.2,
) -> None:
    """Make a split that exact copies and patients never cross, as a file for `train --split`."""
    from tumorscope.data.split import make_split

    manifest = _load(data)
    made = make_split(manifest, seed=seed, policy=policy.value, val_fraction=val_fraction, test_fraction=test_fraction)
    made.save(out)
    typer.echo(f"{made.note or 'parts as the data has them'}; sha256 {made.sha256[:12]}")
    typer.echo(str(out.resolve()))


@app.command()
def doctor(json_: Json = False) -> None:
    """Check this installation: versions, devices, cache folder."""
    from tumorscope import api

    api.quiet_threads()
    from tumorscope.core.files import cache_root
    from tumorscope.training.plan import machine, versions

    groups = {"versions": versions(), "machine": machine(), "cache": {"folder": str(cache_root())}}
    if json_:
        say_json(groups)
        return
    for group in groups.values():
        for key, value in group.items():
            typer.echo(f"{key:14} {value}")


def main() -> None:
    """Run the command line; errors a user can cause are printed without a traceback."""
    if os.environ.get("TUMORSCOPE_TRACEBACK"):
        app()
        return
    try:
        app()
    except TumorscopeError as error:
        stderr().print(f"[red]error:[/red] {_escape(str(error))}", highlight=False)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        stderr().print("stopped; --resume goes on from the last finished epoch", highlight=False)
        sys.exit(130)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text.encode("utf-8", "backslashreplace").decode("utf-8"))
