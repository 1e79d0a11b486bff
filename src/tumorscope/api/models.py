"""Models: hand them on, ask them, write them for other runtimes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tumorscope.api.common import quiet_threads
from tumorscope.commands import PathLike
from tumorscope.core.errors import UsageError
from tumorscope.data.manifest import Manifest

if TYPE_CHECKING:
    from rich.console import Console

    from tumorscope.predicting.model import Model
    from tumorscope.predicting.predict import Count
    from tumorscope.training.exporting import Int8Report


def predict(
    model: PathLike,
    paths: Sequence[PathLike],
    *,
    out: PathLike | None = None,
    form: str | None = None,
    backend: str = "auto",
    gate: bool = True,
    abstain: bool = True,
    most: int | None = None,
    ray: str | None = None,
    console: Console | None = None,
) -> Count:
    """Answer for every image, one row each, in order.

    Args:
        model: Run, bundle or export folder.
        paths: Files, folders, patterns, or "-" for a list on standard input.
        out: File to write; a stopped call goes on when it is made again. Standard output by default.
        form: "csv", "jsonl" or "parquet"; by the name of `out` by default.
        backend: "auto" for the fastest that gives torch's answers, or its name.
        gate: Refuse pictures unlike the training images, if the bundle has an input gate.
        abstain: Name no class where the prediction set does not support one.
        most: Classes in a prediction set at most, for a class to be named; one fewer than there are by default.
        ray: Answer on a Ray cluster that sees model and files: "HOST:PORT" of its head, or "local".
        console: Where progress goes; standard error by default.

    Returns:
        How many rows there are, how many have an error, and how many were refused or name no class.

    Raises:
        UsageError: If nothing is named, the format is unknown, or the output exists.
        IntegrityError: If the model is damaged.
        ResourceError: If Ray is missing, or the cluster does not answer or does not see the files.
    """
    quiet_threads()
    from contextlib import ExitStack

    from tumorscope.predicting.predict import predict as run

    with ExitStack() as stack:
        stdout, answering = None, None
        if ray is not None:
            from tumorscope.scaling.answers import answering as answering_on
            from tumorscope.scaling.connect import connected

            stdout = sys.stdout.buffer if out is None else None  # while connected, what Ray prints there is dropped
            answering = answering_on(stack.enter_context(connected(ray, console=console)), Path(model))
        return run(
            Path(model),
            [str(path) for path in paths],
            out=None if out is None else Path(out),
            form=form,
            backend=backend,
            gate=gate,
            abstain=abstain,
            most=most,
            stdout=stdout,
            console=console,
            answering=answering,
        )


def package(run: PathLike, out: PathLike) -> Path:
    """Copy a run's bundle, checked before and after, to a folder of its own; returns it.

    Raises:
        UsageError: If `out` is not new or empty, or the run has no bundle.
        IntegrityError: If the bundle is damaged.
    """
    quiet_threads()
    import shutil

    from tumorscope.bundle.bundle import load_bundle

    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            "the output folder is not empty", expected="a new folder", where=folder, fix="choose another --out"
        )
    shutil.copytree(load_bundle(Path(run)).folder, folder, dirs_exist_ok=True)
    load_bundle(folder)
    return folder


def card(model: PathLike) -> dict[str, object]:
    """The card of a bundle or run, after all checks of loading; with its `identity`, and as Markdown under `text`.

    Raises:
        UsageError: If the folder is no bundle.
        IntegrityError: If the bundle is damaged.
    """
    quiet_threads()
    from tumorscope.bundle.bundle import card_text, load_bundle

    bundle = load_bundle(Path(model))
    return {**bundle.card.to_json(), "identity": bundle.identity, "text": card_text(bundle.card)}


def export(
    model: PathLike,
    form: str = "onnx",
    *,
    out: PathLike,
    int8: bool = False,
    data: Manifest | PathLike | None = None,
    console: Console | None = None,
) -> Int8Report | None:
    """Write a model for another runtime, checked against torch.

    Args:
        model: Run or bundle folder; with `int8` a run.
        form: "onnx" or "openvino".
        out: Folder to write: new, empty, or an earlier export.
        int8: Compute in 8-bit integers.
        data: With `int8`: the run's data; training images set the ranges, validation says what it costs.
        console: Where progress goes.

    Returns:
        With `int8`, the accuracy on validation before and after; else None.

    Raises:
        UsageError: For another format, a folder that holds something else, or `int8` without data.
        ResourceError: If a package is missing.
        IntegrityError: If the exported model answers differently, or the data is not the run's.
    """
    quiet_threads()
    from tumorscope.api.common import manifest_of
    from tumorscope.training.exporting import export_model

    manifest = None if data is None else manifest_of(data)
    return export_model(Path(model), form, out=Path(out), int8=int8, manifest=manifest, console=console)


def serve(
    model: PathLike,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    allowed_hosts: Sequence[str] = (),
    backend: str = "auto",
    gate: bool = True,
    abstain: bool = True,
    most: int | None = None,
    queue: int = 256,
    ready: Callable[[str, str], None] | None = None,
) -> None:
    """Serve a model over HTTP, with its page, until the process is told to stop.

    Args:
        model: Run, bundle or export folder.
        host: Address to bind; beyond loopback a token is needed.
        port: 0 for any free one.
        token: What clients must present.
        allowed_hosts: Further names under which clients may ask for it.
        backend: "auto" for the fastest that gives torch's answers, or its name.
        gate: Refuse pictures unlike the training images, if the bundle has an input gate.
        abstain: Name no class where the prediction set does not support one.
        most: Classes in a prediction set at most, for a class to be named; one fewer than there are by default.
        queue: Images that may wait; more are refused with 429.
        ready: Called with the address, and with words on what computes and on the gate, once requests are answered.

    Raises:
        UsageError: If a value cannot work, or the address needs a token.
        ResourceError: If the extra `serve` is not installed, or the address is taken.
        IntegrityError: If the model is damaged.
    """
    quiet_threads()
    from tumorscope.serving.run import serve as run
    from tumorscope.serving.settings import Settings

    def opened() -> Model:
        from tumorscope.predicting.model import open_model

        return open_model(Path(model), backend=backend, batch=1, gate=gate, abstain=abstain, most=most)

    settings = Settings(host=host, port=port, token=token, allowed_hosts=tuple(allowed_hosts), queue_images=queue)
    run(opened, settings=settings, ready=ready or (lambda address, words: None))
