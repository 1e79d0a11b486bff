"""The one way from pixels to probabilities, shared by evaluation, the command line and the server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorscope.bundle.backends import Backend, open_backend
from tumorscope.bundle.bundle import Bundle, Card, load_bundle
from tumorscope.bundle.choosing import choose_backend
from tumorscope.bundle.network import Progress
from tumorscope.core.types import Logits, Pixels, Probs
from tumorscope.evaluation.calibration import apply_temperature
from tumorscope.imaging.preprocess import preprocess


@dataclass(frozen=True)
class Answers:
    """What answers for pixels.

    Attributes:
        backend: What computes.
    """

    backend: Backend

    @property
    def card(self) -> Card:
        """Classes, preprocessing, temperature and where they come from."""
        return self.backend.card

    def logits(self, images: NDArray[np.uint8], *, progress: Progress | None = None) -> Logits:
        """(N, classes) float64 logits of (N, C, S, S) uint8 preprocessed images."""
        return self.backend.logits(images, progress=progress)

    def probs(self, logits: Logits) -> Probs:
        """(N, classes) calibrated probabilities."""
        return apply_temperature(logits, self.card.temperature)

    def predict(self, pixels: Iterable[Pixels], *, batch_size: int = 32) -> Iterator[NDArray[np.float64]]:
        """Yield (classes,) probabilities for each decoded image (H, W) or (H, W, 3) uint8, in order."""
        batch: list[NDArray[np.uint8]] = []
        for image in pixels:
            batch.append(preprocess(image, self.card.preprocessing)[0])
            if len(batch) == batch_size:
                yield from self.probs(self.logits(np.stack(batch)))
                batch.clear()
        if batch:
            yield from self.probs(self.logits(np.stack(batch)))


@dataclass(frozen=True)
class Predictor(Answers):
    """A checked bundle that answers for pixels.

    Attributes:
        bundle: The bundle.
        reason: Why this backend, in one line.
    """

    bundle: Bundle
    reason: str

    @classmethod
    def load(cls, folder: Path, *, backend: str = "torch", batch: int = 32) -> Predictor:
        """From a bundle or run folder; see `load_bundle` for what is checked.

        Args:
            folder: Bundle or run.
            backend: "torch" for the answers of training's evaluation to the last bit; "auto" for the fastest that
                gives them within 1e-4, by measuring; or one of `tumorscope.bundle.backends.BACKENDS`.
            batch: Images that will come at a time, for measuring.

        Raises:
            UsageError: If the folder is no bundle or the backend is unknown.
            ResourceError: If the backend is not installed, or cannot run this network.
            IntegrityError: If the bundle is damaged, or the backend answers differently from torch.
        """
        bundle = load_bundle(folder)
        choice = choose_backend(bundle, batch=batch, wish=backend)
        return cls(backend=open_backend(choice.name, bundle), bundle=bundle, reason=choice.reason)
