"""After how many epochs 0.98 of the official test images of brain-mri-4class are answered rightly.

    python -m benchmarks.speed.reach baseline|ours --data DATA --weights WEIGHTS

EfficientNet-Lite0 from ImageNet weights on all training files. "baseline" is S2's rate (Adam, 1e-4, constant) for
three epochs, "ours" a one-cycle schedule over one. Both are computed the fast way here, because what is counted for
the baseline is epochs. The test images are looked at after each epoch only to see when the mark is reached: no figure
of this page is a result of the recipe.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from benchmarks.speed import ours
from benchmarks.speed.works import Course, Job, Work
from tumorscope.data.load import load
from tumorscope.training.plan import Wishes

WANTED = 0.98
WEIGHTS = "tf_efficientnet_lite0.in1k.safetensors"
SIDES = {
    "baseline": ("Adam at 1e-4, constant, batches of 32 (S2's row)", Course(3, 1e-4, "none"), 32),
    "ours": ("Adam, one cycle to 1e-3 over one epoch, batches of 16", Course(1, 1e-3, "one_cycle"), 16),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=list(SIDES))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    arguments = parser.parse_args()
    title, course, batch_size = SIDES[arguments.side]
    manifest = load(str(arguments.data / "brain-mri-4class"))
    train, test = (
        np.array([i for i, r in enumerate(manifest.records) if (r.split == "test") is wanted], dtype=np.int64)
        for wanted in (False, True)
    )
    work = Work(
        name="reach",
        title=title,
        data="brain-mri-4class",
        model="tf_efficientnet_lite0",
        trainable="all",
        epochs=course.epochs,
        train=len(train),
        val=len(test),
        target=5,
        batch_size=batch_size,
        instead=course,
    )
    job = Job(work, manifest, train, test, test[:0])
    found = ours.run(job, Wishes(), weights=arguments.weights / WEIGHTS)
    row = {
        "title": title,
        "wanted": WANTED,
        "train": len(train),
        "accuracy": found["history"],
        "first_s": found["first"],
        "epoch_s": found["epoch"],
    }
    sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
