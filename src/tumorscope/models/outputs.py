"""From a network's raw output to one logit a class."""

from __future__ import annotations

import torch
from torch import Tensor


def class_logits(raw: Tensor, *, classes: int, positive: int | None) -> Tensor:
    """(B, classes) logits from (B, classes) or, for binary cross entropy, from (B, 1).

    A single output z becomes z for the positive class and 0 for the other: softmax then gives sigmoid(z).
    """
    if raw.shape[1] == classes:
        return raw
    zero = torch.zeros_like(raw)
    return torch.cat([raw, zero] if positive == 0 else [zero, raw], dim=1)
