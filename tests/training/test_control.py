from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from tests.scans import class_folders
from tests.training.test_run import recipe
from tumorscope.core.files import read_json
from tumorscope.data.load import load
from tumorscope.reporting.render import render_report
from tumorscope.training.control import control_result, taught_targets
from tumorscope.training.run import train


def test_labels_are_shuffled_within_training_and_within_validation() -> None:
    targets = np.array([0] * 30 + [1] * 30 + [0, 1] * 10, dtype=np.int64)
    rows = {"train": np.arange(50), "val": np.arange(50, 60), "test": np.arange(60, 80)}
    taught = taught_targets(targets, rows, control="permuted-labels", seed=3)
    assert not np.array_equal(taught[:50], targets[:50])
    for part in ("train", "val"):
        assert np.array_equal(np.sort(taught[rows[part]]), np.sort(targets[rows[part]]))
    assert np.array_equal(taught[60:], targets[60:])
    assert taught_targets(targets, rows, control="none", seed=3) is targets


def evaluation(value: float, low: float) -> dict[str, Any]:
    estimate = {"value": value, "low": low, "high": min(1.0, 2 * value - low), "method": "bootstrap"}
    return {"classes": ["a", "b"], "n": 100, "metrics": {"balanced_accuracy": estimate}}


def test_a_control_that_learns_is_an_error() -> None:
    assert control_result(evaluation(0.52, 0.43)).outcome == "fine"
    assert control_result(evaluation(0.5, 0.5)).outcome == "fine"
    found = control_result(evaluation(0.7, 0.6))
    assert (found.code, found.outcome, found.severity) == ("CTRL001", "finding", "error")


def test_a_control_run_lands_at_chance_and_says_what_it_is(tmp_path: Path) -> None:
    data = load(class_folders(tmp_path / "scans", per_class=24, test_per_class=10))
    run = train(
        recipe(train={"control": "permuted-labels"}),
        data,
        out=tmp_path / "run",
        command="c",
        console=Console(quiet=True),
    )
    first = read_json(run.folder / "audit.json")["findings"][0]
    assert (first["code"], first["outcome"]) == ("CTRL001", "fine")
    assert run.evaluation["metrics"]["balanced_accuracy"]["low"] <= 1 / 3
    record = read_json(run.folder / "run.json")
    assert record["control"] == "permuted-labels"
    assert record["stamps"][0].startswith("Control:")
    assert "were shuffled" in render_report(run.folder).read_text(encoding="utf-8")
