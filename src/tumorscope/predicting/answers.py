"""One answer a file, in order, at constant memory: read, decode and prepare in threads, predict in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorscope.bundle.predictor import Answers
from tumorscope.core.errors import ImageFault
from tumorscope.core.types import EXCLUSION_REASONS
from tumorscope.data.sources.scan import threaded
from tumorscope.evaluation.conformal import Conformal
from tumorscope.imaging.decode import decode_file
from tumorscope.imaging.preprocess import preprocess

BATCH = 64
"""Images in memory at a time, beside those that threads are decoding."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says of one input.

    Attributes:
        path: As given.
        predicted: Most probable class; "" with an error.
        probs: One calibrated probability a class, in class order; empty with an error.
        classes: Names in the prediction set, in class order; None where the model has no sets or with an error.
        error: "" or why there is no answer.
        abstained: "" or why the model names no class although it could compute.
    """

    path: str
    predicted: str
    probs: tuple[float, ...]
    classes: tuple[str, ...] | None
    error: str
    abstained: str = ""


def answers(predictor: Answers, paths: Iterable[str], *, sets: Conformal | None = None) -> Iterator[Answer]:
    """An `Answer` for each path, in order; an input that cannot be read becomes one with an error.

    Args:
        predictor: The model.
        paths: Files.
        sets: Prediction sets, if answers are to carry them.
    """
    preprocessing = predictor.card.preprocessing

    def prepared(path: str) -> tuple[str, NDArray[np.uint8] | str]:
        if not Path(path).exists():
            return path, "missing-file: there is no such file"
        try:
            return path, preprocess(decode_file(Path(path)).pixels, preprocessing)[0]
        except ImageFault as fault:
            return path, f"{fault.reason}: {EXCLUSION_REASONS[fault.reason]} ({fault.detail})"
        except (OSError, ValueError) as error:
            return path, f"unreadable: {error}"

    stream = threaded(prepared, paths)
    while batch := list(islice(stream, BATCH)):
        yield from batch_answers(predictor, batch, sets=sets)


def batch_answers(
    predictor: Answers, batch: Sequence[tuple[str, NDArray[np.uint8] | str]], *, sets: Conformal | None = None
) -> list[Answer]:
    """An `Answer` for each image of one batch, in order.

    Args:
        predictor: The model.
        batch: Name and (C, S, S) uint8 preprocessed image of each input, or why it could not be read.
        sets: Prediction sets, if answers are to carry them.
    """
    images = [image for _, image in batch if not isinstance(image, str)]
    probs = predictor.probs(predictor.logits(np.stack(images))) if images else np.empty((0, 0))
    members = sets.names(probs) if sets is not None and images else [None] * len(images)
    names = predictor.card.classes
    found = iter(zip(probs, members, strict=True))
    rows = []
    for path, image in batch:
        if isinstance(image, str):
            rows.append(Answer(path, "", (), None, image))
        else:
            row, inside = next(found)
            rows.append(Answer(path, names[int(row.argmax())], tuple(row.tolist()), inside, ""))
    return rows
