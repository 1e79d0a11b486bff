"""Sweeps: try a recipe's search space, then train the best point and open the test part once."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tumorscope.api.common import manifest_of, quiet_threads
from tumorscope.api.runs import train
from tumorscope.commands import PathLike
from tumorscope.data.manifest import Manifest

if TYPE_CHECKING:
    from rich.console import Console


def sweep_command(
    recipe: str,
    data: str,
    overrides: Sequence[str],
    space: Sequence[str],
    *,
    trials: int | None = None,
    accept_leaks: bool = False,
) -> str:
    """The command line that makes the same sweep again; time and processes are left to the reader."""
    words = ["tumorscope", "sweep", recipe, "--data", data, "--out", "SWEEP"]
    for override in overrides:
        words += ["--set", override]
    for one in space:
        words += ["--space", one]
    words += [] if trials is None else ["--trials", str(trials)]
    return shlex.join([*words, "--accept-leaks"] if accept_leaks else words)


def sweep(
    recipe: str,
    data: Manifest | PathLike,
    *,
    out: PathLike,
    overrides: Sequence[str] = (),
    space: Sequence[str] = (),
    trials: int | None = None,
    minutes: float | None = None,
    workers: int | None = None,
    winner_seeds: int = 5,
    accept_leaks: bool = False,
    command: str | None = None,
    ray: str | None = None,
    console: Console | None = None,
) -> Path:
    """Try the points of a search space on validation images, train the best one, and write the page.

    The same call goes on where a stopped one was.

    Args:
        recipe: Shipped name or `.toml` file.
        data: What `load` gives, or what it takes.
        out: Folder of the sweep; new, empty, or that of the same sweep.
        overrides: `key=value` strings, such as "train.seed=3" or "sweep.sampler=tpe".
        space: `key=[values]` strings that take the place of the recipe's own space.
        trials: Points at most; by default what the recipe says, or all of a grid.
        minutes: No point is begun after this time of this call.
        workers: Processes, by default one a core (one on a GPU), of all nodes where a cluster is named.
        winner_seeds: Seeds of the best point's run, which opens the test part; 0 leaves it out.
        accept_leaks: Go on although copies or patients cross the split; reports are stamped.
        command: What the page gives as the command; made from the arguments by default.
        ray: Let workers run on a Ray cluster that sees folder, data and cache: "HOST:PORT" of its head, or "local".
        console: Where progress goes.

    Returns:
        The folder: `sweep.html`, `sweep.json`, `trials.csv`, `best.toml`, and the run in `winner/`.

    Raises:
        UsageError: For a mistake in the recipe, the space or the folder.
        DataError: If the data does not fit the recipe, copies cross its split, or no point was finished.
        IntegrityError: If the folder holds a sweep of another recipe, data or space.
        ResourceError: If optuna or Ray is missing, all workers failed, or the cluster does not answer or does not see
            the folders.
    """
    quiet_threads()
    from contextlib import ExitStack

    from tumorscope.reporting.sweep_page import render_sweep
    from tumorscope.sweeping.crew import Start, start_here
    from tumorscope.sweeping.results import BEST, begin_winner
    from tumorscope.sweeping.space import recipe_with_sweep
    from tumorscope.sweeping.sweep import Budget
    from tumorscope.sweeping.sweep import sweep as search

    checked = recipe_with_sweep(recipe, overrides, space)
    manifest = manifest_of(data)
    folder = Path(out)
    if command is None:
        source = str(data.root) if isinstance(data, Manifest) else str(data)
        command = sweep_command(recipe, source, overrides, space, trials=trials, accept_leaks=accept_leaks)
    with ExitStack() as stack:
        start: Start = start_here
        if ray is not None:
            from tumorscope.scaling.connect import connected
            from tumorscope.scaling.workers import starting

            cluster = stack.enter_context(connected(ray, console=console))
            start = starting(cluster, folder=folder, recipe=checked)
            workers = workers or max(1, cluster.cpus)
        search(
            checked,
            manifest,
            out=folder,
            command=command,
            budget=Budget(trials, minutes, workers),
            accept_leaks=accept_leaks,
            console=console,
            start=start,
        )
    render_sweep(folder)
    if winner_seeds:
        name, begun = begin_winner(folder)
        train(
            str(folder / BEST),
            manifest,
            out=folder / name,
            seeds=winner_seeds,
            accept_leaks=accept_leaks,
            resume=begun,
            console=console,
        )
        render_sweep(folder)
    return folder
