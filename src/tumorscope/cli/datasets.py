"""`tumorscope datasets`: list, layouts, fetch and show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tumorscope.cli.common import Json, load_data, say_json, stderr

app = typer.Typer(no_args_is_help=True, help="Public data sets and folder layouts.")


@app.command("list")
def datasets_list(json_: Json = False) -> None:
    """Data sets that are catalogued."""
    from tumorscope import api

    rows = api.datasets()
    if json_:
        say_json(rows)
        return
    for row in rows:
        typer.echo(f"{row['flag']:16} {row['title']}, {row['modality']}, {sum(row['images'].values()):,} images")


@app.command("layouts")
def datasets_layouts() -> None:
    """Folder and file layouts that are recognised."""
    from tumorscope.data.load import LAYOUTS

    typer.echo(LAYOUTS)


@app.command("fetch")
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


@app.command("show")
def datasets_show(data: Annotated[str, typer.Argument(help="As for train --data.")], json_: Json = False) -> None:
    """Say how a folder is read: layout, classes, parts, exclusions and findings."""
    manifest = load_data(data)
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
