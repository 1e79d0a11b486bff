"""`sweep`: try many settings on validation images, train the best one, open the test part once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tumorscope.cli.audits import Policy
from tumorscope.cli.common import Cluster, Data, Json, Sets, estimate_text, load_data, say_json, stderr


def sweep(
    recipe: Annotated[str, typer.Argument(help="Shipped recipe name or .toml file.")],
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; that of a stopped sweep goes on.")],
    set_: Sets = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            "--space",
            help="What to try, in place of the recipe's space: KEY=[VALUES], or KEY={low=.., high=.., log=true}.",
        ),
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Points at most; all of a grid by default.", min=1)] = None,
    minutes: Annotated[float | None, typer.Option(help="No point is begun after this time.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; one a core by default, one on a GPU.", min=1)] = None,
    seeds: Annotated[int, typer.Option(help="Seeds of the best point's run.", min=1)] = 5,
    winner: Annotated[
        bool, typer.Option("--winner/--no-winner", help="Train the best point and open the test part.")
    ] = True,
    positive: Annotated[str | None, typer.Option(help="Positive class of a two-class problem.")] = None,
    policy: Annotated[Policy | None, typer.Option(help="How the test part comes about; see `split`.")] = None,
    accept_leaks: Annotated[
        bool, typer.Option("--accept-leaks", help="Go on although copies cross the split; reports are stamped.")
    ] = False,
    ray: Cluster = None,
    json_: Json = False,
) -> None:
    """Try a recipe's search space on validation images, train the best point, and write the page."""
    from tumorscope import api
    from tumorscope.api.sweeps import sweep_command
    from tumorscope.core.files import read_json
    from tumorscope.sweeping.space import check_space, recipe_with_sweep

    api.quiet_threads()
    overrides = list(set_ or ())
    if positive is not None:
        overrides.append(f"data.positive={json.dumps(positive, ensure_ascii=False)}")
    if policy is not None:
        overrides.append(f"data.policy={policy.value}")
    asked = [f"sweep.trials={trials}"] * (trials is not None) + [f"sweep.minutes={minutes}"] * (minutes is not None)
    # mistakes are said before the data is read
    check_space(recipe_with_sweep(recipe, [*overrides, *asked], space or ()))
    folder = api.sweep(
        recipe,
        load_data(data, positive),
        out=out,
        overrides=overrides,
        space=space or (),
        trials=trials,
        minutes=minutes,
        workers=workers,
        winner_seeds=seeds if winner else 0,
        accept_leaks=accept_leaks,
        command=sweep_command(recipe, data, overrides, space or (), trials=trials, accept_leaks=accept_leaks),
        ray=ray,
        console=stderr(),
    )
    content = read_json(folder / "sweep.json")
    page = folder / "sweep.html"
    if json_:
        say_json({"sweep": folder, "report": page, **content})
        return
    best = content["best"]
    error = "" if best["se"] is None else f" (standard error {best['se']:.3f})"
    typer.echo(f"best of {len(content['trials'])}: {content['metric']} {best['mean']:.3f}{error} on validation")
    for key, value in best["point"].items():
        typer.echo(f"  {key} = {json.dumps(value)}")
    summary = folder / content["winners"][-1]["folder"] / "summary.json" if content["winners"] else None
    if summary is not None and summary.is_file():
        for name in ("accuracy", "auroc"):
            typer.echo(f"test {name:13} {estimate_text(read_json(summary)['test']['metrics'][name]['mean'])}")
    typer.echo(f"recipe: {(folder / 'best.toml').resolve()}")
    typer.echo(f"page: {page.resolve()}")
