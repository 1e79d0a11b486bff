"""What a model needs beside its weights, as a value and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tumorscope.imaging.loader import Normalisation
from tumorscope.imaging.preprocess import Preprocessing

LATER = ("prediction_sets", "gate", "about")
"""Fields that came after the first cards: left out of the JSON where they are not there."""
FOR_PEOPLE = ("metrics", "about")
"""Fields that decide no answer."""


@dataclass(frozen=True)
class Card:
    """What a model needs beside its weights.

    Attributes:
        recipe: Name of the recipe.
        architecture: Name, outputs, channels, size_px, dropout and options for `build_model`.
        preprocessing: From pixels to the square input.
        normalisation: Mean and deviation.
        classes: Class names in target order.
        positive: Positive class of a two-class model.
        temperature: Divides logits; fitted on validation.
        threshold: Operating point on the positive class's probability, chosen on validation; None without one.
        licence: Licence of architecture and weights.
        metrics: Headline figures with intervals, as evaluated.
        hashes: data, split, recipe, code.
        versions: Software the model was trained with.
        prediction_sets: Limits of prediction sets as `evaluation.conformal` keeps them, from validation; None without.
        gate: What `gate.npz` holds, for people; None without an input gate.
        about: The data and how it was divided, for people; None in older cards.
    """

    recipe: str
    title: str
    architecture: dict[str, Any]
    preprocessing: Preprocessing
    normalisation: Normalisation
    classes: tuple[str, ...]
    positive: str | None
    temperature: float
    threshold: float | None
    licence: str
    metrics: dict[str, Any]
    hashes: dict[str, str]
    versions: dict[str, str]
    prediction_sets: dict[str, Any] | None = None
    gate: dict[str, Any] | None = None
    about: dict[str, Any] | None = None

    @property
    def positive_target(self) -> int | None:
        """Position of the positive class, or None."""
        return None if self.positive is None else self.classes.index(self.positive)

    def to_json(self) -> dict[str, Any]:
        """Every field; what came later than the first format is left out where it is not there."""
        return {k: v for k, v in asdict(self).items() if k not in LATER or v is not None}

    def deciding(self) -> dict[str, Any]:
        """What decides answers: the JSON without figures and descriptions."""
        return {k: v for k, v in self.to_json().items() if k not in FOR_PEOPLE}


def read_card(raw: Mapping[str, Any]) -> Card:
    """The card from what `Card.to_json` gave.

    Raises:
        ValueError, KeyError, TypeError: If it is no card.
    """
    normalisation = raw["normalisation"]
    values = {
        **raw,
        "preprocessing": Preprocessing(**raw["preprocessing"]),
        "normalisation": Normalisation(tuple(normalisation["mean"]), tuple(normalisation["std"])),
        "classes": tuple(raw["classes"]),
    }
    return Card(**values)
