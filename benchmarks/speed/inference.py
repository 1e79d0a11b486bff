"""One timing of batch inference: the usual eager float32 network, or a bundle's predictor with one of its backends.

    python -m benchmarks.speed.inference MODEL eager|auto|torch|openvino|torch-bf16|... [--images 96]

Random weights; pixels in, logits out. The eager network is timm's as users write it: three channels, float32,
contiguous, batches of 32 under `inference_mode`. Prints images a second (median of three passes), what computed, and
peak memory.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray

from benchmarks.speed.figures import peak_mb
from tumorscope.bundle.bundle import Card, save_bundle
from tumorscope.bundle.predictor import Predictor
from tumorscope.imaging.preprocess import Preprocessing
from tumorscope.models.registry import build_model

MODELS = ("resnet50", "efficientnet_b0", "tf_efficientnet_lite0", "mobilenetv2_100")
CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
BATCH = 32
PASSES = 3


def eager(model: str) -> Callable[[NDArray[np.uint8]], object]:
    """The usual way: the gray image three times, float32."""
    network = timm.create_model(model, pretrained=False, num_classes=len(CLASSES)).eval()
    mean, std = (torch.tensor(v)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))

    def run(images: NDArray[np.uint8]) -> object:
        with torch.inference_mode():
            return [
                network((torch.from_numpy(images[i : i + BATCH]).float().expand(-1, 3, -1, -1) / 255 - mean) / std)
                for i in range(0, len(images), BATCH)
            ]

    return run


def predictor(model: str, backend: str, folder: Path) -> Predictor:
    """A bundle of the same network for gray images, with random weights."""
    torch.manual_seed(0)
    architecture: dict[str, Any] = {
        "name": model,
        "outputs": len(CLASSES),
        "channels": 1,
        "size_px": 224,
        "options": {},
    }
    built = build_model(**architecture)
    card = Card(
        recipe=model,
        title=model,
        architecture=architecture,
        preprocessing=Preprocessing(size_px=224, channels=1),
        normalisation=built.normalisation,
        classes=CLASSES,
        positive=None,
        temperature=1.0,
        threshold=None,
        licence="Apache-2.0",
        metrics={},
        hashes={},
        versions={},
    )
    save_bundle(folder, built, card, pixels(4, seed=1))
    return Predictor.load(folder, backend=backend, batch=BATCH)


def pixels(n: int, *, seed: int) -> NDArray[np.uint8]:
    """(n, 1, 224, 224) uint8 noise."""
    return np.random.default_rng(seed).integers(0, 256, (n, 1, 224, 224), dtype=np.uint8)


def measure(model: str, backend: str, n: int) -> dict[str, Any]:
    """Images a second."""
    images = pixels(n, seed=0)
    with tempfile.TemporaryDirectory() as name:
        if backend == "eager":
            run, said = eager(model), "eager float32"
        else:
            found = predictor(model, backend, Path(name))
            run, said = found.logits, found.backend.name
        run(images[:BATCH])
        seconds = []
        for _ in range(PASSES):
            start = time.perf_counter()
            run(images)
            seconds.append(time.perf_counter() - start)
    return {"rate": n / sorted(seconds)[PASSES // 2], "backend": said, "peak_mb": peak_mb()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("backend")
    parser.add_argument("--images", type=int, default=96)
    arguments = parser.parse_args()
    sys.stdout.write(json.dumps(measure(arguments.model, arguments.backend, arguments.images)) + "\n")


if __name__ == "__main__":
    main()
