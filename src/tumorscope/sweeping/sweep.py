"""A whole sweep: prepare what points share, start worker processes, watch them, write what was found.

In: a recipe with its `[sweep]` table and data. Out: a folder with the journal, `sweep.json`, `trials.csv` and
`best.toml`. The same command goes on where a stopped sweep was; another recipe, data or space is refused. No test
image is decoded and no worker knows of one: the winner's run opens the test part, afterwards and once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tumorscope.core.errors import IntegrityError, UsageError
from tumorscope.core.files import read_json, sha256_value, write_json
from tumorscope.data.manifest import Manifest
from tumorscope.sweeping import results
from tumorscope.sweeping.crew import Crew, Start, start_here
from tumorscope.sweeping.extra import need_optuna
from tumorscope.sweeping.folds import draw_folds
from tumorscope.sweeping.job import PLAN, Job
from tumorscope.sweeping.processes import gone, this_process
from tumorscope.sweeping.space import Space, check_space
from tumorscope.sweeping.watch import Watch
from tumorscope.sweeping.worker import BEATS, JOB
from tumorscope.training.recipe import Recipe
from tumorscope.training.resolve import preprocessing_of, resolve

if TYPE_CHECKING:
    from tumorscope.sweeping.journal import Entry, Journal
    from tumorscope.training.plan import Plan

PARENT = "parent.json"
POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Budget:
    """How long a sweep goes on, and with how many processes.

    Attributes:
        trials: Points at most; None takes all of a grid.
        minutes: No point is begun after this time of this call.
        workers: Processes; None one a core, one on a GPU.
    """

    trials: int | None = None
    minutes: float | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        if (self.workers is not None and self.workers < 1) or (self.trials is not None and self.trials < 1):
            raise UsageError("fewer than one", where="--workers, --trials", fix="give 1 or more")
        if self.minutes is not None and self.minutes <= 0:
            raise UsageError("no time", where="--minutes", fix="give more than 0")


def sweep(
    recipe: Recipe,
    manifest: Manifest,
    *,
    out: Path,
    command: str,
    budget: Budget | None = None,
    accept_leaks: bool = False,
    console: Console | None = None,
    start: Start = start_here,
) -> dict[str, Any]:
    """Try the points of the recipe's space, or go on with them.

    Args:
        recipe: With its `[sweep]` table.
        manifest: The data; its test part is left out before anything is drawn.
        out: Folder of the sweep; new, empty, or that of the same sweep.
        command: The command that makes it again, for the page.
        budget: Points, time and processes; what it leaves open the `[sweep]` table says.
        accept_leaks: Go on although copies or patients cross the split of the run that will follow.
        console: Where progress goes; standard error by default.
        start: Starts a worker; as a child of this process by default.

    Returns:
        The content of `sweep.json`.

    Raises:
        UsageError: For mistakes in the space, or a folder that is no sweep's or is worked at.
        IntegrityError: If the folder holds a sweep of another recipe, data or space.
        DataError: If the data does not fit the recipe, or copies cross its split.
        ResourceError: If optuna is missing, or all workers failed.
    """
    need_optuna()
    console = console or Console(stderr=True)
    if recipe.sweep is None:
        raise UsageError(f"recipe {recipe.name!r} has no [sweep]", where="[sweep]", fix="see `tumorscope sweep --help`")
    asked = budget or Budget()
    table = recipe.sweep.model_copy(
        update={
            "trials": asked.trials if asked.trials is not None else recipe.sweep.trials,
            "minutes": asked.minutes if asked.minutes is not None else recipe.sweep.minutes,
        }
    )
    recipe = recipe.model_copy(update={"sweep": table})
    budget = Budget(table.trials, table.minutes, asked.workers)
    space = check_space(recipe)
    if recipe.train.control != "none":
        raise UsageError("a sweep of a control run", where="[train] control", fix="leave it out")
    _check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        job, record = _prepare(recipe, manifest, space, out, command, accept_leaks=accept_leaks, console=console)
        from tumorscope.sweeping.journal import Journal

        journal = Journal(out, sweep=table, space=space, seed=recipe.train.seed)
        started = time.time()
        try:
            _run(journal, job, out, budget, console, start)
        finally:
            record["seconds"] = record.get("seconds", 0.0) + time.time() - started
            write_json(out / results.RECORD, record)
        return results.conclude(out, record, journal, recipe)


def _check_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError("--out names a file", expected="a folder", where=out, fix="choose another name")
    if out.is_dir() and any(out.iterdir()) and not ((out / results.RECORD).is_file() or (out / PARENT).is_file()):
        raise UsageError(
            "the output folder is not empty, and holds no sweep",
            expected="a new or empty folder, or one of the same sweep",
            where=out,
            fix="choose another --out",
        )


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Only one parent works in a folder; one that vanished is forgotten."""
    path = out / PARENT
    me = this_process("parent").to_json()
    if path.is_file():
        try:
            other = read_json(path)
            there = other["place"] == me["place"] and not gone(other, out)
        except (ValueError, KeyError, OSError):
            there = False
        if there and other["pid"] != os.getpid():
            raise UsageError(
                f"process {other['pid']} sweeps in this folder now",
                where=out,
                fix="wait for it, or stop it and give the command again; --workers N gives one sweep more processes",
            )
    write_json(path, me)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _prepare(
    recipe: Recipe,
    manifest: Manifest,
    space: Space,
    out: Path,
    command: str,
    *,
    accept_leaks: bool,
    console: Console,
) -> tuple[Job, dict[str, Any]]:
    """What points share, written to the folder; and the record, checked against one that is there."""
    from tumorscope.training.parts import draw_split, gate
    from tumorscope.training.run import decode, find_copies

    resolved = resolve(recipe, manifest)
    copies = find_copies(manifest, console)
    split = draw_split(resolved, manifest, copies)
    stamps = gate(manifest, split, copies, accept=accept_leaks)
    table = resolved.sweep
    assert table is not None
    usable, folds = draw_folds(manifest, split, copies, folds=table.folds, seed=recipe.train.seed)
    usable = replace(usable, positive=resolved.data.positive)
    identity = {
        "recipe": recipe.sha256,
        "data": manifest.sha256,
        "split": split.sha256,
        "folds": folds.sha256,
        "space": sha256_value([[a.to_json() for a in space.axes], dict(space.fixed)]),
        "sampler and metric": sha256_value([table.sampler, table.metric, table.prune]),
    }
    record = _record(out, identity)
    plan = _known_plan(out) if record else None
    job = Job(resolved, usable, folds, plan or _draft_plan())
    for one in _preparations(job):
        decode(one, usable, console)
    if plan is None:
        from tumorscope.sweeping.trial import measure_plan

        job = replace(job, plan=measure_plan(job))
    console.print(
        f"{manifest.summary}\nsweep: {results.described(space, table)} on {len(usable):,} images of training and "
        f"validation, {'one part' if len(folds) == 1 else f'{len(folds)} folds'}\nplan: {job.plan.line()}",
        highlight=False,
        markup=False,
    )
    job.save(out / JOB)
    record |= {
        "command": command,
        "identity": identity,
        "stamps": list(stamps),
        "plan": job.plan.line(),
        **results.about(recipe, manifest, space, folds, usable),
    }
    write_json(out / results.RECORD, record)
    return job, record


