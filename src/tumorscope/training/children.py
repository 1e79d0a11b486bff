"""Runs of a series side by side, each in a process of its own.

In: what `train` takes, once a run. Out: the same run folders as one after another; every process computes by the
plan that the first run of the series measured. What a run says goes to a log file until it is finished; its error,
if it has one, is raised here.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from tumorscope.core import errors
from tumorscope.core.errors import ResourceError, TumorscopeError
from tumorscope.core.files import read_json, write_json
from tumorscope.core.waiting import WAITING
from tumorscope.data.manifest import Manifest
from tumorscope.data.split import Split
from tumorscope.training.processes import end_with
from tumorscope.training.recipe import Recipe

POLL_S = 0.2
LOG_LINES = 8
SHORT_RUN_S = 20.0
"""A process takes about five seconds to start: runs as short as this go one after another."""


@dataclass(frozen=True)
class Job:
    """One run: what `tumorscope.training.run.train` takes."""

    recipe: Recipe
    manifest: Manifest
    split: Split
    out: Path
    command: str
    accept_leaks: bool = False
    resume: bool = False
    stamps: tuple[str, ...] = field(default=())


def side_by_side(first: Path, jobs: int) -> int:
    """How many of the runs that are left may go at once, from the finished first one.

    As many as have cores of their own; one where runs are short, or on a GPU.
    """
    plan = read_json(first / "run.json")["plan"]
    seconds = read_json(first / "timing.json")["training_seconds"]
    if plan["device"] != "cpu" or seconds < SHORT_RUN_S:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(jobs, cores // max(1, int(plan["threads"]))))


def train_side_by_side(jobs: Sequence[Job], *, workers: int, console: Console) -> None:
    """Train all of them, some at a time.

    Args:
        jobs: The runs, begun in this order.
        workers: Processes at a time.
        console: Told of each run that is finished.

    Raises:
        TumorscopeError: What the first run that failed said, as it said it; the others are stopped, and go on after
            their last finished epoch when the series is resumed.
        ResourceError: If a process was killed.
    """
    waiting = list(jobs)
    running: dict[subprocess.Popen[bytes], Job] = {}
    with tempfile.TemporaryDirectory(prefix="tumorscope-") as place:
        logs = Path(place)
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    job = waiting.pop(0)
                    running[_start(job, logs)] = job
                for process in [p for p in running if p.poll() is not None]:
                    job = running.pop(process)
                    if process.returncode:
                        _raise(job, process.returncode, logs)
                    console.print(f"{job.out.name}: finished", highlight=False, markup=False)
                time.sleep(POLL_S)
        finally:
            for process in running:
                process.kill()
            for process in running:
                process.wait()


def _start(job: Job, logs: Path) -> subprocess.Popen[bytes]:
    """A process that trains `job`; the job goes to it through a pipe, so that nothing of it is written to a file."""
    with (logs / f"{job.out.name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tumorscope.training.children", str(logs / f"{job.out.name}.json")],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**WAITING, **os.environ},
        )
    assert process.stdin is not None
    # a process that died at once is noticed by its exit code
    with suppress(BrokenPipeError), process.stdin as pipe:
        pickle.dump(job, pipe)
    return process


def _raise(job: Job, code: int, logs: Path) -> None:
    said = logs / f"{job.out.name}.json"
    if said.is_file():
        error = read_json(said)
        kind = getattr(errors, error.pop("kind"), TumorscopeError)
        raise kind(**error)
    lines = (logs / f"{job.out.name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
    raise ResourceError(
        f"the process of {job.out.name} ended with code {code}"
        + "".join(f"\n    {line}" for line in lines[-LOG_LINES:]),
        expected="a run that ends by itself",
        where=job.out,
        fix="--resume goes on with what is there; --workers 1 needs less memory",
    )


def main() -> None:
    """Train the job that comes through standard input; an error that a user can cause goes to the file named."""
    # Ctrl-C reaches every process of a terminal: the parent decides
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    job: Job = pickle.load(sys.stdin.buffer)
    end_with(os.getppid())
    from tumorscope.training.run import train

    try:
        train(
            job.recipe,
            job.manifest,
            out=job.out,
            command=job.command,
            split=job.split,
            accept_leaks=job.accept_leaks,
            resume=job.resume,
            console=Console(stderr=True),
            stamps=job.stamps,
        )
    except TumorscopeError as error:
        content: dict[str, Any] = {name: getattr(error, name) for name in ("found", "expected", "where", "fix")}
        write_json(Path(sys.argv[1]), {"kind": type(error).__name__, **content})
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
