"""The reference way from preprocessed pixels to logits: torch, in fp32."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tumorscope.core.allocation import keep_freed_memory
from tumorscope.core.types import Logits
from tumorscope.imaging.loader import Normalisation, to_unit
from tumorscope.models.outputs import class_logits

Progress = Callable[[int, int], None]


def run_network(
    network: nn.Module,
    images: NDArray[np.uint8],
    *,
    normalisation: Normalisation,
    classes: int,
    positive: int | None,
    rows: NDArray[np.int64] | None = None,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Logits:
    """Class logits of preprocessed images, computed in fp32.

    Args:
        network: (B, C, S, S) to (B, outputs).
        images: (N, C, S, S) uint8.
        normalisation: Applied first.
        classes: Number of classes.
        positive: Position of the positive class, or None.
        rows: Which images, in order; all by default.
        batch_size: Images at a time.
        progress: Called with (done, total).

    Returns:
        (n, classes) float64.
    """
    keep_freed_memory()
    rows = np.arange(len(images)) if rows is None else rows
    network.eval()
    weights = [p for p in network.parameters() if p.ndim == 4]
    last = bool(weights) and all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)
    device = next(network.parameters()).device
    parts: list[Tensor] = []
    with torch.inference_mode():
        for start in range(0, len(rows), batch_size):
            batch = torch.from_numpy(np.array(images[rows[start : start + batch_size]])).to(device)
            batch = normalisation.apply(to_unit(batch))
            if last:
                batch = batch.contiguous(memory_format=torch.channels_last)
            raw = network(batch).float()
            parts.append(class_logits(raw, classes=classes, positive=positive).double().cpu())
            if progress is not None:
                progress(min(start + batch_size, len(rows)), len(rows))
    logits: Logits = torch.cat(parts).numpy()
    return logits
