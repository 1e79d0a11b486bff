"""The worker processes of a sweep: started, watched, started anew where one was killed, stopped at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tumorscope.core.errors import ResourceError
from tumorscope.core.waiting import WAITING
from tumorscope.sweeping.worker import BEATS, SCRATCH

PATIENCE_S = 5.0
MOST_STARTS = 20
"""Starts for each worker; the journal gives up a point that kills its process long before."""
LOG_LINES = 12


class Running(Protocol):
    """A worker that was started, as `subprocess.Popen` is one."""

    def poll(self) -> int | None:
        """Exit code, below 0 where it was killed; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Exit code, waited for; raises `subprocess.TimeoutExpired`."""

    def kill(self) -> None:
        """End it now."""


@dataclass(frozen=True, slots=True)
class Post:
    """What one worker is started with.

    Attributes:
        folder: Of the sweep.
        name: Of the worker, its own.
        options: Further words of `tumorscope.sweeping.worker`.
        threads: Threads it computes with.
        environment: Variables beside those of the process that starts it.
    """

    folder: Path
    name: str
    options: tuple[str, ...]
    threads: int
    environment: Mapping[str, str]


Start = Callable[[Post], Running]
"""Starts one worker."""


def start_here(post: Post) -> subprocess.Popen[bytes]:
    """Start a worker as a child of this process; what it prints goes to a file beside its sign of life."""
    words = [sys.executable, "-m", "tumorscope.sweeping.worker", str(post.folder), post.name, *post.options]
    with (post.folder / BEATS / f"{post.name}.log").open("wb") as log:
        return subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **post.environment}
        )


class Crew:
    """A number of worker processes; use it in a `with` block, which stops them.

    Args:
        folder: Folder of the sweep.
        workers: How many.
        threads: Threads of one of them.
        until: No trial is begun after this time, in seconds since 1970.
        start: Starts one; as a child of this process by default.
    """

    def __init__(
        self, folder: Path, *, workers: int, threads: int, until: float | None, start: Start = start_here
    ) -> None:
        self.folder, self.workers, self.threads, self.until = folder, workers, threads, until
        self.start = start
        self._running: dict[str, Running] = {}
        self._failed: dict[str, int] = {}
        self._starts = 0

    def __enter__(self) -> Crew:
        (self.folder / BEATS).mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        for process in self._running.values():
            if kind is None:
                # nothing is left to take: they end by themselves
                with suppress(subprocess.TimeoutExpired):
                    process.wait(PATIENCE_S)
            # what is at work is tried again by the next call; a request to end could be taken for a failed trial
            process.kill()
        for process in self._running.values():
            process.wait()
        if not self._failed:
            for name in (BEATS, SCRATCH):
                shutil.rmtree(self.folder / name, ignore_errors=True)

    def look(self, *, waiting: int, busy: int) -> None:
        """Note who ended; start workers while more trials wait than idle ones will take.

        Args:
            waiting: Trials that may be taken.
            busy: Trials that are worked at.

        Raises:
            ResourceError: If workers failed, none is left, and trials still wait.
        """
        for name, process in list(self._running.items()):
            code = process.poll()
            if code is not None:
                del self._running[name]
                if code > 0:
                    self._failed[name] = code
        able = self.workers - len(self._failed)
        while (
            waiting > len(self._running) - busy
            and len(self._running) < able
            and self._starts < MOST_STARTS * self.workers
        ):
            self._start()
        if waiting and not self._running:
            raise ResourceError(
                f"no worker is left, and {waiting:,} trials wait: {self._said()}",
                expected="workers that end when no trial is left",
                where=self.folder / BEATS,
                fix="see the log files there; after that, the same command goes on with what was kept",
            )

    def _start(self) -> None:
        self._starts += 1
        name = f"{os.getpid()}-{self._starts}"
        options = [] if self.until is None else ["--until", f"{self.until:.3f}"]
        options += ["--many"] * (self.workers > 1)
        threads = {v: str(self.threads) for v in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        environment = {**WAITING, **threads}
        self._running[name] = self.start(Post(self.folder.resolve(), name, tuple(options), self.threads, environment))

    def _said(self) -> str:
        """The last lines of the logs of workers that failed."""
        for name in self._failed:
            lines = (self.folder / BEATS / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
            if lines:
                return "\n    ".join(["", *lines[-LOG_LINES:]])
        return "they were killed again and again" if not self._failed else "their logs are empty"
