"""A trained model as one folder that can be checked before it is trusted.

`model.safetensors` holds the weights, `card.json` everything that turns pixels into probabilities, `probe.npz` a few
inputs and the logits they gave, `README.md` the card for people. Loading hashes every file before parsing it and
runs the probe: a changed byte, a pickle or another library's numerics cannot pass unnoticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tumorscope.core.errors import IntegrityError, UsageError
from tumorscope.core.files import (
    atomic_path,
    read_json,
    save_npz,
    sha256_file,
    sha256_value,
    write_json,
    write_text,
)
from tumorscope.imaging.loader import Normalisation, to_unit
from tumorscope.imaging.preprocess import Preprocessing
from tumorscope.models.outputs import class_logits
from tumorscope.models.registry import BuiltModel, build_model

FORMAT = 1
PROBE_TOLERANCE = 2e-3
"""Largest difference of a probe logit, relative to the largest logit: libraries may order sums differently, a wrong
weight, layout or normalisation differs far more."""


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

    @property
    def positive_target(self) -> int | None:
        """Position of the positive class, or None."""
        return None if self.positive is None else self.classes.index(self.positive)

    def to_json(self) -> dict[str, Any]:
        """Every field; what came later than the first format is left out where it is not there."""
        return {k: v for k, v in asdict(self).items() if k != "prediction_sets" or v is not None}


@dataclass(frozen=True)
class Bundle:
    """A loaded model with its card; the network is in evaluation mode.

    Attributes:
        identity: Hash over all that decides its answers.
        probe: (P, C, S, S) uint8 preprocessed images whose logits were compared on loading.
    """

    card: Card
    model: BuiltModel
    folder: Path
    identity: str
    probe: NDArray[np.uint8]


def save_bundle(folder: Path, model: BuiltModel, card: Card, probe: NDArray[np.uint8]) -> str:
    """Write a bundle and return its identity: a hash over all that decides its answers, results left out.

    The identity is known before the model is evaluated, so an evaluation can name the bundle and the card can name
    the evaluation's figures; saving again with figures gives the same identity.

    Args:
        folder: Created; files in it are replaced.
        model: Network with its trained weights.
        card: Everything else.
        probe: (P, C, S, S) uint8 preprocessed inputs to reproduce on loading.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    model.module.eval()
    state = {k: v.detach().cpu().contiguous().clone() for k, v in model.module.state_dict().items()}
    with atomic_path(folder / "model.safetensors") as temporary:
        # one entry only: the library writes several in random order, and equal weights must give equal bytes
        save_file(state, temporary, metadata={"format": "pt"})
    with atomic_path(folder / "probe.npz") as temporary, temporary.open("wb") as handle:
        save_npz(handle, images=probe, logits=_run(model, card, probe))
    write_text(folder / "README.md", card_text(card))
    files = {name: sha256_file(folder / name) for name in ("model.safetensors", "probe.npz", "README.md")}
    identity = _identity(card, files)
    write_json(folder / "card.json", {"format": FORMAT, "identity": identity, "files": files, **card.to_json()})
    return identity


def _identity(card: Card, files: Mapping[str, str]) -> str:
    deciding = {k: v for k, v in card.to_json().items() if k != "metrics"}
    return sha256_value({**deciding, "files": [files["model.safetensors"], files["probe.npz"]]})