def _record(out: Path, identity: Mapping[str, str]) -> dict[str, Any]:
    """The record in the folder, empty for a new one; raises IntegrityError if it is of another sweep."""
    path = out / results.RECORD
    if not path.is_file():
        return {}
    try:
        record: dict[str, Any] = read_json(path)
        known = record["identity"]
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"the record of the sweep cannot be read: {error}", where=path, fix="sweep anew"
        ) from error
    for name, value in identity.items():
        if known.get(name) != value:
            raise IntegrityError(
                f"this folder holds a sweep with another {name}",
                expected=f"{name} {value[:12]}…, found {str(known.get(name))[:12]}…",
                where=out,
                fix="give the same recipe, overrides, space and data, or another --out",
            )
    return record


def _known_plan(out: Path) -> Plan | None:
    """The plan that the first call measured: points of one sweep are computed alike."""
    from tumorscope.training.plan import Plan

    try:
        return Plan(**read_json(out / JOB / PLAN))
    except (OSError, ValueError, TypeError):
        return None


def _draft_plan() -> Plan:
    """Where to compute; the rest is measured."""
    import torch

    from tumorscope.training.plan import Plan

    return Plan("cuda" if torch.cuda.is_available() else "cpu", "fp32", "contiguous", 1, False, "not measured")


