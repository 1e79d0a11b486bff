"""A sweep on a cluster: the points and scores of one machine; a lost node costs a try, never a point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.scaling.conftest import Machines
from tests.scans import class_folders
from tests.sweeping.conftest import QUIET, HereCrew, recipe_of
from tumorscope import api
from tumorscope.core.files import read_json
from tumorscope.sweeping import sweep as module
from tumorscope.sweeping.job import load_job
from tumorscope.sweeping.journal import Journal
from tumorscope.sweeping.watch import Watch
from tumorscope.training.recipe import to_toml

pytestmark = pytest.mark.xdist_group("ray")


@pytest.mark.slow
def test_a_lost_node_costs_a_try_and_no_point(
    machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = class_folders(tmp_path / "scans", per_class=12, test_per_class=5, classes=("left", "none"))
    recipe = tmp_path / "tiny.toml"
    space = {"stage.all.lr": [3e-3, 2e-3, 1e-3]}
    recipe.write_text(to_toml(recipe_of(space=space, fixed={"stage.all.epochs": 12})), encoding="utf-8")
    update = Watch.update
    killed: list[int] = []

    def disturb(self: Any, entries: Any) -> None:
        """Kill a node as soon as both work."""
        update(self, entries)
        running = [e.number for e in entries if e.state == "running" and e.worker is not None]
        if not killed and len(running) == 2:
            killed.extend(running)
            machines.kill()

    monkeypatch.setattr(Watch, "update", disturb)
    monkeypatch.setattr(module, "POLL_S", 0.05)
    out = tmp_path / "ray"
    api.sweep(str(recipe), data, out=out, winner_seeds=0, ray=machines.address, console=QUIET)
    content = read_json(out / "sweep.json")
    assert killed
    assert content["lost"] == 1
    assert [(t["slot"], t["state"]) for t in content["trials"]] == [(s, "done") for s in range(3)]
    job = load_job(out / "job")
    entries = Journal(out, sweep=job.sweep, space=job.space, seed=0).entries()
    assert sorted(e.slot for e in entries if e.state == "done") == [0, 1, 2]
    assert sorted(e.attempt for e in entries) == [1, 1, 1, 2]
    monkeypatch.setattr(Watch, "update", update)
    # one process, never disturbed, finds the same
    monkeypatch.setattr(module, "Crew", HereCrew)
    api.sweep(str(recipe), data, out=tmp_path / "plain", winner_seeds=0, console=QUIET)
    plain = read_json(tmp_path / "plain" / "sweep.json")
    assert [(t["point"], t["folds"]) for t in plain["trials"]] == [(t["point"], t["folds"]) for t in content["trials"]]
