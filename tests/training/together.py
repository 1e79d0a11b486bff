"""Trainings that one process and two must do alike, and what runs them: in this process, or in one of several.

`python -m tests.training.together FOLDER` joins the others that the environment names and writes what it found to
`FOLDER/RANK.pt`.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn

from tests.training.test_run import recipe
from tumorscope.imaging.augment import AugmentSpec
from tumorscope.imaging.loader import BatchLoader
from tumorscope.models.registry import build_model
from tumorscope.training import fit as fitting
from tumorscope.training.fit import FitResult, fit
from tumorscope.training.losses import make_loss, outputs_needed
from tumorscope.training.plan import Plan, threads_set
from tumorscope.training.processes import ALONE, Processes, joined, leave

ROOT = Path(__file__).resolve().parent.parent.parent
PLAN = Plan("cpu", "fp32", "contiguous", 1, False, "test")
ADAMW = {"epochs": 2, "lr": 3e-3, "optimizer": "adamw", "schedule": "one_cycle"}

CASES: dict[str, dict[str, Any]] = {
    # 27 training images in batches of 8: the last one has 3, so shares of 1 and 2
    "batch norm and class weights": {
        "model": {"name": "cnn28", "options": {"batch_norm": True}},
        "train": {"class_weights": "balanced", "label_smoothing": 0.1},
        "stage": {"all": ADAMW},
    },
    "one output and clipped gradients": {
        "model": {"name": "tinyvgg"},
        "train": {"loss": "bce", "pos_weight": "auto", "clip_norm": 0.5, "memory_format": "channels_last"},
        "stage": {"all": {"epochs": 2, "lr": 1e-2, "optimizer": "sgd"}},
    },
    "a frozen part that runs once": {
        "model": {"name": "cnn_bn"},
        "stage": {
            "first": {"epochs": 1, "lr": 1e-3, "optimizer": "adamw"},
            "second": {"epochs": 3, "lr": 1e-3, "trainable": "last:1", "views": 2, "schedule": "plateau"},
        },
    },
    "attention to boxes": {
        "model": {"name": "cnn28"},
        "train": {"attend": "boxes", "attend_weight": 0.5},
        "stage": {"all": ADAMW},
    },
    "fewer images than processes": {"model": {"name": "tinyvgg"}, "stage": {"all": ADAMW}},
}
NORMS = {
    "shares": (nn.BatchNorm2d, (slice(0, 3), slice(3, 7))),
    "an empty share": (nn.BatchNorm2d, (slice(0, 7), slice(7, 7))),
    "an activation after it": (BatchNormAct2d, (slice(0, 3), slice(3, 7))),
}
"""Kinds of batch norms, and how seven images are shared out."""
SERIES: dict[str, dict[str, Any]] = {"seeds": {"seeds": 2}, "folds": {"folds": 2}}
"""Whole runs that are several trainings."""


def run_case(name: str, folder: Path, processes: Processes = ALONE, *, resume: bool = False) -> FitResult:
    """One of the cases: 27 images to learn (1 in the last), 9 to validate."""
    changes = {key: dict(value) for key, value in CASES[name].items()}
    changes["model"]["dropout"] = 0.0
    changes["train"] = {"batch_size": 8, **changes.get("train", {})}
    wanted = recipe(**changes)
    classes, positive = (2, 1) if wanted.train.loss == "bce" else (3, None)
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (36, 1, 32, 32), dtype=np.uint8)
    targets = np.minimum(np.arange(36) % 5, classes - 1).astype(np.int64)  # the last class is the largest
    images[np.arange(36), 0, targets * 9 + 4] = 255
    regions = np.zeros((36, 1, 56, 56), np.uint8)
    regions[:6, :, 5:30, 10:40] = 255
    torch.manual_seed(5)
    built = build_model(
        wanted.model.name,
        outputs=outputs_needed(wanted.train, classes),
        channels=1,
        size_px=32,
        options=dict(wanted.model.options),
    )
    rows = range(1 if name == "fewer images than processes" else 27)
    common: dict[str, Any] = {
        "batch_size": 8,
        "normalisation": built.normalisation,
        "seed": 7,
        "share": processes.share,
    }
    train = BatchLoader(
        images,
        targets,
        rows=rows,
        augment=AugmentSpec(rotate_deg=10, contrast=0.2, erase=0.3),
        regions=regions if wanted.train.attend == "boxes" else None,
        shuffle=True,
        **common,
    )
    with threads_set(1):
        return fit(
            wanted,
            built,
            train,
            BatchLoader(images, targets, rows=range(27, 36), **common),
            folder=folder,
            loss=make_loss(wanted.train, train_targets=targets, classes=classes, positive=positive),
            classes=classes,
            positive=positive,
            plan=Plan("cpu", "fp32", wanted.train.memory_format, 1, False, "test"),  # type: ignore[arg-type]  # not auto
            split_sha256="s",
            console=Console(quiet=True),
            resume=resume,
            processes=processes,
        )


def norm_of(images: Tensor, above: Tensor, norm: nn.Module) -> dict[str, Tensor]:
    """What a batch norm in training mode makes of images, and of the gradient above it."""
    images = images.clone().requires_grad_()
    found = norm(images)
    found.backward(above)
    assert images.grad is not None
    gradients = {f"{name}.grad": p.grad for name, p in norm.named_parameters() if p.grad is not None}
    return {"found": found.detach(), "below": images.grad, **gradients, **dict(norm.named_buffers())}


def norm_example(kind: type[nn.BatchNorm2d]) -> tuple[Tensor, Tensor, nn.BatchNorm2d]:
    """Images far from zero, a gradient, and a norm that has seen others."""
    generator = torch.Generator().manual_seed(0)
    norm = kind(4)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, 1.0, -2.0, 3.0]))
        norm.running_mean.add_(0.3)  # type: ignore[union-attr]  # it keeps them
    images = 30 + torch.randn(7, 4, 5, 5, generator=generator) * torch.arange(1, 8)[:, None, None, None]
    return images, torch.randn(images.shape, generator=generator), norm


def environment(rank: int, world: int, port: int) -> dict[str, str]:
    """What torch's launcher would set."""
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}
    fixed = {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "test", "GLOO_SOCKET_IFNAME": "lo"}
    return {**os.environ, **{name: str(value) for name, value in names.items()}, **fixed, "OMP_WAIT_POLICY": "passive"}


