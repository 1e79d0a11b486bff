"""The one way from pixels to probabilities, shared by evaluation, the command line and the server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tumorscope.bundle.bundle import Bundle, load_bundle
from tumorscope.core.types import Logits, Pixels, Probs
from tumorscope.evaluation.calibration import apply_temperature
from tumorscope.imaging.loader import Normalisation, to_unit
from tumorscope.imaging.preprocess import preprocess
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


@dataclass(frozen=True)
class Predictor:
    """A checked bundle that answers for pixels."""

    bundle: Bundle

    @classmethod
    def load(cls, folder: Path) -> Predictor:
        """From a bundle or run folder; see `load_bundle` for what is checked."""
        return cls(load_bundle(folder))

    def logits(self, images: NDArray[np.uint8], *, progress: Progress | None = None) -> Logits:
        """(N, classes) float64 logits of (N, C, S, S) uint8 preprocessed images."""
        card = self.bundle.card
        return run_network(
            self.bundle.model.module,
            images,
            normalisation=card.normalisation,
            classes=len(card.classes),
            positive=card.positive_target,
            progress=progress,
        )

    def probs(self, logits: Logits) -> Probs:
        """(N, classes) calibrated probabilities."""
        return apply_temperature(logits, self.bundle.card.temperature)

    def predict(self, pixels: Iterable[Pixels], *, batch_size: int = 32) -> Iterator[NDArray[np.float64]]:
        """Yield (classes,) probabilities for each decoded image (H, W) or (H, W, 3) uint8, in order."""
        batch: list[NDArray[np.uint8]] = []
        for image in pixels:
            batch.append(preprocess(image, self.bundle.card.preprocessing)[0])
            if len(batch) == batch_size:
                yield from self.probs(self.logits(np.stack(batch)))
                batch.clear()
        if batch:
            yield from self.probs(self.logits(np.stack(batch)))
