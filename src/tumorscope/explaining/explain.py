"""Explain single images: heat for a class, on the image as it came, with the check that it depends on the model.

In: a bundle and image files. Out: an `Explanation` each, to be saved as a picture and as numbers. A heatmap shows
what moved the answer, not where a lesion is; each carries how like it is to the map of the same network with random
weights (Adebayo et al. 2018): near 1 it shows the picture's edges rather than what the model learned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from tumorscope.bundle.bundle import Bundle
from tumorscope.bundle.predictor import Predictor
from tumorscope.core.errors import DataError, ImageFault, UsageError
from tumorscope.core.files import atomic_path, write_json
from tumorscope.core.types import Pixels
from tumorscope.explaining.asking import Progress, Report, Subject
from tumorscope.explaining.caption import captioned
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
        likeness: Rank correlation, -1..1, with the map of the same network with random weights; near 0 is good. None
            where one of the two maps is flat, so that nothing was checked.
    """

    path: Path
    pixels: Pixels
    heat: NDArray[np.float32]
    method: str
    target: str
    predicted: str
    prob: float
    likeness: float | None

    @property
    def check(self) -> str:
        """The sanity check in words."""
        if self.likeness is None:
            empty = "the map has no heat" if not self.heat.any() else "a map is the same everywhere"
            return f"likeness to random weights not checked: {empty}"
        doubt = " (high: the map shows the picture more than the model)" if self.likeness >= LIKE else ""
        return f"likeness to random weights {self.likeness:+.2f}{doubt}"

    @property
    def sentence(self) -> str:
        """What was found, with the sanity check."""
        return f"{self.path}: {self.predicted} ({self.prob:.3f}); {self.method} for {self.target}; {self.check}"

    def save(self, path: Path | str, *, opacity: float = 0.6) -> Path:
        """Write the picture with the heat over it (.png), or the heat alone (.npy, float32); returns the path.

        Neither travels without its check: the picture has it, with the caution, as a strip of text below the image,
        which stays in the upper left corner as it was; the numbers have it in a .json file of the same name.

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
        if path.suffix == ".npy":
            write_json(path.with_suffix(".json"), self.account())
        with atomic_path(path) as temporary, temporary.open("wb") as handle:
            if path.suffix == ".npy":
                np.save(handle, self.heat)
            else:
                notes = PngImagePlugin.PngInfo()
                notes.add_text("Description", f"{self.method} for {self.target}. {CAUTION}")
                notes.add_text("Sanity check", self.check)
                picture = overlay(self.pixels, scaled(self.heat), opacity=opacity)
                lines = [f"{self.method} for {self.target}; {self.predicted} ({self.prob:.3f})", self.check, CAUTION]
                Image.fromarray(captioned(picture, lines)).save(handle, format="PNG", pnginfo=notes)
        return path

    def account(self) -> dict[str, Any]:
        """What a program has to know beside the numbers, JSON-ready."""
        return {
            "path": str(self.path),
            "predicted": self.predicted,
            "prob": self.prob,
            "class": self.target,
            "method": self.method,
            "likeness_to_random_weights": self.likeness,
            "check": self.check,
            "caution": CAUTION,
        }


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

    def heat(
        self, image: NDArray[np.uint8], *, method: str, target: str, progress: Progress | None = None
    ) -> tuple[NDArray[np.float32], float | None]:
        """Heat on the network's input, and its likeness to that of the network with random weights.

        Args:
            image: (C, S, S) uint8, as `preprocess` gives it.
            method: Key of `explaining.methods.METHODS`.
            target: Class to explain.
            progress: Called with (done, total) as the two maps are made.

        Returns:
            (S, S) float32, 0 or more; and the rank correlation of the two maps, -1..1, None where one is flat.
        """
        targets = np.array([self.bundle.card.classes.index(target)])
        subject, found = Subject.of(self.bundle), []
        for turn, model in enumerate((self.bundle.model, self.blind)):
            say = None if progress is None else _half(progress, turn)
            asked = subject.with_weights(model)
            found.append(heatmaps(asked, image[None], method=method, targets=targets, progress=say))
        if any(float(np.ptp(one)) == 0 for one in found):
            return found[0][0], None
        return found[0][0], float(rank_correlation(*found)[0])


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


def _half(progress: Progress, turn: int) -> Progress:
    """Progress of the first or second of two equal parts."""
    return lambda done, total: progress(turn * total + done, 2 * total)


def explain(
    predictor: Predictor,
    paths: Sequence[Path],
    *,
    methods: Sequence[str] = (),
    target: str | None = None,
    seed: int = 0,
    progress: Report | None = None,
) -> Iterator[Explanation]:
    """An `Explanation` for each file by each method, files in order; each file is decoded and answered once.

    Args:
        predictor: The model, with torch as its backend.
        paths: Image files.
        methods: Keys of `explaining.methods.METHODS`; by default the first that fits the network.
        target: Class to explain; each image's most probable one by default.
        seed: Of the random weights.
        progress: Called with (file and method, done, total).

    Raises:
        UsageError: For an unknown class or method, or a method that does not fit the network.
        DataError: If a file cannot be read.
    """
    explainer = Explainer(predictor.bundle, seed=seed)
    asked = tuple(methods) or explainer.methods[:1]
    for method in asked:
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
        for method in asked:
            say = None if progress is None else partial(progress, f"{path.name}, {method}")
            heat, likeness = explainer.heat(image, method=method, target=chosen, progress=say)
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
