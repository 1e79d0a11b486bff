"""One process of a sweep: takes trials from the journal until none is left or the time is up.

    python -m tumorscope.sweeping.worker FOLDER NAME [--until SECONDS] [--many]

Started by the sweep's parent, ends with it. What it prints goes to a log file in the folder.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from tumorscope.core.errors import TumorscopeError
from tumorscope.sweeping.job import load_job
from tumorscope.sweeping.processes import keep_alive, this_process

JOB, BEATS, SCRATCH = "job", "workers", "scratch"
"""Folders below that of the sweep; the last two go when it is finished."""


def work(folder: Path, *, name: str, until: float | None = None, many: bool = False) -> int:
    """Take trials and score them; returns how many.

    Args:
        folder: Folder of the sweep.
        name: Name of this process, its own.
        until: No trial is begun after this time, in seconds since 1970.
        many: Other processes work at the same time.
    """
    from tumorscope.sweeping.journal import Journal
    from tumorscope.sweeping.trial import score_point
    from tumorscope.training.activations import sharing

    job = load_job(folder / JOB)
    journal = Journal(folder, sweep=job.sweep, space=job.space, seed=job.recipe.train.seed)
    me = this_process(name).to_json()
    taken = 0
    with sharing():
        while until is None or time.time() < until:
            trial = journal.take(me, many=many)
            if trial is None:
                break
            taken += 1
            try:
                score_point(job, trial.point, scratch=folder / SCRATCH, after_fold=trial.note)
            except TumorscopeError as error:
                # the same values would fail again: the point is noted as failed and the sweep goes on
                trial.failed(str(error))
            except Exception as error:
                trial.failed(f"{type(error).__name__}: {error}")
                raise
            else:
                trial.done(len(job.folds))
    return taken


def main() -> None:
    """Work until nothing is left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("--until", type=float)
    parser.add_argument("--many", action="store_true")
    arguments = parser.parse_args()
    # Ctrl-C reaches every process of a terminal: the parent decides
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_alive(arguments.folder / BEATS, arguments.name, parent=os.getppid())
    try:
        work(arguments.folder, name=arguments.name, until=arguments.until, many=arguments.many)
    except TumorscopeError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
