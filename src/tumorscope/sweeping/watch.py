"""What a person sees while a sweep runs: points done, the best so far, time left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from tumorscope.sweeping.journal import Entry, Journal

ENDED = ("done", "left early", "failed")


class Watch:
    """A bar over points on a terminal; one line a finished point where output is a file.

    Args:
        console: Where it goes.
        journal: The sweep's list of trials.
        total: Points in all; None where time ends the sweep.
        until: That time, in seconds since 1970.
    """

    def __init__(self, console: Console, journal: Journal, *, total: int | None, until: float | None) -> None:
        self.console, self.journal, self.until = console, journal, until
        self._said: set[int] = {e.number for e in journal.entries() if e.state in ENDED}
        self._best: float | None = None
        self._bar = Progress(
            TextColumn("sweep"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("sweep", total=total, figures="")

    def __enter__(self) -> Watch:
        self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.stop()

    def update(self, entries: Sequence[Entry]) -> None:
        """Show what has ended since."""
        ended = [e for e in entries if e.state in ENDED and not e.lost]
        for entry in entries:
            if entry.state in ENDED and entry.number not in self._said:
                self._said.add(entry.number)
                self.console.print(f"  {self._line(entry)}", highlight=False, markup=False)
        means = [float(np.mean([f.value for f in e.folds])) for e in ended if e.state == "done"]
        figures = ""
        if means:
            best = max(means) if self.journal.maximise else min(means)
            figures = f"best {self.journal.sweep.metric} {best:.4f}"
        if self.until is not None:
            figures += f"  {max(0.0, self.until - time.time()) / 60:.0f} min left"
        self._bar.update(self._task, completed=len(ended), figures=figures.strip())

    def _line(self, entry: Entry) -> str:
        point = ", ".join(f"{k.rpartition('.')[2]} {v}" for k, v in entry.point.items())
        if entry.lost:
            return f"point {entry.slot}: its process vanished; it is tried again ({point})"
        if entry.state == "failed":
            return f"point {entry.slot}: failed ({point}): {entry.reason.splitlines()[0]}"
        mean = float(np.mean([f.value for f in entry.folds]))
        seconds = sum(f.seconds for f in entry.folds)
        early = "" if entry.state == "done" else f", left after {len(entry.folds)} folds"
        return f"point {entry.slot}: {self.journal.sweep.metric} {mean:.4f}{early}  {seconds:.1f} s  ({point})"
