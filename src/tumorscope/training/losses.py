"""Losses, and the one place that turns a network's output into class logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tumorscope.core.errors import UsageError
from tumorscope.core.types import Targets
from tumorscope.training.recipe import TrainPart


@dataclass(frozen=True)
class Loss:
    """A mean over images, and what each image counts in it.

    Attributes:
        mean: From (B, outputs) logits and (B,) int64 targets to a scalar.
        weight: From (B,) targets to what the mean divides by: their number, or the sum of their class weights. With it
            the means of several parts can be joined to the mean of all.
    """

    mean: Callable[[Tensor, Tensor], Tensor]
    weight: Callable[[Tensor], float]

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean."""
        return self.mean(logits, targets)


def make_loss(part: TrainPart, *, train_targets: Targets, classes: int, positive: int | None) -> Loss:
    """The loss of a recipe as a function of (B, outputs) logits and (B,) int64 targets.

    Args:
        part: The recipe's [train] table.
        train_targets: Targets of the training images; weights "auto" and "balanced" are computed from them alone.
        classes: Number of classes.
        positive: Position of the positive class; needed by "bce".

    Raises:
        UsageError: If bce is asked for more than two classes or without a positive class.
    """
    if part.loss == "bce":
        if classes != 2 or positive is None:
            raise UsageError(
                f'loss = "bce" with {classes} classes and positive class {positive}',
                expected="two classes, one of them named as positive",
                where="[train] loss",
                fix='set loss = "cross_entropy", or name data.positive',
            )
        weight = part.pos_weight
        value = 1.0 if weight == "none" else weight
        if value == "auto":
            value = automatic_pos_weight(train_targets, positive)
        factor = float(value)

        def bce(logits: Tensor, targets: Tensor) -> Tensor:
            truth = (targets == positive).to(logits.dtype)
            scale = torch.tensor(factor, dtype=logits.dtype, device=logits.device)
            return functional.binary_cross_entropy_with_logits(logits[:, 0], truth, pos_weight=scale)

        return Loss(bce, len)
    weights: Tensor | None = None
    if part.class_weights == "balanced":
        counts = np.bincount(train_targets, minlength=classes)
        weights = torch.tensor(len(train_targets) / (classes * counts), dtype=torch.float32)

    def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
        scale = None if weights is None else weights.to(logits.device)
        return functional.cross_entropy(logits, targets, weight=scale, label_smoothing=part.label_smoothing)

    def counted(targets: Tensor) -> float:
        return float(len(targets)) if weights is None else float(weights[targets.cpu()].sum())

    return Loss(cross_entropy, counted)


def automatic_pos_weight(train_targets: Targets, positive: int) -> float:
    """Negatives a positive in training: both classes then weigh the same in the loss."""
    share = float(np.mean(train_targets == positive))
    return (1 - share) / share


def outputs_needed(part: TrainPart, classes: int) -> int:
    """Logits a picture the network must give: 1 for bce, else one a class."""
    return 1 if part.loss == "bce" else classes
