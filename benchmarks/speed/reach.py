"""How long until 0.98 of the official test images of brain-mri-4class are answered rightly.

    python -m benchmarks.speed.reach baseline|ours --data DATA --weights WEIGHTS [--workers 2] [--seed 0]

EfficientNet-Lite0 from ImageNet weights on all training files. The baseline trains by S2's rate (Adam, 1e-4, constant,
224 px) until an epoch ends at or above the mark. Ours takes the course below, which was chosen on images of the
training part. Both answer the test images after each epoch, only to see when the mark is reached: no figure of this
is a result of a recipe.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed import ours, seed_loop
from benchmarks.speed.works import Course, Job, Work
from tumorscope.data.load import load
from tumorscope.training.plan import Wishes

WANTED = 0.98
WEIGHTS = "tf_efficientnet_lite0.in1k.safetensors"
WORK = Work(
    name="reach",
    title="Adam at 1e-4, constant, 224 px (S2's row)",
    data="brain-mri-4class",
    model="tf_efficientnet_lite0",
    trainable="all",
    epochs=4,
    train=0,
    val=0,
    target=5,
    lr=1e-4,
)
"""The baseline's work; at most four epochs."""
SHORT = replace(WORK, title="one cycle to 4e-4, 160 px", size_px=160, instead=Course(2, 4e-4, "one_cycle"))
"""Ours."""


def job_of_all(work: Work, data: Path) -> Job:
    """All training files, with the official test part in the place of validation."""
    manifest = load(str(data / work.data))
    train, test = (
        np.array([i for i, r in enumerate(manifest.records) if (r.split == "test") is wanted], dtype=np.int64)
        for wanted in (False, True)
    )
    return Job(replace(work, train=len(train), val=len(test)), manifest, train, test, test[:0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=["baseline", "ours"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2, help="loader processes of the baseline")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    same: dict[str, Any] = {"seed": arguments.seed, "weights": arguments.weights / WEIGHTS}
    work = WORK if arguments.side == "baseline" else SHORT
    job = job_of_all(work, arguments.data)
    if arguments.side == "baseline":
        found = seed_loop.run(job, arguments.workers, until=WANTED, **same)
    else:
        found = ours.run(job, Wishes(), **same)
    sys.stdout.write(json.dumps({**found, "train": len(job.train), "val": len(job.val)}) + "\n")


if __name__ == "__main__":
    main()
