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
        batch_size: Images a step.
        size_px: Side of the input.
        whole: Time all of it, decoding included; otherwise the median epoch.
        target: Ratio aimed at.
    """

    name: str
    title: str
    data: str
    model: str
    trainable: str
    epochs: int
    train: int
    val: int
    batch_size: int
    size_px: int
    whole: bool
    target: float


WORKS = (
    Work(
        "breastmnist",
        "breastmnist-cnn, whole recipe",
        "breastmnist/breastmnist.npz",
        "cnn28",
        "all",
        40,
        546,
        78,
        32,
        28,
        True,
        10,
    ),
    Work(
        "head-yesno",
        "ResNet-50 stage 1, 10 epochs, brain-mri-yesno",
        "brain-mri-yesno",
        "resnet50",
        "head",
        10,
        176,
        32,
        16,
        224,
        True,
        20,
    ),
    Work(
        "head-4class",
        "ResNet-50 stage 1, 10 epochs, brain-mri-4class",
        "brain-mri-4class",
        "resnet50",
        "head",
        10,
        256,
        32,
        32,
        224,
        True,
        20,
    ),
    Work(
        "last-yesno",
        "ResNet-50 stage 2 (last block), 20 epochs, brain-mri-yesno",
        "brain-mri-yesno",
        "resnet50",
        "last:1",
        20,
        96,
        32,
        16,
        224,
        True,
        4,
    ),
    Work(
        "efficientnet-lite0",
        "EfficientNet-Lite0, all layers, per epoch",
        "brain-mri-4class",
        "tf_efficientnet_lite0",
        "all",
        2,
        256,
        32,
        32,
        224,
        False,
        2.5,
    ),
    Work(
        "efficientnet-b0",
        "EfficientNet-B0, all layers, per epoch",
        "brain-mri-4class",
        "efficientnet_b0",
        "all",
        2,
        256,
        32,
        32,
        224,
        False,
        2.5,
    ),
    Work(
        "resnet50",
        "ResNet-50, all layers, per epoch",
        "brain-mri-boxes",
        "resnet50",
        "all",
        2,
        128,
        32,
        32,
        224,
        False,
        5,
    ),
    Work("tinyvgg", "tinyvgg, per epoch", "brain-mri-4class", "tinyvgg", "all", 2, 512, 64, 32, 224, False, 5),
)


@dataclass(frozen=True)
class Job:
    """A work with its images.

    Attributes:
        work: What to do.
        manifest: The data.
        train: Rows of the training images.
        val: Rows of the validation images.
    """

    work: Work
    manifest: Manifest
    train: NDArray[np.int64]
    val: NDArray[np.int64]

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
    work = next(w for w in WORKS if w.name == name)
    manifest = load(str(data / work.data))
    rows = np.array([i for i, r in enumerate(manifest.records) if r.split != "test"])
    drawn = np.random.default_rng(0).permutation(rows)
    return Job(work, manifest, drawn[: work.train], drawn[work.train : work.train + work.val])
