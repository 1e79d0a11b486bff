"""`tumorscope recipes`: list, show, copy and check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tumorscope.cli.common import Json, Sets, say_json
from tumorscope.core.errors import UsageError

app = typer.Typer(no_args_is_help=True, help="Shipped recipes: list, show, copy, check.")


@app.command("list")
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


@app.command("show")
def recipes_show(recipe: str) -> None:
    """Print a recipe as it is written."""
    from tumorscope.training.recipe import recipe_text

    typer.echo(recipe_text(recipe), nl=False)


@app.command("copy")
def recipes_copy(recipe: str, to: Annotated[Path, typer.Argument(help="File to write.")]) -> None:
    """Copy a shipped recipe to a file of your own."""
    from tumorscope.core.files import write_text
    from tumorscope.training.recipe import recipe_text

    text = recipe_text(recipe)
    if to.exists():
        raise UsageError("the file exists", where=to, fix="choose another name, or remove it first")
    typer.echo(str(write_text(to, text)))


@app.command("check")
def recipes_check(recipe: str, set_: Sets = None) -> None:
    """Check a recipe; every mistake is shown at once."""
    from tumorscope.training.recipe import load_recipe

    checked = load_recipe(recipe, set_ or ())
    typer.echo(f"{checked.name}: fine, {len(checked.stage)} stage(s), sha256 {checked.sha256[:12]}")
