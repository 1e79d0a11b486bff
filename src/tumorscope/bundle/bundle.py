"""A trained model as one folder that can be checked before it is trusted.

`model.safetensors` holds the weights, `card.json` everything that turns pixels into probabilities, `probe.npz` a few
inputs and the logits they gave, `gate.npz` the input gate, `README.md` the card for people, `config.json` what timm
needs to load the weights. Loading hashes every file before parsing it and runs the probe: a changed byte, a pickle or
another library's numerics cannot pass unnoticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tumorscope.bundle.card import Card, read_card
from tumorscope.bundle.card_text import card_text
from tumorscope.bundle.gate import Gate, load_gate
from tumorscope.bundle.timm_config import timm_config
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
from tumorscope.imaging.loader import to_unit
from tumorscope.models.outputs import class_logits
from tumorscope.models.registry import BuiltModel, build_model

__all__ = ["FORMAT", "Bundle", "Card", "card_text", "load_bundle", "read_card", "save_bundle"]

FORMAT = 1
DECIDING = ("model.safetensors", "probe.npz")
GATE = "gate.npz"
PICKLES = (".pth", ".pt", ".ckpt", ".pkl", ".pickle", ".joblib")
"""Names of files that may be pickles."""
PROBE_TOLERANCE = 2e-3
"""Largest difference of a probe logit, relative to the largest logit: libraries may order sums differently, a wrong
weight, layout or normalisation differs far more."""


@dataclass(frozen=True)
class Bundle:
    """A loaded model with its card; the network is in evaluation mode.

    Attributes:
        identity: Hash over all that decides its answers.
        probe: (P, C, S, S) uint8 preprocessed images whose logits were compared on loading.
        gate: The input gate; None where the bundle has none.
    """

    card: Card
    model: BuiltModel
    folder: Path
    identity: str
    probe: NDArray[np.uint8]
    gate: Gate | None = None


def save_bundle(
    folder: Path, model: BuiltModel, card: Card, probe: NDArray[np.uint8], *, gate: Gate | None = None
) -> str:
    """Write a bundle and return its identity: a hash over all that decides its answers, results left out.

    The identity is known before the model is evaluated, so an evaluation can name the bundle and the card can name
    the evaluation's figures; saving again with figures gives the same identity.

    Args:
        folder: Created; files in it are replaced.
        model: Network with its trained weights.
        card: Everything else; what it says of the gate is taken from `gate`.
        probe: (P, C, S, S) uint8 preprocessed inputs to reproduce on loading.
        gate: Input gate, if there is to be one.
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
    card = replace(card, gate=None if gate is None else gate.summary())
    config = timm_config(model, card)
    write_text(folder / "README.md", card_text(card))
    names = [*DECIDING, "README.md"]
    if gate is not None:
        gate.save(folder / GATE)
        names.append(GATE)
    if config is not None:
        write_json(folder / "config.json", config)
        names.append("config.json")
    for left in {GATE, "config.json"} - set(names):
        (folder / left).unlink(missing_ok=True)
    files = {name: sha256_file(folder / name) for name in names}
    identity = _identity(card, files)
    write_json(folder / "card.json", {"format": FORMAT, "identity": identity, "files": files, **card.to_json()})
    return identity


def _identity(card: Card, files: Mapping[str, str]) -> str:
    names = [*DECIDING, *((GATE,) if card.gate is not None else ())]
    return sha256_value({**card.deciding(), "files": [files[name] for name in names]})


def _run(model: BuiltModel, card: Card, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    with torch.inference_mode():
        batch = card.normalisation.apply(to_unit(torch.from_numpy(np.array(images))))
        raw = model.module(batch).float()
        logits = class_logits(raw, classes=len(card.classes), positive=card.positive_target)
    array: NDArray[np.float32] = logits.numpy()
    return array


def load_bundle(folder: Path) -> Bundle:
    """Load and check a bundle.

    Raises:
        UsageError: If the folder is no bundle.
        IntegrityError: If a file changed, is missing, is of a later format, or the probe does not reproduce.
    """
    if folder.is_file():
        kind = (
            "a pickle runs code when it is opened, so it was not" if folder.suffix in PICKLES else "it was not opened"
        )
        raise UsageError(
            f"{folder.name} is a single file, no bundle; {kind}",
            expected="a folder made by `tumorscope train`, or its bundle/ folder",
            where=folder,
            fix="train a model with tumorscope; weights can come in as .safetensors",
        )
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
        needed = {*DECIDING, *((GATE,) if card.gate is not None else ())}
        if missing := sorted(needed - set(files)):
            raise ValueError(f"it has no hash of {', '.join(missing)}")
        if any(Path(name).name != name for name in files):
            raise ValueError("a file name leads out of the folder")
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
    return Bundle(
        card=card, model=model, folder=folder, identity=identity, probe=images, gate=open_gate(card, folder / GATE)
    )


def open_gate(card: Card, path: Path) -> Gate | None:
    """The gate that goes with a card, from a file whose hash was checked; None if the card has none.

    Raises:
        IntegrityError: If the file is no gate that this version can read.
    """
    if card.gate is None:
        return None
    try:
        return load_gate(path)
    except (OSError, ValueError, KeyError) as error:
        raise IntegrityError(
            f"the input gate cannot be read: {error}",
            where=path,
            fix=f"use the tumorscope version of the card: {card.versions.get('tumorscope')}",
        ) from error
