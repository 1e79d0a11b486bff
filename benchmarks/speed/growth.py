"""One timing of how cost grows with the number of images: a small network on n JPEG files of 224 px.

    python -m benchmarks.speed.growth ours|baseline N --folder FOLDER

Makes the files below FOLDER if they are not there (smooth random pictures, no two alike), then trains S1's CNN on
them at 64 px for two epochs, so that decoding and feeding weigh more than arithmetic.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.speed import ours, seed_loop
from benchmarks.speed.works import Job, Work, job_of
from tumorscope.training.plan import Wishes

SIDE = 224
CLASSES = 4
VAL = 64


def make_files(folder: Path, n: int) -> Path:
    """`n` JPEG files in class folders below `folder`; returns it."""
    if len(list(folder.rglob("*.jpg"))) == n:
        return folder
    for i in range(n):
        rng = np.random.default_rng(i)
        coarse = Image.fromarray(rng.integers(0, 256, (14, 14), dtype=np.uint8))
        place = folder / f"class{i % CLASSES}" / f"{i}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(place, quality=90)
    return folder


def growing(folder: Path, n: int) -> Job:
    """The training on `n` images."""
    work = Work(
        name=f"n{n}",
        title=f"{n:,} images",
        data="",
        model="cnn_bn",
        trainable="all",
        epochs=2,
        train=n - VAL,
        val=VAL,
        target=1,
        size_px=64,
    )
    return job_of(work, make_files(folder / str(n), n))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=["ours", "baseline"])
    parser.add_argument("n", type=int)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    work = growing(arguments.folder, arguments.n)
    found = ours.run(work, Wishes()) if arguments.side == "ours" else seed_loop.run(work, arguments.workers)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
