"""Explain single images: heat for a class, on the image as it came, with the check that it depends on the model.

In: a bundle and image files. Out: an `Explanation` each, to be saved as a picture and as numbers. A heatmap shows
what moved the answer, not where a lesion is; each carries how like it is to the map of the same network with random
weights (Adebayo et al. 2018): near 1 it shows the picture's edges rather than what the model learned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from tumorscope.bundle.bundle import Bundle
from tumorscope.bundle.predictor import Predictor
from tumorscope.core.errors import DataError, ImageFault, UsageError
from tumorscope.core.files import atomic_path
from tumorscope.core.types import Pixels
from tumorscope.explaining.asking import Subject
from tumorscope.explaining.controls import randomised, rank_correlation
from tumorscope.explaining.heat import heat_to_source, overlay, scaled
from tumorscope.explaining.methods import METHODS, heatmaps, method_named
from tumorscope.imaging.decode import decode_file
from tumorscope.imaging.preprocess import Geometry, preprocess
from tumorscope.models.registry import BuiltModel

CAUTION = "Shows influence on the answer, not the place of a lesion. Research use only."
LIKE = 0.5
"""Rank correlation with the random-weights map from which the screen warns; half of the order is then the same."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Heat on one image.

    Attributes:
        path: The file.
        pixels: (H, W) or (H, W, 3) uint8, as decoded.
        heat: (H, W) float32, 0 or more; zero where the network does not see.
        method: Name of the method.
        target: The class that is explained.
        predicted: The most probable class.
        prob: Its calibrated probability.
        likeness: Rank correlation, -1..1, with the map of the same network with random weights; near 0 is good.
    """

    path: Path
    pixels: Pixels
    heat: NDArray[np.float32]
    method: str
    target: str
    predicted: str
    prob: float
    likeness: float

    @property
    def sentence(self) -> str:
        """What was found, with the sanity check."""
        check = f"likeness to random weights {self.likeness:+.2f}"
        doubt = " (high: the map shows the picture more than the model)" if self.likeness >= LIKE else ""
        return f"{self.path}: {self.predicted} ({self.prob:.3f}); {self.method} for {self.target}; {check}{doubt}"

    def save(self, path: Path | str, *, opacity: float = 0.6) -> Path:
        """Write the picture with the heat over it (.png), or the heat alone (.npy, float32); returns the path.

        Raises:
            UsageError: For another extension.
        """
        path = Path(path)
        if path.suffix not in (".png", ".npy"):
            raise UsageError(
                f"cannot write a heatmap as {path.suffix or 'a file without extension'!r}",
                expected=".png for a picture, .npy for numbers",
                where=path,
                fix="name it so",
            )
        with atomic_path(path) as temporary, temporary.open("wb") as handle:
            if path.suffix == ".npy":
                np.save(handle, self.heat)
            else:
                notes = PngImagePlugin.PngInfo()
                notes.add_text("Description", f"{self.method} for {self.target}. {CAUTION}")
                notes.add_text("Sanity check", f"rank correlation with random weights {self.likeness:.3f}")
                picture = overlay(self.pixels, scaled(self.heat), opacity=opacity)
                Image.fromarray(picture).save(handle, format="PNG", pnginfo=notes)
        return path


class Explainer:
    """Heat for preprocessed images of one model, with the check against the same network with random weights.

    The twin with random weights is drawn once, on first use. One thread at a time: methods hook into the network.

    Args:
        bundle: The model.
        seed: Of the random weights.
    """

    def __init__(self, bundle: Bundle, *, seed: int = 0) -> None:
        self.bundle = bundle
        self.seed = seed

    @cached_property
    def blind(self) -> BuiltModel:
        """The network with random weights."""
        model = self.bundle.model
        return randomised(model, groups=len(model.groups), seed=self.seed)

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods that work with this network, in the order of the registry."""
        return tuple(name for name, method in METHODS.items() if method.applies(self.bundle.model) is None)

    def check(self, *, method: str, target: str | None) -> None:
        """Check what is asked for before anything is computed.

        Raises:
            UsageError: For an unknown class or method, or a method that does not fit the network.
        """
        method_named(method, self.bundle.model)
        names = self.bundle.card.classes
        if target is not None and target not in names:
            raise UsageError(
                f"the model has no class {target!r}",
                expected=f"one of {', '.join(names)}",
                where="--class",
                fix="name one",
            )

    def heat(self, image: NDArray[np.uint8], *, method: str, target: str) -> tuple[NDArray[np.float32], float]:
        """Heat on the network's input, and its likeness to that of the network with random weights.

        Args:
            image: (C, S, S) uint8, as `preprocess` gives it.
            method: Key of `explaining.methods.METHODS`.
            target: Class to explain.

        Returns:
            (S, S) float32, 0 or more; and the rank correlation of the two maps, -1..1.
        """
        chosen = self.bundle.card.classes.index(target)
        first, second = (_heat(self.bundle, model, image, chosen, method) for model in (self.bundle.model, self.blind))
        return first, float(rank_correlation(first[None], second[None])[0])


def resized(geometry: Geometry, *, width_px: int, height_px: int) -> Geometry:
    """The way from the network's input to a copy of the source of another size."""
    x, y = width_px / geometry.source_width_px, height_px / geometry.source_height_px
    return replace(
        geometry,
        scale_x=geometry.scale_x * x,
        scale_y=geometry.scale_y * y,
        offset_x=geometry.offset_x * x,
        offset_y=geometry.offset_y * y,
        source_width_px=width_px,
        source_height_px=height_px,
    )


def explain(
    predictor: Predictor, paths: Sequence[Path], *, method: str = "grad-cam", target: str | None = None, seed: int = 0
) -> Iterator[Explanation]:
    """An `Explanation` for each file, in order.

    Args:
        predictor: The model, with torch as its backend.
        paths: Image files.
        method: Key of `explaining.methods.METHODS`.
        target: Class to explain; each image's most probable one by default.
        seed: Of the random weights.

    Raises:
        UsageError: For an unknown class or method, or a method that does not fit the network.
        DataError: If a file cannot be read.
    """
    explainer = Explainer(predictor.bundle, seed=seed)
    explainer.check(method=method, target=target)
    card = predictor.bundle.card
    for path in paths:
        try:
            pixels = decode_file(path).pixels
        except ImageFault as fault:
            raise DataError(
                f"{path.name} cannot be read: {fault}", expected="an image", where=path, fix="give another file"
            ) from fault
        image, geometry = preprocess(pixels, card.preprocessing)
        (probs,) = predictor.probs(predictor.logits(image[None]))
        predicted = card.classes[int(probs.argmax())]
        chosen = predicted if target is None else target
        heat, likeness = explainer.heat(image, method=method, target=chosen)
        yield Explanation(
            path=path,
            pixels=pixels,
            heat=heat_to_source(heat, geometry),
            method=method,
            target=chosen,
            predicted=predicted,
            prob=float(probs.max()),
            likeness=likeness,
        )


def _heat(bundle: Bundle, model: BuiltModel, image: NDArray[np.uint8], chosen: int, method: str) -> NDArray[np.float32]:
    """(S, S) heat of one preprocessed image."""
    subject = Subject.of(bundle).with_weights(model)
    heat: NDArray[np.float32] = heatmaps(subject, image[None], method=method, targets=np.array([chosen]))[0]
    return heat
