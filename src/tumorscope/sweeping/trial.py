"""Score one point: train it on each fold and read the chosen figure on the fold's validation images.

In: a `Job` and a point. Out: one `FoldScore` a fold. The figure is that of the epoch which the recipe keeps; the same
seed and folds for all points, so that they differ by their values alone.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from tumorscope.core.errors import DataError
from tumorscope.imaging.augment import AugmentSpec
from tumorscope.imaging.loader import BatchLoader
from tumorscope.models.freeze import apply_freeze, trainable_names
from tumorscope.models.registry import BuiltModel, build_model
from tumorscope.sweeping.job import Job
from tumorscope.training.attend import regions_to_attend
from tumorscope.training.fit import fit
from tumorscope.training.losses import Loss, make_loss, outputs_needed
from tumorscope.training.plan import Plan, choose_plan, threads_set
from tumorscope.training.recipe import Recipe, Scalar
from tumorscope.training.resolve import preprocessing_of, resolve, wishes_of


@dataclass(frozen=True, slots=True)
class FoldScore:
    """What one fold gave.

    Attributes:
        value: The sweep's metric at the epoch kept.
        epoch: That epoch, from 1.
        epochs: Epochs trained.
        seconds: Wall time, everything included.
        cpu_seconds: Processor time of all threads.
        row: All validation figures of the epoch kept.
    """

    value: float
    epoch: int
    epochs: int
    seconds: float
    cpu_seconds: float
    row: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """As kept with each trial."""
        return asdict(self)


@dataclass(frozen=True)
class _Bench:
    """Network, batches and loss of one point on one fold."""

    recipe: Recipe
    built: BuiltModel
    train: BatchLoader
    val: BatchLoader
    loss: Loss
    positive: int | None


def score_point(
    job: Job,
    point: Mapping[str, Scalar],
    *,
    scratch: Path,
    after_fold: Callable[[FoldScore], bool] = lambda _: True,
) -> list[FoldScore]:
    """Scores of a point on the folds, in their order.

    Args:
        job: What all points share.
        point: Recipe keys and values.
        scratch: Folder for checkpoints, which are thrown away.
        after_fold: Called with each score; False leaves the other folds out.

    Raises:
        DataError: If training diverges, or the metric is undefined on a fold.
        UsageError: If the values contradict one another.
    """
    recipe = job.space.recipe(job.recipe, point)
    scores: list[FoldScore] = []
    for fold in range(len(job.folds)):
        scores.append(_score_fold(job, recipe, fold, scratch))
        if not after_fold(scores[-1]):
            break
    return scores


def _score_fold(job: Job, recipe: Recipe, fold: int, scratch: Path) -> FoldScore:
    start, start_cpu = time.perf_counter(), time.process_time()
    bench = _bench(job, recipe, fold)
    plan = planned(bench.recipe, job.plan)
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as folder, threads_set(plan.threads):
        result = fit(
            bench.recipe,
            bench.built,
            bench.train,
            bench.val,
            folder=Path(folder),
            loss=bench.loss,
            classes=len(job.manifest.classes),
            positive=bench.positive,
            plan=plan,
            split_sha256=job.folds.sha256,
            console=Console(quiet=True),
        )
    row = {k: float(v) for k, v in result.rows[result.best_row].items() if k.startswith("val_")}
    value = row[job.sweep.metric]
    if not math.isfinite(value):
        raise DataError(
            f"{job.sweep.metric} is {value} on fold {fold + 1}",
            expected="a finite figure",
            where="[sweep] metric",
            fix="choose another metric, or fewer folds so that each holds every class",
        )
    return FoldScore(
        value=value,
        epoch=result.best_row + 1,
        epochs=len(result.rows),
        seconds=time.perf_counter() - start,
        cpu_seconds=time.process_time() - start_cpu,
        row=row,
    )


def _bench(job: Job, recipe: Recipe, fold: int) -> _Bench:
    manifest = job.manifest
    recipe = resolve(recipe, manifest)
    cache = job.cache(preprocessing_of(recipe))
    classes = len(manifest.classes)
    positive = None if recipe.data.positive is None else manifest.classes.index(recipe.data.positive)
    train, val = job.folds.parts[fold]
    part = recipe.model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.train.seed)
        built = build_model(
            part.name,
            outputs=outputs_needed(recipe.train, classes),
            channels=cache.images.shape[1],
            size_px=recipe.image.size_px,
            weights=part.weights,
            dropout=part.dropout,
            options=part.options,
            mean=None if part.mean is None else tuple(part.mean),
            std=None if part.std is None else tuple(part.std),
        )
    loss = make_loss(recipe.train, train_targets=manifest.targets[train], classes=classes, positive=positive)
    augment = recipe.augment.model_dump()
    augment["scale"] = tuple(augment["scale"])
    regions = None
    if recipe.train.attend == "boxes":
        regions, _ = regions_to_attend(manifest, cache, train, lesion_free=recipe.train.lesion_free)
    common: dict[str, Any] = {
        "batch_size": recipe.train.batch_size,
        "normalisation": built.normalisation,
        "seed": recipe.train.seed,
        "device": job.plan.device,
    }
    return _Bench(
        recipe,
        built,
        BatchLoader(
            cache.images,
            manifest.targets,
            rows=train,
            augment=AugmentSpec(**augment),
            regions=regions,
            shuffle=True,
            **common,
        ),
        BatchLoader(cache.images, manifest.targets, rows=val, **common),
        loss,
        positive,
    )


def planned(recipe: Recipe, plan: Plan) -> Plan:
    """The shared plan, with what the recipe of a point fixes itself."""
    wishes = wishes_of(recipe)
    return replace(
        plan,
        precision=plan.precision if wishes.precision == "auto" else wishes.precision,
        memory_format=plan.memory_format if wishes.memory_format == "auto" else wishes.memory_format,
        threads=plan.threads if wishes.threads == "auto" else wishes.threads,
        compile=plan.compile if wishes.compile == "auto" else wishes.compile,
    )


def measure_plan(job: Job) -> Plan:
    """How steps of a point, the first one, are computed fastest by one process of several.

    One thread each, so that scores do not depend on how many processes there are; never compiled unless the recipe
    says so, as that takes half a minute a fold.
    """
    bench = _bench(job, job.space.recipe(job.recipe, job.space.some_point()), 0)
    wishes = wishes_of(bench.recipe)
    wishes = replace(
        wishes,
        threads=1 if wishes.threads == "auto" else wishes.threads,
        compile=False if wishes.compile == "auto" else wishes.compile,
    )
    heaviest = max(
        (stage.trainable for stage in bench.recipe.stage.values()),
        key=lambda part: len(trainable_names(bench.built, part)),
    )
    apply_freeze(bench.built, heaviest)
    bench.built.module.train()
    images, targets, *_ = next(iter(bench.train))
    with threads_set(int(wishes.threads)):
        return choose_plan(
            bench.built.module,
            images.contiguous(),
            lambda logits: bench.loss(logits, targets),
            device=job.plan.device,
            wishes=wishes,
        )


def standard_error(values: list[float]) -> float | None:
    """Standard error of the mean over folds; None for one fold."""
    if len(values) < 2:
        return None
    return float(np.std(values, ddof=1) / math.sqrt(len(values)))
