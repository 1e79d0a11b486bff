"""Does the fast path learn as well? The baseline and tumorscope train the same work with several seeds.

    python -m benchmarks.speed.accuracy NAME --data DATA --weights WEIGHTS [--seed 0]
                                        [--precision auto]

Both start from the same kind of weights and see the same images with the same network, optimizer, rate, batch and
epochs, unless the work says that ours takes another course. Besides how it is computed one thing differs: the baseline
turns images as torchvision does by itself, by the nearest pixel and with black corners. At 28 px that is much of an
image, so a third training there ("mirrored") is the baseline's loop with images turned as ours are. Test images are
answered once, after training; in a work of folds those of a seed are another eighth of the training and validation
part, so that the seeds' interval is one over images too. Prints the accuracies.
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
from benchmarks.speed.works import WORKS, Job, Work, job_of
from tumorscope.training.plan import Wishes

MIRRORED = ("breastmnist",)
"""Works that the baseline's loop also trains on images turned as ours are."""
LITE0 = "tf_efficientnet_lite0.in1k.safetensors"
WEIGHTS = {"lite0-head": LITE0, "lite0-last": LITE0, "lite0-all": LITE0}
SAME_BASELINE = {"breastmnist-short": "breastmnist", "breastmnist-short-folds": "breastmnist-folds"}
"""Works whose baseline is another's: the same training, seed by seed."""
FOLDS = {"breastmnist-folds": 8, "breastmnist-short-folds": 8}
"""Works whose seeds are tested on a fold each, and the number of folds."""
ACCURACY_WORKS = (
    replace(WORKS[0], lr=1e-3, test=156),
    replace(WORKS[1], title="breastmnist-cnn, ours by one cycle of 8 epochs instead of 40", test=156),
    replace(
        WORKS[0],
        name="breastmnist-folds",
        title="the same network, each seed tested on another eighth of training and validation part",
        lr=1e-3,
        test=78,
    ),
    replace(
        WORKS[1],
        name="breastmnist-short-folds",
        title="so tested, ours by one cycle of 8 epochs instead of 40, chosen on these images",
        test=78,
    ),
    Work(
        name="tinyvgg",
        title="tinyvgg, 15 epochs of 400 brain-mri-4class images",
        data="brain-mri-4class",
        model="tinyvgg",
        trainable="all",
        epochs=15,
        train=400,
        val=32,
        test=400,
        target=1,
        lr=1e-3,
    ),
    Work(
        name="lite0-head",
        title="EfficientNet-Lite0 stage 1, 10 epochs of 400 brain-mri-4class images",
        data="brain-mri-4class",
        model="tf_efficientnet_lite0",
        trainable="head",
        epochs=10,
        train=400,
        val=32,
        test=400,
        target=1,
        lr=3e-3,
    ),
    Work(
        name="lite0-last",
        title="EfficientNet-Lite0 stage 2 (last block), 10 epochs of 240 brain-mri-4class images",
        data="brain-mri-4class",
        model="tf_efficientnet_lite0",
        trainable="last:1",
        epochs=10,
        train=240,
        val=32,
        test=400,
        target=1,
        lr=1e-3,
    ),
    Work(
        name="lite0-all",
        title="EfficientNet-Lite0, all layers, 3 epochs of 240 brain-mri-4class images",
        data="brain-mri-4class",
        model="tf_efficientnet_lite0",
        trainable="all",
        epochs=3,
        train=240,
        val=32,
        test=400,
        target=1,
        lr=3e-4,
    ),
)


def fold_of(job: Job, fold: int) -> Job:
    """The job with the images of training and validation dealt anew, the last of them for its test as well.

    Nothing is chosen by the validation images of these works.
    """
    rows = np.roll(np.concatenate([job.train, job.val]), fold * job.work.val)
    train, held = np.split(rows, [job.work.train])
    return replace(job, train=train, val=held, test=held)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[work.name for work in ACCURACY_WORKS])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto", help="of ours")
    arguments = parser.parse_args()
    work = next(w for w in ACCURACY_WORKS if w.name == arguments.name)
    job = job_of(work, arguments.data / work.data)
    if work.name in FOLDS:
        job = fold_of(job, arguments.seed)
    weights = arguments.weights / WEIGHTS[work.name] if work.name in WEIGHTS else None
    same: dict[str, Any] = {"seed": arguments.seed, "weights": weights}
    found = {"ours": ours.run(job, Wishes(precision=arguments.precision), **same)["accuracy"]}
    if work.name not in SAME_BASELINE:
        found["baseline"] = seed_loop.run(job, 0, **same)["accuracy"]
    if work.name in MIRRORED:
        found["mirrored"] = seed_loop.run(job, 0, mirrored=True, **same)["accuracy"]
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
