"""Each shipped recipe on its real data set, at reduced size and epochs; full runs are in docs/results."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tumorscope.cli import app
from tumorscope.core.files import read_json

LITE0 = ("model.name=tf_efficientnet_lite0", "model.weights={weights}/tf_efficientnet_lite0.in1k.safetensors")
MOBILENET = (
    "model.name=mobilenetv2_100",
    "model.options.pad_type=same",
    "model.weights={weights}/mobilenetv2_100.in1k.safetensors",
    "model.mean=[0.5]",
    "model.std=[0.5]",
)
FIXED = ("train.precision=fp32", "train.memory_format=channels_last")

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.mark.parametrize(
    ("recipe", "data", "sets", "n", "at_least"),  # n: size of an official test part, whose leaks are accepted
    [
        ("breastmnist-cnn", "breastmnist/breastmnist.npz", ("stage.all.epochs=8",), 156, 0.70),
        ("brain-mri-yesno-cnn", "brain-mri-yesno", ("image.size_px=64", "stage.all.epochs=6"), None, 0.55),
        (
            "brain-mri-yesno-resnet50",
            "brain-mri-yesno",
            (*LITE0, "image.size_px=96", "stage.head.epochs=2", "stage.top.epochs=2"),
            None,
            0.60,
        ),
        (
            "brain-mri-4class-efficientnet",
            "brain-mri-4class",
            (*LITE0, "image.size_px=48", "stage.all.epochs=1", "stage.all.lr=1e-3"),
            1311,
            0.70,
        ),
        (
            "brain-mri-boxes-resnet50",
            "brain-mri-boxes",
            (*MOBILENET, "image.size_px=48", "stage.all.epochs=1", "stage.all.lr=1e-3"),
            512,
            0.60,
        ),
        ("brain-mri-4class-tinyvgg", "brain-mri-4class", ("image.size_px=48", "stage.all.epochs=2"), 1311, 0.60),
    ],
)
def test_recipe_on_its_data(
    real_data: Path,
    local_weights: Path,
    tmp_path: Path,
    recipe: str,
    data: str,
    sets: tuple[str, ...],
    n: int | None,
    at_least: float,
) -> None:
    out = tmp_path / "a run"
    arguments = ["train", recipe, "--data", str(real_data / data), "--out", str(out)]
    for value in (*sets, *FIXED):
        arguments += ["--set", value.format(weights=local_weights)]
    if n is not None:
        arguments.append("--accept-leaks")
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    evaluation = read_json(out / "evaluation.json")
    if n is not None:
        assert evaluation["n"] == n
        assert read_json(out / "run.json")["stamps"][0].startswith("Leaks accepted")
    assert evaluation["metrics"]["accuracy"]["value"] > at_least
    assert all(set(estimate) >= {"value", "low", "high", "method"} for estimate in evaluation["metrics"].values())
    for name in ("recipe.resolved.toml", "metrics.csv", "predictions.csv", "report.html", "bundle/card.json"):
        assert (out / name).is_file(), name
    if recipe == "brain-mri-boxes-resnet50":
        found = {f["code"]: f["count"] for f in read_json(out / "audit.json")["findings"]}
        assert (found["LEAK011"], found["LEAK012"]) == (219, 0)
        clean = evaluation["subsets"]["no copy in training"]
        assert clean["n"] == 512 - 219 - found["LEAK013"]
        assert found["LEAK013"] > 150, "near copies are found beyond the 219 equal files"
        codes = {f["code"] for f in read_json(out / "data.json")["findings"]}
        assert {"DATA010", "DATA011", "DATA012", "DATA014"} <= codes
    if recipe == "breastmnist-cnn":
        assert evaluation["positive"] == "malignant"
        assert evaluation["baselines"]["majority_class"]["accuracy"]["value"] == pytest.approx(114 / 156)
        assert "DATA020" in {f["code"] for f in read_json(out / "data.json")["findings"]}
