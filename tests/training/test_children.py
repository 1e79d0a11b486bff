"""Runs of a series in processes of their own: the same result, errors as they were, nothing lost by a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.scans import class_folders
from tests.training.test_run import recipe
from tumorscope.core.errors import IntegrityError, ResourceError
from tumorscope.core.files import read_json, write_json
from tumorscope.data.load import load
from tumorscope.data.manifest import Manifest
from tumorscope.data.split import Split
from tumorscope.training import children
from tumorscope.training.children import side_by_side
from tumorscope.training.repeat import Repetition, train_repeated

QUIET = Console(quiet=True)
SHORT = {"all": {"epochs": 2, "lr": 3e-3}}


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return load(class_folders(tmp_path_factory.mktemp("scans"), per_class=12, test_per_class=4))


@pytest.mark.slow
def test_side_by_side_is_the_same_and_goes_on_after_a_stop(
    scans: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: tuple[Any, ...] = (recipe(stage=SHORT), scans, Repetition(seeds=3))
    common: dict[str, Any] = {"command": "c", "console": QUIET}
    plain = train_repeated(*arguments, out=tmp_path / "plain", workers=1, **common)
    out = tmp_path / "together"
    begun: list[Path] = []
    start = vars(children)["_start"]

    def interrupted(job: children.Job, logs: Path) -> Any:
        begun.append(job.out)
        if len(begun) > 1:
            raise KeyboardInterrupt
        return start(job, logs)

    monkeypatch.setattr(children, "_start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_repeated(*arguments, out=out, workers=2, **common)
    monkeypatch.setattr(children, "_start", start)
    together = train_repeated(*arguments, out=out, workers=2, resume=True, **common)
    assert together == plain
    for seed in range(3):
        for name in ("run.json", "evaluation.json", "predictions.csv", "metrics.csv"):
            ours, theirs = (folder / f"seed-{seed}" / name for folder in (out, tmp_path / "plain"))
            assert ours.read_bytes() == theirs.read_bytes(), (seed, name)
    # an error of a run is raised as it was
    record = read_json(out / "seed-2" / "run.json")
    record["hashes"]["split"] = "0" * 64
    write_json(out / "seed-2" / "run.json", record)
    with pytest.raises(IntegrityError, match="another split") as caught:
        train_repeated(*arguments, out=out, workers=2, resume=True, **common)
    assert caught.value.where == str(out / "seed-2")
    assert caught.value.exit_code == 4


def test_a_process_that_dies_is_reported(scans: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    job = children.Job(recipe(), scans, Split({}, "official", 0, scans.sha256), tmp_path / "run", "c")
    with pytest.raises(ResourceError, match="ended with code 1"):
        children.train_side_by_side([job], workers=1, console=QUIET)


@pytest.mark.parametrize(
    ("plan", "seconds", "expected"),
    [
        ({"device": "cpu", "threads": 1}, 60.0, 8),
        ({"device": "cpu", "threads": 3}, 60.0, 2),
        ({"device": "cpu", "threads": 8}, 60.0, 1),
        ({"device": "cpu", "threads": 1}, 5.0, 1),
        ({"device": "cuda", "threads": 1}, 60.0, 1),
    ],
)
def test_as_many_as_have_cores_of_their_own(
    plan: dict[str, Any], seconds: float, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json(tmp_path / "run.json", {"plan": plan})
    write_json(tmp_path / "timing.json", {"training_seconds": seconds})
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    assert side_by_side(tmp_path, 20) == expected
    assert side_by_side(tmp_path, 1) == 1
