"""Open whatever answers for images: a run, a bundle, or an export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tumorscope.bundle.exported import is_export, load_export
from tumorscope.bundle.gate import Gate
from tumorscope.bundle.predictor import Answers, Predictor
from tumorscope.core.errors import UsageError
from tumorscope.evaluation.conformal import Conformal, from_json


@dataclass(frozen=True, slots=True)
class Model:
    """A checked model.

    Attributes:
        answers: Computes logits and probabilities.
        identity: Of the bundle.
        backend: What computes, and why.
        sets: Limits of its prediction sets; None where its card has none.
        gate: Refuses pictures unlike the training images; None where there is none or it is switched off.
        gate_note: One sentence about the gate.
        abstains: True if no class is named where the prediction set does not support one.
        most: Classes in a prediction set at most, for a class to be named; None for one fewer than there are.
    """

    answers: Answers
    identity: str
    backend: str
    sets: Conformal | None
    gate: Gate | None = None
    gate_note: str = "no input gate"
    abstains: bool = True
    most: int | None = None

    def maker(self) -> dict[str, Any]:
        """What decides its answers and refusals, to be compared when an unfinished output is gone on with."""
        return {
            "model": self.identity,
            "gate": self.gate is not None,
            "abstain": self.abstains,
            "most": self.most,
        }


def open_model(
    folder: Path,
    *,
    backend: str = "auto",
    batch: int = 32,
    gate: bool = True,
    abstain: bool = True,
    most: int | None = None,
) -> Model:
    """The model in a run, bundle or export folder; see `Predictor.load` and `load_export` for what is checked.

    Args:
        folder: Run, bundle or export.
        backend: As for `Predictor.load`.
        batch: Images that will come at a time.
        gate: Refuse pictures unlike the training images, if the bundle has a gate.
        abstain: Name no class where the prediction set does not support one.
        most: Classes in a prediction set at most, for a class to be named; by default one fewer than there are.

    Raises:
        UsageError: If `most` is below 1, or something `Predictor.load` refuses.
    """
    if most is not None and most < 1:
        raise UsageError(f"a set of at most {most} classes", expected="1 or more", where="--max-set", fix="--max-set 1")
    answers: Answers
    if is_export(folder):
        exported = load_export(folder)
        answers, identity, kept_gate = exported, f"{exported.identity}/{exported.precision}", exported.gate
        said = f"exported {exported.precision}, {exported.backend.name}"
    else:
        predictor = Predictor.load(folder, backend=backend, batch=batch)
        answers, identity, kept_gate = predictor, predictor.bundle.identity, predictor.bundle.gate
        said = f"{predictor.backend.name} ({predictor.reason})"
    if kept_gate is None:
        note = "no input gate: the bundle was made without one, and any picture is answered"
    elif not gate:
        note = "input gate switched off: any picture is answered"
    else:
        note = "input gate: pictures unlike the training images are refused"
    kept = answers.card.prediction_sets
    sets = None if kept is None else from_json(kept, answers.card.classes)
    return Model(
        answers=answers,
        identity=identity,
        backend=said,
        sets=sets,
        gate=kept_gate if gate else None,
        gate_note=note,
        abstains=abstain,
        most=most,
    )
