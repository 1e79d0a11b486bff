"""`predict`, `package`, `card` and `export`: what a trained model is for."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tumorscope.cli.common import (
    Cluster,
    Json,
    Out,
    TrainedOn,
    estimate_text,
    load_data,
    read_mapping,
    say_json,
    stderr,
)
from tumorscope.core.errors import UsageError

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
    TORCH_BF16 = "torch-bf16"
    OPENVINO_BF16 = "openvino-bf16"


def predict(
    model: Annotated[Path, typer.Argument(help="Run, bundle or export folder.")],
    paths: Annotated[list[str], typer.Argument(help="Files, folders, patterns; - for a list on standard input.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; standard output by default.")] = None,
    format_: Annotated[Format | None, typer.Option("--format", help="By the name of --out, else csv.")] = None,
    backend: Annotated[
        Backends, typer.Option(help="auto: the fastest here that gives torch's answers.")
    ] = Backends.AUTO,
    gate: Annotated[bool, typer.Option("--gate/--no-gate", help="Refuse pictures unlike the training images.")] = True,
    abstain: Annotated[
        bool,
        typer.Option("--abstain/--no-abstain", help="Name no class where the prediction set does not support one."),
    ] = True,
    max_set: Annotated[
        int | None, typer.Option(help="Abstain above this many classes in the set; one fewer than there are.")
    ] = None,
    ray: Cluster = None,
) -> None:
    """Answer for every image, one row each; exit code 1 if any could not be read or was refused. Research use only."""
    from tumorscope import api

    api.quiet_threads()
    console = stderr()
    count = api.predict(
        model,
        paths,
        out=out,
        form=None if format_ is None else format_.value,
        backend=backend.value,
        gate=gate,
        abstain=abstain,
        most=max_set,
        ray=ray,
        console=console,
    )
    resumed = f", {count.resumed:,} of them from the stopped call" if count.resumed else ""
    refused = f" ({count.refused:,} refused by the input gate)" if count.refused else ""
    silent = f", {count.abstained:,} without a named class" if count.abstained else ""
    console.print(f"{count.rows:,} rows, {count.failed:,} with an error{refused}{silent}{resumed}", highlight=False)
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


def explain(
    model: Annotated[Path, typer.Argument(help="Run or bundle folder; with --score a run.")],
    images: Annotated[list[Path] | None, typer.Argument(help="Image files.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for pictures and numbers; with --score RUN/explanations.")
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="grad-cam, layer-cam, hires-cam, integrated-gradients, ...; repeatable.")
    ] = None,
    target: Annotated[str | None, typer.Option("--class", help="Class to explain; the most probable one.")] = None,
    score: Annotated[
        bool, typer.Option("--score", help="Score heatmaps against the boxes of --data, next to controls.")
    ] = False,
    data: Annotated[str | None, typer.Option("--data", "-d", help="With --score: data with boxes.")] = None,
    map_: Annotated[
        list[str] | None, typer.Option("--map", help="A class called otherwise: 'DATA NAME=MODEL NAME'.")
    ] = None,
    lesion_free: Annotated[
        list[str] | None, typer.Option(help="A class whose boxes surround no lesion (normal names are known).")
    ] = None,
    shuffled: Annotated[
        Path | None, typer.Option(help="With --score: a run with train.control=permuted-labels, as one more control.")
    ] = None,
    trained_on: TrainedOn = None,
    json_: Json = False,
) -> None:
    """Show what moved a model's answers, with sanity checks; or score heatmaps against boxes."""
    from tumorscope import api

    api.quiet_threads()
    if score:
        if data is None or images or target is not None:
            raise UsageError(
                "--score takes data with boxes, no single images and no class: each image's own is explained",
                expected="--score --data DATA",
                where="--score",
                fix="leave --score out to explain single images",
            )
        folder = out or model / "explanations"
        content = api.score_explanations(
            model,
            load_data(data),
            out=folder,
            methods=method or (),
            mapping=read_mapping(map_ or ()),
            lesion_free=lesion_free or (),
            shuffled=shuffled,
            trained_on=None if trained_on is None else load_data(trained_on),
            console=stderr(),
        )
        _show_score(content, folder, json_)
        return
    if not images or out is None:
        raise UsageError(
            "nothing to explain, or nowhere to write",
            expected="image files, and --out FOLDER",
            where="explain",
            fix="tumorscope explain RUN scan.png --out heat",
        )
    _explain_images(model, images, out, method or [], target, json_)


