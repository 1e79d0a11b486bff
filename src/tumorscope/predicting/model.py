"""Open whatever answers for images: a run, a bundle, or an export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tumorscope.bundle.exported import is_export, load_export
from tumorscope.bundle.predictor import Answers, Predictor
from tumorscope.evaluation.conformal import Conformal, from_json


@dataclass(frozen=True, slots=True)
class Model:
    """A checked model.

    Attributes:
        answers: Computes logits and probabilities.
        identity: Of the bundle.
        backend: What computes, and why.
        sets: Limits of its prediction sets; None where its card has none.
    """

    answers: Answers
    identity: str
    backend: str
    sets: Conformal | None


def open_model(folder: Path, *, backend: str = "auto", batch: int = 32) -> Model:
    """The model in a run, bundle or export folder; see `Predictor.load` and `load_export` for what is checked."""
    answers: Answers
    if is_export(folder):
        exported = load_export(folder)
        answers, identity = exported, f"{exported.identity}/{exported.precision}"
        said = f"exported {exported.precision}, {exported.backend.name}"
    else:
        predictor = Predictor.load(folder, backend=backend, batch=batch)
        answers, identity = predictor, predictor.bundle.identity
        said = f"{predictor.backend.name} ({predictor.reason})"
    kept = answers.card.prediction_sets
    return Model(answers, identity, said, None if kept is None else from_json(kept, answers.card.classes))
