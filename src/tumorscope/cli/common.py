"""What every verb shares: options, the console for everything but results, JSON output, reading data."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from tumorscope.core.errors import UsageError
from tumorscope.data.manifest import Manifest

Json = Annotated[bool, typer.Option("--json", help="Print JSON to standard output.")]
Data = Annotated[
    str, typer.Option("--data", "-d", help="Folder, table, .npz, MedMNIST name, or phantom[:key=value,...].")
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write; new or empty.")]
Sets = Annotated[list[str] | None, typer.Option("--set", "-s", help="Override a recipe key: KEY=VALUE.")]

Cluster = Annotated[
    str | None,
    typer.Option("--ray", metavar="HOST:PORT|local", help="Work on a Ray cluster; all nodes must see the files."),
]

TrainedOn = Annotated[
    str | None,
    typer.Option(help="With other data: the data that the run was trained on; near copies of it are told apart."),
]

PlanWords = Annotated[
    str | None,
    typer.Option(
        "--plan",
        help="Fix the execution plan, or parts of it: fp32|bf16, contiguous|channels_last, threads, "
        "compiled|plain, separated by commas. The rest is measured.",
    ),
]


def stderr() -> Console:
    """Where everything but results goes."""
    return Console(stderr=True, soft_wrap=True)


def say_json(value: Any) -> None:
    """One JSON value on standard output."""
    from tumorscope.core.files import json_text

    sys.stdout.write(json_text(value))


def load_data(data: str, positive: str | None = None, *, ray: str | None = None) -> Manifest:
    """The manifest of what `--data` names, read here or on a cluster, with a bar while it is read."""
    from tumorscope.core.screen import bar
    from tumorscope.data.load import load

    with bar(stderr(), "read") as progress:
        if ray is not None:
            from tumorscope.scaling.reading import load_on

            return load_on(ray, data, positive=positive, progress=progress, console=stderr())
        return load(data, positive=positive, progress=progress)


def estimate_text(estimate: dict[str, Any], *, signed: bool = False) -> str:
    """`0.912  95% 0.870 to 0.940`, or why there is no value; with signs for differences."""
    if estimate["value"] is None:
        return f"undefined ({estimate['method']})"
    form = "+.3f" if signed else ".3f"
    text = f"{estimate['value']:{form}}"
    if estimate.get("low") is not None:
        text += f"  95% {estimate['low']:{form}} to {estimate['high']:{form}}"
    return text


def read_mapping(pairs: Sequence[str]) -> dict[str, str]:
    """Class names from `--map`: the data's to the model's; raises UsageError for what is no pair."""
    mapping: dict[str, str] = {}
    for pair in pairs:
        source, separator, target = pair.partition("=")
        if not separator:
            raise UsageError(
                f"cannot read {pair!r}", expected="'DATA NAME=MODEL NAME'", where="--map", fix="write it so"
            )
        mapping[source] = target
    return mapping
