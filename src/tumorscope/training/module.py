"""The Lightning module of one stage: loss, optimizer, schedule, and validation metrics from collected logits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torchmetrics import functional as metrics

from tumorscope.core.errors import DataError
from tumorscope.models.freeze import set_training_mode
from tumorscope.models.outputs import class_logits
from tumorscope.training.attend import Attention
from tumorscope.training.losses import Loss
from tumorscope.training.processes import ALONE, Processes
from tumorscope.training.recipe import Stage

Batch = tuple[Tensor, ...]

_OPTIMIZERS: Mapping[str, Any] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adamax": torch.optim.Adamax,
    "rmsprop": torch.optim.RMSprop,
    "sgd": torch.optim.SGD,
}

_ONE_PASS = ("adam", "adamw", "sgd")
"""Optimizers that torch can step in one pass over memory, on CPU and CUDA alike."""


def make_optimizer(stage: Stage, parameters: list[nn.Parameter], *, clips: bool = False) -> torch.optim.Optimizer:
    """The stage's optimizer over its trainable parameters.

    Args:
        stage: Which one, and its values.
        parameters: What is trained.
        clips: Gradients will be clipped; the trainer does that for an optimizer of several passes only.
    """
    extra: dict[str, Any] = {"momentum": stage.momentum} if stage.optimizer in ("rmsprop", "sgd") else {}
    if stage.optimizer in _ONE_PASS and not clips:
        extra["fused"] = True  # a quarter of the time over the parameters of ResNet-50
    optimizer: torch.optim.Optimizer = _OPTIMIZERS[stage.optimizer](
        parameters, lr=stage.lr, weight_decay=stage.weight_decay, **extra
    )
    return optimizer


def make_scheduler(
    stage: Stage, optimizer: torch.optim.Optimizer, steps_per_epoch: int
) -> lr_scheduler.LRScheduler | None:
    """The stage's schedule; one_cycle moves every step, the others every epoch."""
    if stage.schedule == "step":
        return lr_scheduler.StepLR(optimizer, stage.step_size, stage.gamma)
    if stage.schedule == "plateau":
        return lr_scheduler.ReduceLROnPlateau(optimizer, factor=stage.gamma, patience=stage.plateau_patience)
    if stage.schedule == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, stage.epochs)
    if stage.schedule == "one_cycle":
        return lr_scheduler.OneCycleLR(
            optimizer, stage.lr, total_steps=stage.epochs * steps_per_epoch, cycle_momentum=False
        )
    return None


def validation_metrics(logits: Tensor, targets: Tensor, *, positive: int | None) -> dict[str, float]:
    """Validation metrics from all class logits (N, C) and targets (N,), in the names recipes monitor.

    AUROC is that of the positive class with two classes, the macro average of one-against-rest otherwise; NaN if
    a class is absent.
    """
    classes = logits.shape[1]
    probs = logits.float().softmax(dim=1)
    if len(torch.unique(targets)) < classes:
        auroc = math.nan
    elif classes == 2:
        column = 1 if positive is None else positive
        auroc = _number(metrics.auroc(probs[:, column], (targets == column).long(), task="binary"))
    else:
        auroc = _number(metrics.auroc(probs, targets, task="multiclass", num_classes=classes))
    return {
        "val_accuracy": float((probs.argmax(dim=1) == targets).double().mean()),
        "val_balanced_accuracy": float(
            metrics.recall(probs, targets, task="multiclass", num_classes=classes, average="macro")
        ),
        "val_macro_f1": float(
            metrics.f1_score(probs, targets, task="multiclass", num_classes=classes, average="macro")
        ),
        "val_auroc": auroc,
    }


def _number(value: Tensor | None) -> float:
    return math.nan if value is None else float(value)


