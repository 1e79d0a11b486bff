"""`predict`, `package`, `card` and `export`: what a trained model is for."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from tumorscope.cli.common import Json, Out, load_data, say_json, stderr

Folder = Annotated[Path, typer.Argument(help="Run or bundle folder.")]


class Format(enum.StrEnum):
    """Tables of answers."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


class Exports(enum.StrEnum):
    """Formats of other runtimes."""

    ONNX = "onnx"
    OPENVINO = "openvino"


class Backends(enum.StrEnum):
    """What computes answers."""

    AUTO = "auto"
    TORCH = "torch"
    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"


def predict(
    model: Annotated[Path, typer.Argument(help="Run, bundle or export folder.")],
    paths: Annotated[list[str], typer.Argument(help="Files, folders, patterns; - for a list on standard input.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; standard output by default.")] = None,
    format_: Annotated[Format | None, typer.Option("--format", help="By the name of --out, else csv.")] = None,
    backend: Annotated[
        Backends, typer.Option(help="auto: the fastest here that gives torch's answers.")
    ] = Backends.AUTO,
) -> None:
    """Answer for every image, one row each; exit code 1 if any could not be read. Research use only."""
    from tumorscope import api

    api.quiet_threads()
    console = stderr()
    count = api.predict(
        model,
        paths,
        out=out,
        form=None if format_ is None else format_.value,
        backend=backend.value,
        console=console,
    )
    resumed = f", {count.resumed:,} of them from the stopped call" if count.resumed else ""
    console.print(f"{count.rows:,} rows, {count.failed:,} with an error{resumed}", highlight=False)
    if out is not None:
        console.print(f"written: {out.resolve()}", highlight=False, markup=False, soft_wrap=True)
    if count.failed:
        raise typer.Exit(1)


def package(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    out: Out,
) -> None:
    """Copy a run's checked bundle to a folder of its own, to be handed on."""
    from tumorscope import api

    api.quiet_threads()
    typer.echo(str(api.package(run, out).resolve()))


def card(bundle: Folder, json_: Json = False) -> None:
    """Check a bundle and show its card."""
    from tumorscope import api

    api.quiet_threads()
    found = api.card(bundle)
    if json_:
        say_json(found)
    else:
        typer.echo(str(found["text"]))


def export(
    bundle: Folder,
    out: Out,
    format_: Annotated[Exports, typer.Option("--format", help="onnx, or openvino for its IR.")] = Exports.ONNX,
    int8: Annotated[
        bool, typer.Option("--int8", help="Compute in 8-bit integers; says what that costs on validation.")
    ] = False,
    data: Annotated[str | None, typer.Option("--data", "-d", help="With --int8: the run's data.")] = None,
) -> None:
    """Write a model for ONNX Runtime or OpenVINO, checked against torch."""
    from tumorscope import api

    api.quiet_threads()
    manifest = None if data is None else load_data(data)
    change = api.export(bundle, format_.value, out=out, int8=int8, data=manifest, console=stderr())
    if change is not None:
        typer.echo(change.sentence())
    typer.echo(str(out.resolve()))
