"""What a user would pick instead: fastai, Ultralytics `classify`, timm's way to train, on the same images.

    python -m benchmarks.speed.peers make-env ENV                  # an environment of their own, once
    ENV/bin/python -m benchmarks.speed.peers timm NAME --data DATA [--seed 0]  # one timing; also fastai, ultralytics

The same network (by timm; Ultralytics takes torchvision's), size, batch and number of epochs, random initial weights,
each peer's own loader; two workers, but on a CPU Ultralytics loads in its own process. All threads there are, which
Ultralytics by itself would not take. Whole images are validated (timm's cut of 0.875 is left out). fastai flips and
turns by up to 10 degrees; timm and Ultralytics change images as they do by themselves, or, in a work that asks for it
("mild"), by flips and crops of 0.9 to 1 of the area. fastai and Ultralytics train in float32 on a CPU; "timm" is a loop
over timm's transforms, network and optimizer as its train.py with `--amp --amp-dtype bfloat16 --channels-last` runs
it. Prints seconds of all of it and of the median epoch, validation included, the accuracy of the last validation by
the peer's own count, and the peer's version.
"""

from __future__ import annotations

import argparse
import json
import os
import site
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.figures import figures
from benchmarks.speed.works import Job, job

WORKERS = 2
COLOURS = {"hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0}


def make_env(folder: Path) -> None:
    """A virtual environment with fastai and Ultralytics, which takes torch from the one that runs this."""
    venv.create(folder, with_pip=True)
    library = next((folder / "lib").glob("python3*")) / "site-packages"
    (library / "shared.pth").write_text("\n".join(site.getsitepackages()) + "\n", encoding="utf-8")
    (library / "tumorscope.pth").write_text(f"{Path(__file__).resolve().parents[2] / 'src'}\n", encoding="utf-8")
    subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", "fastai", "ultralytics"], check=True)


def _named(work: Job, rows: Any) -> tuple[list[Path], list[int]]:
    paths = [work.root / work.manifest.records[i].path for i in rows.tolist()]
    return paths, work.targets[rows].tolist()


def timm_loop(work: Job, seed: int) -> dict[str, Any]:
    """Timm's transforms, optimizer and step: bf16 autocast and channels-last, as its train.py with those options."""
    import timm
    import torch
    from PIL import Image
    from timm.data.transforms_factory import create_transform
    from timm.optim._optim_factory import create_optimizer_v2
    from timm.scheduler.scheduler_factory import create_scheduler_v2
    from torch.utils.data import DataLoader, Dataset

    class Files(Dataset[Any]):
        def __init__(self, rows: Any, training: bool) -> None:
            self.paths, self.targets = _named(work, rows)
            side = work.work.size_px
            mild: dict[str, Any] = {"scale": (0.9, 1.0), "ratio": (1.0, 1.0), "color_jitter": 0.0}
            options = mild if work.work.mild and training else {}
            self.change = create_transform(
                (3, side, side), is_training=training, no_aug=not training, crop_pct=1.0, **options
            )

        def __len__(self) -> int:
            return len(self.paths)

        def __getitem__(self, index: int) -> Any:
            return self.change(Image.open(self.paths[index]).convert("RGB")), self.targets[index]

    torch.manual_seed(seed)
    start = time.perf_counter()
    train = DataLoader(
        Files(work.train, training=True),
        work.work.batch_size,
        shuffle=True,
        num_workers=WORKERS,
        persistent_workers=True,
    )
    val = DataLoader(Files(work.val, training=False), work.work.batch_size, num_workers=WORKERS)
    model = timm.create_model(work.work.model, num_classes=work.classes).to(memory_format=torch.channels_last)
    optimizer = create_optimizer_v2(model, opt="adam", lr=work.work.lr)
    schedule, _ = create_scheduler_v2(optimizer, sched="cosine", num_epochs=work.work.epochs)  # as its own script
    criterion = torch.nn.CrossEntropyLoss()
    epochs, right = [], 0
    for epoch in range(work.work.epochs):
        begun = time.perf_counter()
        model.train()
        for images, targets in train:
            batch = images.to(memory_format=torch.channels_last)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = criterion(model(batch), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        right = 0
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            for images, targets in val:
                logits = model(images.to(memory_format=torch.channels_last))
                criterion(logits, targets).item()
                right += int((logits.argmax(dim=1) == targets).sum())
        schedule.step(epoch + 1)
        epochs.append(time.perf_counter() - begun)
    return {**figures(start, epochs), "val_accuracy": right / len(work.val)}


def fastai(work: Job, seed: int) -> dict[str, Any]:
    """Fastai's DataBlock and Learner."""
    import timm
    import torch
    from fastai.vision import all as fast

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    fast.set_seed(seed)
    start = time.perf_counter()
    paths, targets = _named(work, np.concatenate([work.train, work.val]))
    block = fast.DataBlock(
        blocks=(fast.ImageBlock, fast.CategoryBlock),
        get_x=lambda place: paths[place],
        get_y=lambda place: targets[place],
        splitter=fast.IndexSplitter(list(range(len(work.train), len(paths)))),
        item_tfms=fast.Resize(work.work.size_px, method="squish"),
        batch_tfms=[fast.Flip(), fast.Rotate(max_deg=10), fast.Normalize.from_stats(*fast.imagenet_stats)],
    )
    loaders = block.dataloaders(
        range(len(paths)), bs=work.work.batch_size, num_workers=WORKERS, device=torch.device("cpu")
    )
    model = timm.create_model(work.work.model, num_classes=work.classes)
    learner = fast.Learner(loaders, model, loss_func=fast.CrossEntropyLossFlat(), metrics=fast.accuracy)
    ends = [time.perf_counter()]

    class Watch(fast.Callback):  # type: ignore[misc]  # no stubs
        def before_fit(self) -> None:
            ends[0] = time.perf_counter()

        def after_epoch(self) -> None:
            ends.append(time.perf_counter())

    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(work.work.epochs, work.work.lr, cbs=Watch())
    epochs = [end - begun for begun, end in pairwise(ends)]
    return {**figures(start, epochs), "val_accuracy": float(learner.recorder.values[-1][-1])}


def ultralytics(work: Job, seed: int) -> dict[str, Any]:
    """Ultralytics' classification trainer on folders of links, with torchvision's network of the same name."""
    os.environ |= {"YOLO_OFFLINE": "true", "YOLO_VERBOSE": "false", "WANDB_DISABLED": "true"}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        os.environ["YOLO_CONFIG_DIR"] = str(root / "config")
        for part, rows in (("train", work.train), ("val", work.val)):
            for number, (path, target) in enumerate(zip(*_named(work, rows), strict=True)):
                place = root / "data" / part / work.manifest.classes[target] / f"{number}{path.suffix}"
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(path.resolve())
        import torch
        import torchvision
        from ultralytics.models.yolo.classify import ClassificationTrainer

        class Network(torch.nn.Module):
            """The network with what the trainer asks of its own: a loss of a batch, and of predictions."""

            def __init__(self) -> None:
                super().__init__()
                self.inner = torchvision.models.get_model(work.work.model, num_classes=work.classes)

            def forward(self, batch: Any, *_: Any, **__: Any) -> Any:
                return self.loss(batch) if isinstance(batch, dict) else self.inner(batch)

            def criterion(self, predictions: Any, batch: Any) -> Any:
                return self.loss(batch, predictions)

            def loss(self, batch: Any, predictions: Any = None) -> Any:
                found = self.inner(batch["img"]) if predictions is None else predictions
                value = torch.nn.functional.cross_entropy(found, batch["cls"])
                return value, {"loss": value.detach()}

        class Trainer(ClassificationTrainer):  # type: ignore[misc]  # no stubs
            def setup_model(self) -> None:
                self.model = Network()

            def save_model(self) -> None:
                """Nothing: our side writes checkpoints, this one is spared them."""

            def final_eval(self) -> None:
                """Nothing: validation after the last epoch is timed already."""

        start = time.perf_counter()
        trainer = Trainer(
            overrides={
                "model": "yolo11n-cls.yaml",
                "data": str(root / "data"),
                "epochs": work.work.epochs,
                "imgsz": work.work.size_px,
                "batch": work.work.batch_size,
                "device": "cpu",
                "workers": WORKERS,
                "pretrained": False,
                "amp": False,
                "plots": False,
                "optimizer": "Adam",
                "lr0": work.work.lr,
                "seed": seed,
                **({"scale": 0.1, "auto_augment": None, "erasing": 0.0, **COLOURS} if work.work.mild else {}),
                "project": str(root / "runs"),
                "save": False,
            }
        )
        begun: list[float] = []
        epochs: list[float] = []
        # by itself it keeps one core free, of two
        trainer.add_callback("on_train_start", lambda _: torch.set_num_threads(len(os.sched_getaffinity(0))))
        trainer.add_callback("on_train_epoch_start", lambda _: begun.append(time.perf_counter()))
        trainer.add_callback("on_fit_epoch_end", lambda _: epochs.append(time.perf_counter() - begun[-1]))
        trainer.train()
        accuracy = float(trainer.metrics["metrics/accuracy_top1"])
        return {**figures(start, epochs[: work.work.epochs]), "val_accuracy": accuracy}


Train = Callable[[Job, int], dict[str, Any]]
PEERS: dict[str, Train] = {"timm": timm_loop, "fastai": fastai, "ultralytics": ultralytics}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=[*PEERS, "make-env"])
    parser.add_argument("name", help="a work, or the environment's folder")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.peer == "make-env":
        make_env(Path(arguments.name))
    else:
        found = PEERS[arguments.peer](job(arguments.name, arguments.data), arguments.seed)
        found["version"] = version(arguments.peer)
        sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