def _explain_images(
    model: Path, images: list[Path], out: Path, methods: list[str], target: str | None, json_: bool
) -> None:
    from tumorscope.bundle.predictor import Predictor
    from tumorscope.core.screen import stages
    from tumorscope.explaining.explain import CAUTION, explain

    predictor = Predictor.load(model)
    out.mkdir(parents=True, exist_ok=True)
    numbers = {path: number for number, path in enumerate(dict.fromkeys(images), start=1)}
    found = []
    with stages(stderr()) as progress:
        for one in explain(predictor, list(numbers), methods=methods, target=target, progress=progress):
            stem = out / f"{numbers[one.path]:03}-{one.path.stem}-{one.method}"
            files = [one.save(stem.with_name(stem.name + suffix)) for suffix in (".png", ".npy")]
            found.append({**one.account(), "path": one.path, "files": files})
            if not json_:
                typer.echo(one.sentence)
    if json_:
        say_json({"caution": CAUTION, "explanations": found})
    else:
        typer.echo(f"{CAUTION} Written to {out.resolve()}")


def _show_score(content: dict[str, Any], folder: Path, json_: bool) -> None:
    if json_:
        say_json(content)
        return
    scored = content["score"]
    typer.echo(f"{content['data']['what']} n = {content['data']['n']:,}, {content['data']['with_boxes']:,} with boxes")
    for row in scored["sources"].values():
        parts = [f"{name} {estimate_text(row['overall'][name])}" for name in ("pointing", "energy")]
        typer.echo(f"  {row['title']:44} " + "  ".join(parts))
    for row in content["removal"]["rows"]:
        typer.echo(f"  accuracy, {row['name']:34} {estimate_text(row['accuracy'])}")
    border = content["removal"]["border"]
    most = max(border["present"].values()) / border["n"]
    typer.echo(f"  accuracy, {'the border alone, all images':34} {estimate_text(border['accuracy'])}")
    typer.echo(f"  {'always the most frequent class':44} {most:.3f}")
    typer.echo(f"page: {(folder / 'explanations.html').resolve()}")


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


def serve(
    model: Annotated[Path, typer.Argument(help="Run, bundle or export folder.")],
    host: Annotated[str, typer.Option(help="Address to listen on; beyond loopback a token is needed.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 for any free one.")] = 8000,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token; else $TUMORSCOPE_TOKEN. Never on the command line.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A further name under which clients ask for it; repeatable.")
    ] = None,
    backend: Annotated[
        Backends, typer.Option(help="auto: the fastest here that gives torch's answers.")
    ] = Backends.AUTO,
    gate: Annotated[bool, typer.Option("--gate/--no-gate", help="Refuse pictures unlike the training images.")] = True,
    abstain: Annotated[
        bool,
        typer.Option("--abstain/--no-abstain", help="Name no class where the prediction set does not support one."),
    ] = True,
    max_set: Annotated[
        int | None, typer.Option(help="Abstain above this many classes in the set; one fewer than there are.")
    ] = None,
    queue: Annotated[int, typer.Option(help="Images that may wait; more are refused with 429.")] = 256,
) -> None:
    """Serve a model and its page over HTTP, on this machine by default. Research use only."""
    from tumorscope import api
    from tumorscope.serving.settings import read_token

    console = stderr()

    def ready(address: str, words: str) -> None:
        # the address alone on standard output, so that a script can read it
        sys.stdout.write(f"{address}\n")
        sys.stdout.flush()
        console.print(f"{words}; Ctrl-C stops", highlight=False, markup=False)

    api.serve(
        model,
        host=host,
        port=port,
        token=read_token(token_file),
        allowed_hosts=[name.lower() for name in allow_host or ()],
        backend=backend.value,
        gate=gate,
        abstain=abstain,
        most=max_set,
        queue=queue,
        ready=ready,
    )
