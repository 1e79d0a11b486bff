"""After how many epochs 0.98 of the official test images of brain-mri-4class are answered rightly.

    python -m benchmarks.speed.reach --data DATA --weights WEIGHTS

EfficientNet-Lite0 from ImageNet weights on all training files, by S2's rate (Adam, 1e-4, constant). Computed the fast
way, because what is counted is epochs. The test images are looked at after each epoch only to see when the mark is
reached: no figure of this page is a result of the recipe.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from benchmarks.speed import ours
from benchmarks.speed.works import Job, Work
from tumorscope.data.load import load
from tumorscope.training.plan import Wishes

WANTED = 0.98
WEIGHTS = "tf_efficientnet_lite0.in1k.safetensors"
TITLE = "Adam at 1e-4, constant, batches of 32 (S2's row)"
EPOCHS, RATE = 3, 1e-4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    arguments = parser.parse_args()
    manifest = load(str(arguments.data / "brain-mri-4class"))
    train, test = (
        np.array([i for i, r in enumerate(manifest.records) if (r.split == "test") is wanted], dtype=np.int64)
        for wanted in (False, True)
    )
    work = Work(
        name="reach",
        title=TITLE,
        data="brain-mri-4class",
        model="tf_efficientnet_lite0",
        trainable="all",
        epochs=EPOCHS,
        train=len(train),
        val=len(test),
        target=5,
        lr=RATE,
    )
    job = Job(work, manifest, train, test, test[:0])
    found = ours.run(job, Wishes(), weights=arguments.weights / WEIGHTS)
    row = {
        "title": TITLE,
        "wanted": WANTED,
        "train": len(train),
        "accuracy": found["history"],
        "before_s": max(found["first"] - found["epoch"], 0.0),
    }
    sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