def start(words: Sequence[str], *, world: int = 2) -> list[subprocess.CompletedProcess[str]]:
    """Run `python WORDS` in several processes as torch's launcher would, and wait for them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = [
        subprocess.Popen(
            [sys.executable, *words],
            env=environment(rank, world, port),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    try:
        said = [process.communicate(timeout=240) for process in started]
    finally:
        for process in started:
            process.kill()
    return [
        subprocess.CompletedProcess(p.args, p.returncode, out, err) for p, (out, err) in zip(started, said, strict=True)
    ]


def _stopped(name: str, folder: Path, processes: Processes) -> FitResult:
    """A case that is stopped after its first epoch and goes on."""
    close = fitting._Keeper.close_epoch

    def stop(self: Any, *args: Any) -> None:
        close(self, *args)
        raise MemoryError

    fitting._Keeper.close_epoch = stop  # type: ignore[assignment, method-assign]  # in this process alone
    try:
        run_case(name, folder, processes)
    except MemoryError:
        pass
    finally:
        fitting._Keeper.close_epoch = close  # type: ignore[method-assign]  # in this process only
    return run_case(name, folder, processes, resume=True)


def _watch(allowed: Path) -> list[str]:
    """Paths that this process opens for writing from now on, outside of `allowed`."""
    written: list[str] = []

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | os.PathLike):
            path, _, flags = arguments
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and not str(path).startswith(("/dev/", str(allowed))):
                written.append(str(path))

    sys.addaudithook(note)
    return written


def main() -> None:
    """All cases, a norm alone, a stopped case, one whole run, and series of them."""
    from tumorscope import api

    folder = Path(sys.argv[1])
    with joined() as processes:
        mine = folder / f"{processes.rank}.pt"
        written = _watch(mine)
        found: dict[str, Any] = {}
        for name in CASES:
            place = folder / name
            result = run_case(name, place, processes)
            found[name] = {"rows": result.rows, "frozen": [s["frozen"] for s in result.stages]}
        found["stopped"] = {"rows": _stopped("batch norm and class weights", folder / "stopped", processes).rows}

        from tumorscope.training.norms import synchronise

        for what, (kind, parts) in NORMS.items():
            images, above, norm = norm_example(kind)
            part = parts[processes.rank]
            found[what] = norm_of(images[part], above[part], synchronise(norm))
        for what, asked in {"run": {}, **SERIES}.items():
            api.train(
                str(folder / "recipe.toml"),
                str(folder / "scans"),
                out=folder / what,
                console=Console(stderr=True),
                processes=processes,
                **asked,
            )
        found["written"] = list(written)
        torch.save(found, mine)


if __name__ == "__main__":
    main()
    leave(0)