def _run(model: BuiltModel, card: Card, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    with torch.inference_mode():
        batch = card.normalisation.apply(to_unit(torch.from_numpy(np.array(images))))
        raw = model.module(batch).float()
        logits = class_logits(raw, classes=len(card.classes), positive=card.positive_target)
    array: NDArray[np.float32] = logits.numpy()
    return array


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


def load_bundle(folder: Path) -> Bundle:
    """Load and check a bundle.

    Raises:
        UsageError: If the folder is no bundle.
        IntegrityError: If a file changed, is missing, is of a later format, or the probe does not reproduce.
    """
    folder = folder / "bundle" if (folder / "bundle" / "card.json").is_file() else folder
    path = folder / "card.json"
    if not path.is_file():
        raise UsageError(
            "no bundle here: card.json is missing",
            expected="a folder made by `tumorscope train`, or its bundle/ folder",
            where=folder,
            fix="give the run folder",
        )
    try:
        raw = read_json(path)
        version, files, identity = int(raw.pop("format")), dict(raw.pop("files")), str(raw.pop("identity"))
        if version != FORMAT:
            raise IntegrityError(
                f"bundle format {version}",
                expected=f"format {FORMAT}",
                where=path,
                fix="use the tumorscope version that made it",
            )
        card = read_card(raw)
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"card.json cannot be read: {error}", where=path, fix="get the bundle again") from error
    for name, expected in files.items():
        found = sha256_file(folder / name) if (folder / name).is_file() else "missing"
        if found != expected:
            raise IntegrityError(
                f"{name} is not the file the card was written for",
                expected=f"sha256 {expected[:12]}…, found {found[:12]}",
                where=folder / name,
                fix="get the bundle again",
            )
    if _identity(card, files) != identity:
        raise IntegrityError(
            "card.json does not match its own identity",
            expected=f"identity {identity[:12]}…",
            where=path,
            fix="get the bundle again; a card is not edited by hand",
        )
    from safetensors.torch import load_file

    try:
        model = build_model(**card.architecture)
        model.module.load_state_dict(load_file(folder / "model.safetensors"))
    except (RuntimeError, TypeError) as error:
        raise IntegrityError(
            f"the weights do not fit the architecture of the card: {str(error).splitlines()[0][:160]}",
            where=folder,
            fix=f"use the timm version of the card: {card.versions.get('timm')}",
        ) from error
    model.module.eval()
    with np.load(folder / "probe.npz", allow_pickle=False) as probe:
        images, expected_logits = probe["images"], probe["logits"]
    found_logits = _run(model, card, images)
    largest = max(1.0, float(np.abs(expected_logits).max()))
    difference = float(np.abs(found_logits - expected_logits).max()) / largest
    if not difference <= PROBE_TOLERANCE:
        raise IntegrityError(
            f"the probe does not reproduce: logits differ by {difference:.2g} of the largest",
            expected=f"at most {PROBE_TOLERANCE:g}",
            where=folder / "probe.npz",
            fix=f"use the versions of the card: torch {card.versions.get('torch')}, timm {card.versions.get('timm')}",
        )
    return Bundle(card=card, model=model, folder=folder, identity=identity, probe=images)


def card_text(card: Card) -> str:
    """The model card for people, in Markdown."""
    rows = []
    for name, estimate in card.metrics.get("test", {}).items():
        if estimate.get("value") is not None:
            rows.append(
                f"| {name} | {estimate['value']:.3f} | {estimate['low']:.3f} to {estimate['high']:.3f} |"
                if estimate.get("low") is not None
                else f"| {name} | {estimate['value']:.3f} | |"
            )
    positive = f"Positive class: **{card.positive}**.\n\n" if card.positive else ""
    names = "\n".join(f"{i}. {name}" for i, name in enumerate(card.classes))
    return (
        f"# {card.title}\n\n"
        "Research use only; not for clinical decisions. It answers one of its classes for any picture, also for "
        "one that is no scan.\n\n"
        f"Architecture `{card.architecture['name']}`, input {card.preprocessing.size_px} px, "
        f"{card.preprocessing.channels} channel(s), recipe `{card.recipe}`, licence of the architecture "
        f"{card.licence}.\n\n## Classes (in target order)\n\n{names}\n\n{positive}"
        f"## Results on the test split (n = {card.metrics.get('n', 0)})\n\n"
        "| metric | value | 95% interval |\n|---|---|---|\n" + "\n".join(rows) + "\n\n"
        f"Probabilities are softmax(logits / {card.temperature:.4g}); the temperature was fitted on validation.\n\n"
        "## Hashes\n\n" + "\n".join(f"- {name}: `{value}`" for name, value in sorted(card.hashes.items())) + "\n"
    )
