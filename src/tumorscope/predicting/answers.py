"""One answer a file, in order, at constant memory: read, decode and prepare in threads, predict in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.errors import ImageFault
from tumorscope.core.types import EXCLUSION_REASONS, Pixels
from tumorscope.data.sources.scan import threaded
from tumorscope.imaging.decode import decode_file
from tumorscope.imaging.preprocess import preprocess
from tumorscope.predicting.model import Model

BATCH = 64
"""Images in memory at a time, beside those that threads are decoding."""
REFUSED = "refused: "
"""How the error of a picture begins that the input gate did not let through."""
MISSING = "missing-file: there is no such file"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says of one input.

    Attributes:
        path: As given.
        predicted: Most probable class; "" with an error, and where the model abstains.
        probs: One calibrated probability a class, in class order; empty with an error.
        classes: Names in the prediction set, in class order; None where the model has no sets or with an error.
        error: "" or why there is no answer; begins with `REFUSED` where the input gate refused the picture.
        abstained: "" or why the model names no class although it could compute.
    """

    path: str
    predicted: str
    probs: tuple[float, ...]
    classes: tuple[str, ...] | None
    error: str
    abstained: str = ""


Answering = Callable[[Model, Sequence[str]], Iterator[Answer]]
"""What answers for paths: one `Answer` each, in order, in batches of `BATCH` from the first path on."""


def prepare(model: Model, pixels: Pixels) -> NDArray[np.uint8] | str:
    """The model's input for one decoded image, or why it is refused; safe to call from several threads.

    Args:
        model: The model.
        pixels: (H, W) or (H, W, 3) uint8.

    Returns:
        (C, S, S) uint8, or a sentence that begins with `REFUSED`.
    """
    image = preprocess(pixels, model.answers.card.preprocessing)[0]
    reason = "" if model.gate is None else model.gate.refusal(pixels, image)
    return REFUSED + reason if reason else image


def answers(model: Model, paths: Iterable[str], *, threads: int = 0) -> Iterator[Answer]:
    """An `Answer` for each path, in order; an input that cannot be read or is refused becomes one with an error.

    Args:
        model: The model.
        paths: Image files.
        threads: Threads that read and prepare; 0 for one a CPU.
    """

    def prepared(path: str) -> tuple[str, NDArray[np.uint8] | str]:
        if not Path(path).exists():
            return path, MISSING
        try:
            return path, prepare(model, decode_file(Path(path)).pixels)
        except ImageFault as fault:
            return path, f"{fault.reason}: {EXCLUSION_REASONS[fault.reason]} ({fault.detail})"
        except (OSError, ValueError) as error:
            return path, f"unreadable: {error}"

    stream = threaded(prepared, paths, workers=threads)
    while batch := list(islice(stream, BATCH)):
        yield from batch_answers(model, batch)


def batch_answers(model: Model, batch: Sequence[tuple[str, NDArray[np.uint8] | str]]) -> list[Answer]:
    """An `Answer` for each image of one batch, in order.

    Args:
        model: The model.
        batch: Name and (C, S, S) uint8 preprocessed image of each input, or why there is none.
    """
    images = [image for _, image in batch if not isinstance(image, str)]
    names, sets = model.answers.card.classes, model.sets
    probs = model.answers.probs(model.answers.logits(np.stack(images))) if images else np.empty((0, len(names)))
    members = [None] * len(images) if sets is None else sets.names(probs)
    reasons = [""] * len(images)
    if sets is not None and model.abstains:
        reasons = sets.abstentions(probs, most=model.most)
    found = iter(zip(probs, members, reasons, strict=True))
    rows = []
    for path, image in batch:
        if isinstance(image, str):
            rows.append(Answer(path, "", (), None, image))
        else:
            row, inside, reason = next(found)
            named = "" if reason else names[int(row.argmax())]
            rows.append(Answer(path, named, tuple(row.tolist()), inside, "", reason))
    return rows
