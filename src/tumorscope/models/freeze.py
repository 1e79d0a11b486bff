"""Freeze plans: which parameters a training stage may change.

"all" trains everything, "head" the classification head, "last:N" the head and the N blocks before it. Batch norm
inside frozen blocks keeps its running statistics (evaluation mode), so that a frozen trunk is a fixed function.
"""

from __future__ import annotations

import re

from torch import nn

from tumorscope.core.errors import UsageError
from tumorscope.models.registry import BuiltModel


def trainable_names(built: BuiltModel, plan: str) -> tuple[str, ...]:
    """Parameter names that `plan` leaves trainable, in depth order.

    Raises:
        UsageError: If the plan is not "all", "head" or "last:N" with N a number of blocks the network has.
    """
    if plan == "all":
        return tuple(name for group in built.groups for name in group)
    if plan == "head":
        return built.groups[-1]
    match = re.fullmatch(r"last:([1-9]\d*)", plan)
    blocks = len(built.groups) - 1
    if match is None or int(match.group(1)) > blocks:
        raise UsageError(
            f"unknown freeze plan {plan!r}",
            expected=f'"all", "head", or "last:N" with N from 1 to {blocks}',
            where="[stage.*] trainable",
            fix="choose one of these",
        )
    return tuple(name for group in built.groups[-1 - int(match.group(1)) :] for name in group)


def apply_freeze(built: BuiltModel, plan: str) -> int:
    """Set `requires_grad` by `plan`; returns the number of trainable parameters (elements)."""
    chosen = set(trainable_names(built, plan))
    total = 0
    for name, parameter in built.module.named_parameters():
        parameter.requires_grad_(name in chosen)
        total += parameter.numel() * (name in chosen)
    return total


def set_training_mode(module: nn.Module) -> None:
    """Training mode, but evaluation mode for frozen batch norms: their running statistics stay as they are."""
    module.train()
    for part in module.modules():
        parameters = list(part.parameters(recurse=False))
        frozen_norm = isinstance(part, nn.modules.batchnorm._BatchNorm) and not any(p.requires_grad for p in parameters)
        if frozen_norm:
            part.eval()
