"""`audit` and `split`: what is wrong with data, and parts that are clean."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from tumorscope.cli.common import Cluster, Data, Json, Out, Sets, estimate_text, load_data, say_json, stderr
from tumorscope.commands import audit_command, leak_price_command
from tumorscope.core.errors import UsageError

Source = Annotated[str, typer.Argument(help="As for train --data.")]


class Policy(enum.StrEnum):
    """How the test part comes about."""

    OFFICIAL = "official"
    DEDUPLICATED = "deduplicated"
    PATIENT_LIKELY = "patient-likely"
    GROUPED = "grouped"


class Keep(enum.StrEnum):
    """What stays whole where twins are left out."""

    TEST = "test"
    TRAIN = "train"


def audit(
    data: Source,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for audit.json, pairs.csv and audit.html.")
    ] = None,
    split: Annotated[Path | None, typer.Option(help="Check the parts of this split file.")] = None,
    ray: Cluster = None,
    json_: Json = False,
) -> None:
    """Look for copies, shortcuts, doubtful labels and faulty files; exit code 1 if there are any."""
    from tumorscope import api

    api.quiet_threads()
    command = audit_command(data, split)
    manifest = load_data(data, ray=ray)
    found = api.audit(manifest, out=out, split=split, command=command, console=stderr())
    if json_:
        say_json(found.to_json(command=command))
    else:
        typer.echo(manifest.summary)
        for result in found.findings:
            typer.echo(f"{result.severity:8} {result.code}  {result.title} {result.detail}")
        for outcome in ("fine", "not applicable", "skipped"):
            others = [r for r in found.results if r.outcome == outcome]
            if outcome == "skipped":
                for result in others:
                    typer.echo(f"skipped  {result.code}  {result.detail}")
            elif others:
                typer.echo(f"{outcome}: {', '.join(r.code for r in others)}")
        if out is not None:
            typer.echo(f"page: {(out / 'audit.html').resolve()}")
        else:
            typer.echo("see the pairs: add --out FOLDER")
    if found.alarming:
        raise typer.Exit(1)


def split(
    data: Source,
    out: Annotated[Path, typer.Option("--out", "-o", help="Split file to write (.json); a folder with --folds.")],
    policy: Annotated[
        Policy,
        typer.Option(
            help="official: parts as they are; deduplicated: without twins of test; patient-likely: also without "
            "likely slices of its patients; grouped: all parts anew."
        ),
    ] = Policy.OFFICIAL,
    keep: Annotated[Keep, typer.Option(help="What stays whole where twins are left out.")] = Keep.TEST,
    folds: Annotated[int | None, typer.Option(help="K files of a grouped cross-validation.", min=2)] = None,
    seed: Annotated[int, typer.Option(help="Root of every random choice.", min=0)] = 0,
    val_fraction: Annotated[float, typer.Option(help="Validation share of training.", min=0.01, max=0.5)] = 0.15,
    test_fraction: Annotated[float, typer.Option(help="Test share where none is given.", min=0.01, max=0.9)] = 0.2,
    json_: Json = False,
) -> None:
    """Make a split that copies and patients never cross, as a file for `train --split`."""
    from tumorscope import api
    from tumorscope.data.splitting import Rules

    api.quiet_threads()
    if folds is not None and policy not in (Policy.OFFICIAL, Policy.GROUPED):
        raise UsageError(
            f"--folds with --policy {policy.value}",
            expected="--folds alone, or with --policy grouped: folds ignore the data's own parts",
            where="--policy",
            fix="leave one of the two out",
        )
    if folds is not None and out.suffix == ".json":
        raise UsageError("--folds with a file", expected="a folder for K files", where=out, fix="give a folder")
    manifest = load_data(data)
    rules = Rules(policy.value, keep.value, val_fraction, test_fraction)
    made = api.split(manifest, seed=seed, rules=rules, folds=folds, console=stderr())
    files = [out] if folds is None else [out / f"fold-{i}.json" for i in range(1, len(made) + 1)]
    for one, file in zip(made, files, strict=True):
        one.save(file)
    if json_:
        say_json(
            [
                {
                    "file": file,
                    "policy": s.policy,
                    "note": s.note,
                    "sha256": s.sha256,
                    "counts": s.counts(manifest),
                }
                for s, file in zip(made, files, strict=True)
            ]
        )
        return
    for one, file in zip(made, files, strict=True):
        counts = ", ".join(f"{part} {sum(n.values()):,}" for part, n in one.counts(manifest).items())
        typer.echo(f"{counts}; {one.note or 'parts as the data has them'}; sha256 {one.sha256[:12]}")
        typer.echo(str(file.resolve()))


def leak_price(
    recipe: Annotated[str, typer.Argument(help="Shipped recipe name or .toml file.")],
    data: Data,
    out: Out,
    set_: Sets = None,
    seeds: Annotated[int, typer.Option(help="Seeds of each arm.", min=1)] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with stopped runs.")] = False,
    json_: Json = False,
) -> None:
    """Train a recipe under leaking and clean splits, and give the price of the leak in accuracy points."""
    from tumorscope import api

    api.quiet_threads()
    manifest = load_data(data)
    overrides = list(set_ or ())
    found = api.leak_price(
        recipe,
        manifest,
        out=out,
        overrides=overrides,
        seeds=seeds,
        resume=resume,
        command=leak_price_command(recipe, data, overrides, seeds),
        console=stderr(),
    )
    if json_:
        say_json(found)
        return
    for row in found["arms"]:
        for name, one in row["accuracy"].items():
            typer.echo(f"{row['arm']:24} {name} (n = {one['n']:,}): accuracy {estimate_text(one)}")
    for gap in found["gaps"]:
        typer.echo(f"{gap['gap']}, on {gap['on']} (n = {gap['n']:,}): {estimate_text(gap, signed=True)}")
    typer.echo(f"page: {(out / 'leak-price.html').resolve()}")