class StageModule(L.LightningModule):
    """One training stage.

    Args:
        network: (B, C, S, S) to (B, outputs), `requires_grad` already set.
        forward: From what the loaders hand out to (B, outputs): the network, or what follows its frozen part.
        loss: From logits and targets to a scalar.
        stage: Optimizer and schedule.
        classes: Number of classes.
        positive: Position of the positive class, or None.
        steps_per_epoch: Batches an epoch.
        seed: Root of dropout; every epoch starts from its own value, so that a resumed run draws the same.
        first_epoch: Epochs of this stage done before.
        attention: Adds to the training loss what lies outside the regions that batches carry.
        clips: Gradients will be clipped.
        processes: Those that train together; each sees its share of every batch.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        forward: Callable[[Tensor], Tensor],
        loss: Loss,
        stage: Stage,
        classes: int,
        positive: int | None,
        steps_per_epoch: int,
        seed: int,
        first_epoch: int = 0,
        attention: Attention | None = None,
        clips: bool = False,
        processes: Processes = ALONE,
    ) -> None:
        super().__init__()
        self.network = network
        self.answer = forward
        self.loss = loss
        self.stage = stage
        self.classes = classes
        self.positive = positive
        self.seed = seed
        self.first_epoch = first_epoch
        self.attention = attention
        self.processes = processes
        self.optimizer = make_optimizer(stage, [p for p in network.parameters() if p.requires_grad], clips=clips)
        self.scheduler = make_scheduler(stage, self.optimizer, steps_per_epoch)
        self.row: dict[str, float] = {}
        self.value = math.nan
        self._sums = {"loss": 0.0, "right": 0.0, "n": 0.0}
        self._collected: list[tuple[Tensor, Tensor]] = []

    @property
    def stage_epoch(self) -> int:
        """Number of the running epoch within the stage, from 0, resumption counted in."""
        return self.first_epoch + self.current_epoch

    @property
    def seen(self) -> int:
        """Training images of the running epoch so far, in all processes."""
        return int(self._sums["n"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer; the schedule is stepped here and not by the trainer, so that it resumes exactly."""
        return self.optimizer

    def on_train_epoch_start(self) -> None:
        """Seed dropout for this epoch and start new sums."""
        root = [self.seed, 0xD0, self.stage_epoch]
        if not self.processes.alone:
            root.append(self.processes.rank)  # or every share of a batch would lose the same units
        state = np.random.SeedSequence(root).generate_state(1, np.uint64)
        torch.manual_seed(int(state[0] >> 1))
        set_training_mode(self.network)
        self._sums = dict.fromkeys(self._sums, 0.0)
        self.row = {"lr": float(self.optimizer.param_groups[0]["lr"])}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch; of several processes, what makes the mean of their gradients that of the whole batch.

        Raises:
            DataError: If the loss is NaN or infinite; nothing can be learned from then on.
        """
        images, targets, _, *regions = batch
        logits = self.answer(images).float()
        with torch.no_grad():
            chosen = class_logits(logits.detach(), classes=self.classes, positive=self.positive).argmax(dim=1)
            right = float((chosen == targets).sum())
        if self.processes.alone:
            n = float(len(targets))
            loss = self.loss(logits, targets)
            if self.attention is not None and regions:
                loss = loss + self.attention.term(logits, targets, regions[0])
            self.value = float(loss.detach())
        else:
            loss, (right, n) = self._over_all(logits, targets, regions, counts=(right, len(targets)))
        if not math.isfinite(self.value):
            raise DataError(
                f"the training loss became {self.value} in epoch {self.stage_epoch + 1}, batch {batch_idx + 1}",
                expected="a finite loss",
                where="[stage] lr, [train] precision",
                fix="lower the learning rate, or set train.precision=fp32 and train.clip_norm=1.0",
            )
        self._sums["right"] += right
        self._sums["loss"] += self.value * n
        self._sums["n"] += n
        return loss

    def _over_all(
        self, logits: Tensor, targets: Tensor, regions: list[Tensor], *, counts: tuple[float, float]
    ) -> tuple[Tensor, list[float]]:
        """The part of the loss that this share is, times the number of processes, and `counts` summed over all.

        The processes divide by what counts in the whole batch, not each by its own: shares may differ in size, in
        class weights and in boxes, and one may be empty.
        """
        nothing = logits.sum() * 0
        terms = [(self.loss(logits, targets) if len(targets) else nothing, self.loss.weight(targets))]
        if self.attention is not None and regions:
            terms.append((self.attention.term(logits, targets, regions[0]), self.attention.counted(regions[0])))
        sums = [mean * weight for mean, weight in terms]
        found = self.processes.total([*(float(s.detach()) for s in sums), *(weight for _, weight in terms), *counts])
        whole, weights, counts_of_all = found[: len(sums)], found[len(sums) : -2], found[-2:]
        self.value = sum(s / max(w, 1e-12) for s, w in zip(whole, weights, strict=True))
        loss = sum((s * (self.processes.world / max(w, 1e-12)) for s, w in zip(sums, weights, strict=True)), nothing)
        return loss, counts_of_all

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Step a schedule that moves every batch."""
        if isinstance(self.scheduler, lr_scheduler.OneCycleLR):
            self.scheduler.step()

    def on_validation_epoch_start(self) -> None:
        """Start collecting."""
        self._collected = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect logits of one batch."""
        images, targets, *_ = batch
        self._collected.append((self.answer(images).float().cpu(), targets.cpu()))

    def on_validation_epoch_end(self) -> None:
        """Validation figures over all images at once; averaging over batches would weigh the last one wrong."""
        if not self.processes.alone:
            self._collected = self._of_all(self._collected)
        raw = torch.cat([logits for logits, _ in self._collected])
        targets = torch.cat([t for _, t in self._collected])
        self._collected = []
        logits = class_logits(raw, classes=self.classes, positive=self.positive)
        self.row["val_loss"] = float(self.loss(raw, targets))
        self.row.update(validation_metrics(logits, targets, positive=self.positive))

    def _of_all(self, collected: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
        """What all processes collected, in the order in which one would have: batch by batch, share by share."""
        parts = self.processes.gathered(collected)
        return [share for batch in zip(*parts, strict=True) for share in batch]

    def on_train_epoch_end(self) -> None:
        """Close the epoch's row and step a schedule that moves every epoch."""
        n = max(self._sums["n"], 1.0)
        self.row["train_loss"] = self._sums["loss"] / n
        self.row["train_accuracy"] = self._sums["right"] / n
        # one set of figures decides for all: a last digit must not part the processes
        self.row = self.processes.from_first(lambda: self.row)
        if isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau):
            self.scheduler.step(self.row["val_loss"])
        elif self.scheduler is not None and not isinstance(self.scheduler, lr_scheduler.OneCycleLR):
            self.scheduler.step()