def _preparations(job: Job) -> list[Recipe]:
    """One recipe for every way in which points prepare pictures."""
    found: dict[str, Recipe] = {}
    axes = [axis for axis in job.space.axes if axis.key.startswith("image.")]
    start = job.space.some_point()
    for point in Space(tuple(axes), {}).grid():
        recipe = resolve(job.space.recipe(job.recipe, {**start, **point}), job.manifest)
        found.setdefault(preprocessing_of(recipe).sha256, recipe)
    return list(found.values())


def _run(journal: Journal, job: Job, out: Path, budget: Budget, console: Console, start: Start) -> None:
    """Put points on the list and let workers take them, until the budget is spent."""

    def vanished(worker: Mapping[str, Any]) -> bool:
        return gone(dict(worker), out / BEATS)

    journal.settle(vanished)
    _put_missing(journal, job, budget)
    until = None if budget.minutes is None else time.time() + 60 * budget.minutes
    endless = _wanted(journal, budget) is None
    if endless:
        _top_up(journal, job, 2 * _workers(budget, job))
    crew = Crew(out, workers=_workers(budget, job), threads=job.plan.threads, until=until, start=start)
    with crew, Watch(console, journal, total=_wanted(journal, budget), until=until) as watch:
        while True:
            entries = journal.entries()
            busy = sum(e.state == "running" for e in entries)
            waiting = 0 if _late(until) else sum(e.state == "waiting" for e in entries)
            watch.update(entries)
            if not busy and not waiting:
                break
            crew.look(waiting=waiting, busy=busy)
            time.sleep(POLL_S)
            journal.settle(vanished)
            if endless and not _late(until):
                _top_up(journal, job, 2 * crew.workers)


def _late(until: float | None) -> bool:
    return until is not None and time.time() >= until


def _workers(budget: Budget, job: Job) -> int:
    if budget.workers is not None:
        return budget.workers
    if job.plan.device != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // job.plan.threads)


def _wanted(journal: Journal, budget: Budget) -> int | None:
    """How many points there will be; None where only time ends it."""
    size = journal.space.size if journal.sweep.sampler == "grid" else None
    known = [n for n in (size, budget.trials) if n is not None]
    return min(known) if known else None


def _put_missing(journal: Journal, job: Job, budget: Budget) -> None:
    """Put every point of the budget on the list that is not there yet."""
    import numpy as np

    slots = {e.slot for e in journal.entries()}
    wanted = _wanted(journal, budget)
    seed = job.recipe.train.seed
    if journal.sweep.sampler == "grid":
        points = list(journal.space.grid())
        # in an order of its own, so that a part of the grid is no corner of it
        order = np.random.default_rng([seed, 0x6E1D]).permutation(len(points)).tolist()
        for slot in order[:wanted]:
            if slot not in slots:
                journal.put(slot, points[slot])
    else:
        for slot in range(wanted or 0):
            if slot not in slots:
                _put(journal, slot, seed)


def _put(journal: Journal, slot: int, seed: int) -> None:
    journal.put(slot, journal.space.drawn(seed, slot) if journal.sweep.sampler == "random" else None)


def _top_up(journal: Journal, job: Job, ahead: int) -> None:
    """Keep some points waiting where only time ends the sweep."""
    entries: list[Entry] = journal.entries()
    slot = max((e.slot for e in entries), default=-1) + 1
    for _ in range(ahead - sum(e.state == "waiting" for e in entries)):
        _put(journal, slot, job.recipe.train.seed)
        slot += 1
