"""Small bundles whose answers differ from image to image, and images to ask about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tests.scans import CLASSES, scan
from tumorscope.bundle.bundle import Bundle, Card, load_bundle, save_bundle
from tumorscope.imaging.preprocess import Fit, Preprocessing, preprocess
from tumorscope.models.registry import build_model

# 80 px end in 5 x 5, which adaptive pooling to 4 x 4 does not divide
GRAY: dict[str, Any] = {"name": "cnn_bn", "outputs": 1, "channels": 1, "size_px": 80, "dropout": 0.2, "options": {}}
COLOUR: dict[str, Any] = {**GRAY, "name": "test_resnet", "outputs": 3, "channels": 3, "size_px": 64}


def save(folder: Path, architecture: dict[str, Any], *, fit: Fit = "squash", trim: bool = False) -> Path:
    """Write a bundle with random weights; one output means two classes with the first as the positive one."""
    torch.manual_seed(0)
    built = build_model(**architecture)
    last = [m for m in built.module.modules() if isinstance(m, nn.Linear)][-1]
    for module in built.module.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    shape = Preprocessing(architecture["size_px"], architecture["channels"], fit, trim)
    probe = scans(shape, n=4)
    built.module.eval()
    with torch.no_grad():
        spread = built.module(built.normalisation.apply(torch.from_numpy(probe) / 255)).std()
        last.weight.mul_(2 / spread.clamp(min=1e-6))
        centre = built.module(built.normalisation.apply(torch.from_numpy(probe) / 255)).mean(dim=0)
        last.bias.sub_(centre)
    binary = architecture["outputs"] == 1
    card = Card(
        recipe="r",
        title="A title",
        architecture=architecture,
        preprocessing=shape,
        normalisation=built.normalisation,
        classes=("malignant", "normal, benign") if binary else CLASSES,
        positive="malignant" if binary else None,
        temperature=1.3,
        threshold=0.4 if binary else None,
        licence="Apache-2.0",
        metrics={},
        hashes={"data": "d", "split": "s"},
        versions={"torch": str(torch.__version__)},
    )
    save_bundle(folder, built, card, probe)
    return folder


def scans(shape: Preprocessing, *, n: int, seed: int = 3) -> NDArray[np.uint8]:
    """(n, C, S, S) preprocessed pictures of scans with a spot."""
    rng = np.random.default_rng(seed)
    pictures = [np.asarray(scan(CLASSES[i % 3], rng, 48 + i % 5)) for i in range(n)]
    return np.stack([preprocess(picture, shape)[0] for picture in pictures])


def noise(bundle: Bundle, *, n: int, seed: int = 5) -> NDArray[np.uint8]:
    """(n, C, S, S) random pixels."""
    return np.random.default_rng(seed).integers(0, 256, (n, *bundle.probe.shape[1:]), dtype=np.uint8)


def mixed(bundle: Bundle, *, n: int) -> NDArray[np.uint8]:
    """(n, C, S, S): pictures of scans and random pixels in turns."""
    images = scans(bundle.card.preprocessing, n=n)
    images[1::2] = noise(bundle, n=n // 2)
    return images


__all__ = ["COLOUR", "GRAY", "load_bundle", "mixed", "noise", "save", "scans"]
