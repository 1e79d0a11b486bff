"""The same path on an accelerator. These run only where CUDA is present; nothing of them was run without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from tests.scans import class_folders
from tests.training.test_run import read_rows, recipe
from tumorscope.bundle.predictor import Predictor
from tumorscope.core.files import read_json
from tumorscope.data.load import load
from tumorscope.data.manifest import Manifest
from tumorscope.imaging.augment import AugmentSpec
from tumorscope.imaging.loader import BatchLoader, Normalisation
from tumorscope.training.run import train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
QUIET = Console(quiet=True)
STAGE: dict[str, Any] = {"all": {"epochs": 6, "lr": 3e-3}}


@pytest.fixture
def scans(tmp_path: Path) -> Manifest:
    return load(class_folders(tmp_path / "scans"))


def test_the_set_lies_on_the_device_and_batches_equal_those_of_the_cpu() -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 1, 32, 32)).astype(np.uint8)
    batches = {}
    for device in ("cpu", "cuda"):
        loader = BatchLoader(
            images,
            np.zeros(40, np.int64),
            rows=range(40),
            batch_size=8,
            normalisation=Normalisation((0.5,), (0.5,)),
            augment=AugmentSpec(flip_horizontal=0.5, rotate_deg=10, contrast=0.2),
            shuffle=True,
            seed=1,
            device=device,
        )
        found = [batch for batch, _, _ in loader]
        assert {batch.device.type for batch in found} == {device}
        batches[device] = torch.cat(found).cpu()
    torch.testing.assert_close(batches["cpu"], batches["cuda"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("trainable", ["all", "head"])
def test_a_run_learns_and_its_bundle_answers_on_the_cpu(scans: Manifest, tmp_path: Path, trainable: str) -> None:
    stage = {"one": {"epochs": 6, "lr": 3e-3, "trainable": trainable}}
    run = train(recipe(stage=stage), scans, out=tmp_path / "run", command="c", console=QUIET)
    record = read_json(run.folder / "run.json")
    assert record["plan"]["device"] == "cuda"
    assert "gpu" in record["machine"]
    rows = read_rows(run.folder / "metrics.csv")
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    Predictor.load(run.folder / "bundle")  # the probe, computed on the CPU, must reproduce


@pytest.mark.parametrize(("precision", "compile_"), [("fp32", False), ("bf16", False), ("bf16", True)])
def test_every_way_trains_to_about_the_same_loss(
    scans: Manifest, tmp_path: Path, precision: str, compile_: bool
) -> None:
    changes: dict[str, Any] = {
        "stage": STAGE,
        "train": {"precision": precision, "memory_format": "channels_last", "threads": 1, "compile": compile_},
        "model": {"dropout": 0.0},
    }
    run = train(recipe(**changes), scans, out=tmp_path / "run", command="c", console=QUIET)
    loss = float(read_rows(run.folder / "metrics.csv")[-1]["train_loss"])
    changes["train"] = {"precision": "fp32", "memory_format": "contiguous", "threads": 1, "compile": False}
    plain = train(recipe(**changes), scans, out=tmp_path / "plain", command="c", console=QUIET)
    assert loss == pytest.approx(float(read_rows(plain.folder / "metrics.csv")[-1]["train_loss"]), abs=0.15)
