"""The same training by tumorscope: decode once, plan, frozen part once, fit with checkpoints and validation.

    python -m benchmarks.speed.ours NAME --data DATA

The scan of the data and the plan come before the clock starts (a machine remembers the plan) and are told apart;
everything else is inside: decoding into a new cache, building the network, the frozen part, all epochs with their
checkpoints.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.speed.figures import figures
from benchmarks.speed.works import Course, Job, Work, job
from tumorscope.bundle.network import run_network
from tumorscope.imaging.augment import AugmentSpec
from tumorscope.imaging.cache import open_cache
from tumorscope.imaging.loader import BatchLoader
from tumorscope.imaging.preprocess import Preprocessing
from tumorscope.models.freeze import apply_freeze, set_training_mode
from tumorscope.models.registry import BuiltModel, build_model
from tumorscope.training.fit import fit
from tumorscope.training.losses import make_loss
from tumorscope.training.plan import Plan, Wishes, choose_plan, threads_set
from tumorscope.training.recipe import Recipe, parse_recipe


class Watch(io.StringIO):
    """Where the lines of a training go; notes when the first epoch's line came."""

    def __init__(self) -> None:
        super().__init__()
        self.first: float | None = None

    def write(self, text: str) -> int:
        """Take a line."""
        if self.first is None and "train_loss" in text:
            self.first = time.perf_counter()
        return super().write(text)


def course_of(work: Work) -> Course:
    """What ours takes, batch size and dropout included."""
    course = work.instead or Course(work.epochs, work.lr, "none")
    dropout = (0.3 if work.model == "cnn28" else 0.0) if course.dropout is None else course.dropout
    return replace(course, batch_size=course.batch_size or work.batch_size, dropout=dropout)


def recipe_of(work: Job, seed: int) -> Recipe:
    """The work as a recipe."""
    stage = {**asdict(course_of(work.work)), "trainable": work.work.trainable}
    batch_size, dropout = stage.pop("batch_size"), stage.pop("dropout")
    return parse_recipe(
        {
            "name": work.work.name,
            "title": work.work.title,
            "image": {"size_px": work.work.size_px, "channels": 1},
            "model": {"name": work.work.model, "dropout": dropout},
            "train": {"batch_size": batch_size, "monitor": "last", "seed": seed},
            "stage": {"one": stage},
        },
        where=__name__,
    )


def build(work: Job, seed: int, weights: Path | None) -> BuiltModel:
    """The network, random weights where no file is given."""
    torch.manual_seed(seed)
    options = {"convs": 2, "batch_norm": True} if work.work.model == "cnn28" else None
    return build_model(
        work.work.model,
        outputs=work.classes,
        channels=1,
        size_px=work.work.size_px,
        weights="none" if weights is None else str(weights),
        dropout=course_of(work.work).dropout or 0.0,
        options=options,
    )


def opened(work: Job, rows: list[int], root: Path) -> NDArray[np.uint8]:
    """(N, 1, S, S) uint8 images of these rows from a new cache below `root`."""
    records = work.manifest.records
    cache = open_cache(
        [records[i].pixels_sha256 for i in rows],
        lambda: work.manifest.pixels(rows),
        Preprocessing(size_px=work.work.size_px, channels=1),
        root=root,
    )
    return cache.images


def loaders(work: Job, built: BuiltModel, root: Path, seed: int) -> tuple[BatchLoader, BatchLoader]:
    """Training and validation batches from a new cache below `root`."""
    rows = [*work.train.tolist(), *work.val.tolist()]
    images = opened(work, rows, root)
    common: dict[str, Any] = {"batch_size": course_of(work.work).batch_size, "normalisation": built.normalisation}
    targets = work.targets[rows]
    augment = AugmentSpec(flip_horizontal=0.5, rotate_deg=10)
    first = len(work.train)
    train = BatchLoader(images, targets, rows=range(first), augment=augment, shuffle=True, seed=seed, **common)
    return train, BatchLoader(images, targets, rows=range(first, len(rows)), **common)


def plan_of(work: Job, recipe: Recipe, root: Path, wishes: Wishes) -> Plan:
    """The plan that a run of the recipe's own length would measure."""
    built = build(work, 0, None)
    train, _ = loaders(work, built, root, 0)
    apply_freeze(built, work.work.trainable)
    set_training_mode(built.module)
    images, targets, _ = next(iter(train))
    loss = make_loss(recipe.train, train_targets=work.targets[work.train], classes=work.classes, positive=None)
    return choose_plan(built.module, images, lambda logits: loss(logits, targets), wishes=wishes, steps=0)


def run(work: Job, wishes: Wishes, *, seed: int = 0, weights: Path | None = None) -> dict[str, Any]:
    """The figures of one training, the plan, and the frozen part; with test images also its accuracy on them."""
    recipe = recipe_of(work, seed)
    watch = Watch()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        begun = time.perf_counter()
        plan = plan_of(work, recipe, root / "plan", wishes)
        start = time.perf_counter()
        built = build(work, seed, weights)
        train, val = loaders(work, built, root / "run", seed)
        loss = make_loss(recipe.train, train_targets=work.targets[work.train], classes=work.classes, positive=None)
        with threads_set(plan.threads):
            result = fit(
                recipe,
                built,
                train,
                val,
                folder=root,
                loss=loss,
                classes=work.classes,
                positive=None,
                plan=plan,
                split_sha256="",
                console=Console(file=watch),
            )
        found = figures(start, result.seconds, first=watch.first)
        more: dict[str, Any] = {
            "plan": plan.line(),
            "plan_s": start - begun,
            "frozen": result.stages[0]["frozen"],
            "history": [row["val_accuracy"] for row in result.rows],
            "val_accuracy": result.rows[-1]["val_accuracy"],
        }
        if len(work.test):
            images = opened(work, work.test.tolist(), root / "test")
            logits = run_network(
                built.module, images, normalisation=built.normalisation, classes=work.classes, positive=None
            )
            more["accuracy"] = float((logits.argmax(axis=1) == work.targets[work.test]).mean())
    return {**found, **more}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--compile", action="store_true", help="compile the network, as long runs do")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    wishes = Wishes(compile=arguments.compile)
    begun = time.perf_counter()
    work = job(arguments.name, arguments.data)
    scan_s = time.perf_counter() - begun
    found = run(work, wishes, seed=arguments.seed)
    sys.stdout.write(json.dumps({**found, "scan_s": scan_s}) + "\n")


if __name__ == "__main__":
    main()
