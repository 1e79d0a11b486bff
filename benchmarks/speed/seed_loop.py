"""The baseline: how the five student systems train, written out faithfully.

Each epoch decodes every file by Pillow, changes images one by one with torchvision transforms, copies gray to three
channels, and runs the whole network in float32 with contiguous tensors, frozen part included. Loader workers: the
better of 0 and 2 is taken by the caller.

    python -m benchmarks.speed.seed_loop NAME --data DATA --workers 0
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.speed.figures import figures
from benchmarks.speed.works import Job, job
from tumorscope.models.cnns import cnn28, cnn_bn, tinyvgg
from tumorscope.models.registry import build_model


class Files(Dataset[tuple[Tensor, int]]):
    """Images decoded anew each time they are asked for."""

    def __init__(self, work: Job, rows: NDArray[np.int64], change: transforms.Compose) -> None:
        self.paths = [work.root / work.manifest.records[i].path for i in rows.tolist()]
        self.targets = work.targets[rows]
        self.change = change

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.change(Image.open(self.paths[index]).convert("RGB")), int(self.targets[index])


class Arrays(Dataset[tuple[Tensor, int]]):
    """Images of an array, as the MedMNIST package hands them out."""

    def __init__(self, work: Job, rows: NDArray[np.int64], change: transforms.Compose) -> None:
        self.images = list(work.manifest.pixels(rows.tolist()))
        self.targets = work.targets[rows]
        self.change = change

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.change(Image.fromarray(self.images[index])), int(self.targets[index])


def network(work: Job, weights: Path | None) -> nn.Module:
    """The network as the systems build it; the frozen part by `requires_grad`.

    Args:
        work: The work.
        weights: ImageNet weights in timm's names; random ones without.
    """
    size_px = work.work.size_px
    if work.work.model == "cnn28":
        return cnn28(channels=1, outputs=work.classes, size_px=size_px, dropout=0.3, convs=2, batch_norm=True)
    if work.work.model in ("tinyvgg", "cnn_bn"):
        make = tinyvgg if work.work.model == "tinyvgg" else cnn_bn
        return make(channels=3, outputs=work.classes, size_px=size_px, dropout=0.0)
    model: nn.Module = timm.create_model(work.work.model, pretrained=False, num_classes=work.classes)
    head = "fc" if hasattr(model, "fc") else "classifier"
    if weights is not None:
        state = {k: v for k, v in load_file(weights).items() if not k.startswith(f"{head}.")}
        missing = model.load_state_dict(state, strict=False).missing_keys
        assert set(missing) == {f"{head}.weight", f"{head}.bias"}, missing
    if work.work.trainable != "all":
        # the names of what ours trains: the head, and in stage 2 the group of parameters before it
        built = build_model(work.work.model, outputs=work.classes, channels=3, size_px=size_px)
        count = {"head": 1, "last:1": 2}[work.work.trainable]
        kept = {name for group in built.groups[-count:] for name in group}
        names = {name for name, _ in model.named_parameters()}
        assert kept <= names, kept - names
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in kept)
    return model


def turning(side: int, *, mirrored: bool) -> list[Any]:
    """A random turn by up to 10 degrees.

    Args:
        side: Height and width in pixels.
        mirrored: As tumorscope turns: between pixels, what lies outside mirrored in. Otherwise as torchvision does by
            itself, and the student systems with it: by the nearest pixel, with black corners.
    """
    if not mirrored:
        return [transforms.RandomRotation(10)]
    turn = transforms.RandomRotation(10, interpolation=transforms.InterpolationMode.BILINEAR)
    return [transforms.Pad(side // 4, padding_mode="symmetric"), turn, transforms.CenterCrop(side)]


def kind_of(work: Job) -> type[Files] | type[Arrays]:
    """How the work's images are kept: as files, or as an array."""
    return Arrays if work.work.data.endswith(".npz") else Files


def transforms_of(work: Job, *, mirrored: bool) -> tuple[transforms.Compose, transforms.Compose]:
    """What is done to a training image and to any other; `mirrored` as in `turning`."""
    side = work.work.size_px
    small = kind_of(work) is Arrays
    scale = (
        transforms.Normalize(0.5, 0.5) if small else transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    )
    resize = [] if small else [transforms.Resize((side, side))]
    changed = transforms.Compose(
        [
            *resize,
            transforms.RandomHorizontalFlip(),
            *turning(side, mirrored=mirrored),
            transforms.ToTensor(),
            scale,
        ]
    )
    plain = transforms.Compose([*resize, transforms.ToTensor(), scale])
    return changed, plain


def run(
    work: Job,
    workers: int,
    *,
    seed: int = 0,
    weights: Path | None = None,
    mirrored: bool = False,
    until: float | None = None,
) -> dict[str, Any]:
    """The figures of one training; with test images also its accuracy on them.

    Args:
        work: What to train.
        workers: Loader processes.
        seed: Seed of weights, order and changes.
        weights: ImageNet weights in timm's names; random ones without.
        mirrored: As in `turning`.
        until: Validation accuracy after which no further epoch is begun.
    """
    changed, plain = transforms_of(work, mirrored=mirrored)
    torch.manual_seed(seed)
    start = time.perf_counter()
    kind = kind_of(work)
    train = DataLoader(kind(work, work.train, changed), work.work.batch_size, shuffle=True, num_workers=workers)
    val = DataLoader(kind(work, work.val, plain), work.work.batch_size, num_workers=workers)
    model = network(work, weights)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=work.work.lr)
    criterion = nn.CrossEntropyLoss()
    epochs: list[float] = []
    history: list[float] = []
    for _ in range(work.work.epochs):
        begun = time.perf_counter()
        model.train()
        for images, targets in train:
            optimizer.zero_grad()
            loss = criterion(model(images), targets)
            loss.backward()
            optimizer.step()
        right = 0
        model.eval()
        with torch.no_grad():
            for images, targets in val:
                logits = model(images)
                criterion(logits, targets).item()
                right += int((logits.argmax(dim=1) == targets).sum())
        history.append(right / len(work.val))
        epochs.append(time.perf_counter() - begun)
        if until is not None and history[-1] >= until:
            break
    found = {**figures(start, epochs), "history": history}
    if len(work.test):
        test = DataLoader(kind(work, work.test, plain), work.work.batch_size)
        with torch.no_grad():
            right = sum(int((model(images).argmax(dim=1) == targets).sum()) for images, targets in test)
        found["accuracy"] = right / len(work.test)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=0)
    arguments = parser.parse_args()
    sys.stdout.write(json.dumps(run(job(arguments.name, arguments.data), arguments.workers)) + "\n")


if __name__ == "__main__":
    main()
