"""Real worker processes, killed in the middle of their work."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.sweeping.conftest import QUIET, SPACE, recipe_of
from tumorscope.core.errors import ResourceError
from tumorscope.data.manifest import Manifest
from tumorscope.sweeping import sweep as module
from tumorscope.sweeping.crew import Crew
from tumorscope.sweeping.job import load_job
from tumorscope.sweeping.sweep import Budget, sweep
from tumorscope.sweeping.watch import Watch
from tumorscope.sweeping.worker import work


@pytest.mark.slow
def test_killed_workers_and_a_killed_sweep_lose_nothing(
    scans: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(fixed={"stage.all.epochs": 25})
    out = tmp_path / "killed"
    arguments: dict[str, Any] = {"command": "c", "console": QUIET}
    killed: list[int] = []
    update = Watch.update

    def disturb(self: Any, entries: Any) -> None:
        """Kill the first worker at work; when two points are done, stop everything as a killed parent would."""
        update(self, entries)
        running = [e for e in entries if e.state == "running" and e.worker is not None]
        if not killed and running:
            killed.append(running[0].number)
            os.kill(int(running[0].worker["pid"]), signal.SIGKILL)
        if sum(e.state == "done" for e in entries) >= 1 and any(e.number not in killed for e in running):
            raise KeyboardInterrupt

    monkeypatch.setattr(Watch, "update", disturb)
    monkeypatch.setattr(module, "POLL_S", 0.02)
    with pytest.raises(KeyboardInterrupt):
        sweep(recipe, scans, out=out, budget=Budget(workers=2), **arguments)
    assert killed
    monkeypatch.setattr(Watch, "update", update)
    content = sweep(recipe, scans, out=out, budget=Budget(workers=2), **arguments)
    assert [(t["slot"], t["state"]) for t in content["trials"]] == [(s, "done") for s in range(4)]
    assert content["lost"] >= 1
    job = load_job(out / "job")
    from tumorscope.sweeping.journal import Journal

    entries = Journal(out, sweep=job.sweep, space=job.space, seed=0).entries()
    assert sorted(e.slot for e in entries if e.state == "done") == [0, 1, 2, 3]
    # one process, never disturbed, finds the same
    calm = tmp_path / "calm"

    class Here(Crew):
        def look(self, *, waiting: int, busy: int) -> None:
            work(calm, name="here")

    monkeypatch.setattr(module, "Crew", Here)
    alone = sweep(recipe, scans, out=calm, budget=Budget(workers=1), **arguments)
    assert [(t["point"], t["folds"]) for t in alone["trials"]] == [(t["point"], t["folds"]) for t in content["trials"]]
    assert set(SPACE) == set(content["best"]["point"])


def test_a_worker_that_cannot_start_is_reported_with_its_words(tmp_path: Path) -> None:
    def watch() -> None:
        with Crew(tmp_path, workers=1, threads=1, until=None) as crew:
            for _ in range(6000):
                crew.look(waiting=1, busy=0)
                time.sleep(0.01)

    with pytest.raises(ResourceError, match="cannot be read") as caught:
        watch()
    assert "what the points share" in str(caught.value)
    assert list((tmp_path / "workers").glob("*.log"))
