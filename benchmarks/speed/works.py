"""What is timed: model, stage, images, and the ratio that is aimed at.

In: a folder of public sets. Out: `Job`s, each a list of files (or arrays) with targets that every loop gets alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.types import Targets
from tumorscope.data.load import load
from tumorscope.data.manifest import Manifest


@dataclass(frozen=True)
class Course:
    """Epochs, largest learning rate and schedule, as in a recipe's stage; batch size and dropout if not the work's."""

    epochs: int
    lr: float
    schedule: str
    batch_size: int | None = None
    dropout: float | None = None


@dataclass(frozen=True)
class Work:
    """One line of the table.

    Attributes:
        name: Key on the command line.
        title: What is trained.
        data: Path below the folder of public sets.
        model: Name for `build_model`; for the baseline the same network.
        trainable: Freeze plan.
        epochs: Epochs trained.
        train: Training images taken.
        val: Validation images taken; both loops run them after each epoch.
        target: Ratio aimed at.
        batch_size: Images a step.
        size_px: Side of the input.
        whole: Time all of it, decoding included; otherwise the median epoch.
        lr: Adam's learning rate, constant.
        instead: Another course that ours takes to the same accuracy.
        test: Images of the official test part that are answered after training, outside the timing.
        mild: Peers change images as little as ours, instead of as much as they do by themselves.
    """

    name: str
    title: str
    data: str
    model: str
    trainable: str
    epochs: int
    train: int
    val: int
    target: float
    batch_size: int = 32
    size_px: int = 224
    whole: bool = False
    lr: float = 1e-4
    instead: Course | None = None
    test: int = 0
    mild: bool = False


WORKS = (
    Work(
        name="breastmnist",
        title="breastmnist-cnn's network, 40 epochs, all of it",
        data="breastmnist/breastmnist.npz",
        model="cnn28",
        trainable="all",
        epochs=40,
        train=546,
        val=78,
        batch_size=32,
        size_px=28,
        whole=True,
        target=10,
    ),
    Work(
        name="breastmnist-short",
        title="the same, ours by one cycle of 8 epochs, batches of 64, dropout 0.1",
        data="breastmnist/breastmnist.npz",
        model="cnn28",
        trainable="all",
        epochs=40,
        train=546,
        val=78,
        batch_size=32,
        size_px=28,
        whole=True,
        target=10,
        lr=1e-3,
        instead=Course(8, 8e-3, "one_cycle", batch_size=64, dropout=0.1),
    ),
    Work(
        name="head-yesno",
        title="ResNet-50 stage 1, 10 epochs, brain-mri-yesno",
        data="brain-mri-yesno",
        model="resnet50",
        trainable="head",
        epochs=10,
        train=176,
        val=32,
        batch_size=16,
        whole=True,
        target=20,
    ),
    Work(
        name="head-4class",
        title="ResNet-50 stage 1, 10 epochs, brain-mri-4class",
        data="brain-mri-4class",
        model="resnet50",
        trainable="head",
        epochs=10,
        train=96,
        val=32,
        whole=True,
        target=20,
    ),
    Work(
        name="last-yesno",
        title="ResNet-50 stage 2 (last block), 10 epochs, brain-mri-yesno",
        data="brain-mri-yesno",
        model="resnet50",
        trainable="last:1",
        epochs=10,
        train=64,
        val=16,
        batch_size=16,
        whole=True,
        target=4,
    ),
    Work(
        name="efficientnet-lite0",
        title="EfficientNet-Lite0, all layers",
        data="brain-mri-4class",
        model="tf_efficientnet_lite0",
        trainable="all",
        epochs=2,
        train=160,
        val=32,
        target=2.5,
    ),
    Work(
        name="efficientnet-b0",
        title="EfficientNet-B0, all layers",
        data="brain-mri-4class",
        model="efficientnet_b0",
        trainable="all",
        epochs=2,
        train=160,
        val=32,
        target=2.5,
    ),
    Work(
        name="resnet50",
        title="ResNet-50, all layers",
        data="brain-mri-boxes",
        model="resnet50",
        trainable="all",
        epochs=2,
        train=96,
        val=32,
        target=5,
    ),
    Work(
        name="tinyvgg",
        title="tinyvgg",
        data="brain-mri-4class",
        model="tinyvgg",
        trainable="all",
        epochs=2,
        train=512,
        val=64,
        target=5,
    ),
)

LEARNED = Work(
    name="resnet18-small",
    title="ResNet-18 at 64 px, 8 epochs",
    data="brain-mri-4class",
    model="resnet18",
    trainable="all",
    epochs=8,
    train=600,
    val=300,
    target=1,
    size_px=64,
    whole=True,
    lr=1e-3,
    mild=True,
    instead=Course(8, 1e-3, "one_cycle"),
)
"""Trained by ours and by every peer until there is an accuracy to compare: small enough for all of them."""
ANSWERING = ("resnet50", "efficientnet_b0")
"""Networks whose answers are timed, in batches."""


@dataclass(frozen=True)
class Job:
    """A work with its images.

    Attributes:
        work: What to do.
        manifest: The data.
        train: Rows of the training images.
        val: Rows of the validation images.
        test: Rows of the test images.
    """

    work: Work
    manifest: Manifest
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.manifest.classes)

    @property
    def targets(self) -> Targets:
        """Class positions of all images."""
        return self.manifest.targets

    @property
    def root(self) -> Path:
        """Folder that the images' paths start from."""
        return Path(self.manifest.root)


def job(name: str, data: Path) -> Job:
    """The work called `name`, with images drawn from training data by a fixed seed, classes mixed."""
    work = next(w for w in (*WORKS, LEARNED) if w.name == name)
    return job_of(work, data / work.data)


def job_of(work: Work, data: Path) -> Job:
    """A work with images of a data set."""
    manifest = load(str(data))
    rows, test = (
        np.random.default_rng(0).permutation(
            [i for i, r in enumerate(manifest.records) if (r.split == "test") is wanted]
        )
        for wanted in (False, True)
    )
    drawn = rows.astype(np.int64)
    train, val = drawn[: work.train], drawn[work.train : work.train + work.val]
    return Job(work, manifest, train, val, test[: work.test].astype(np.int64))
