"""What the server answers, without HTTP: files to answers, a file to an explanation, the model in words.

Nothing here keeps or logs anything of an image; names of files do not reach it.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import tumorscope
from tumorscope.bundle.bundle import card_text
from tumorscope.bundle.predictor import Predictor
from tumorscope.core.errors import ImageFault, UsageError
from tumorscope.core.types import EXCLUSION_REASONS, Pixels
from tumorscope.explaining.explain import CAUTION, Explainer, resized
from tumorscope.explaining.heat import coloured, heat_to_source, scaled
from tumorscope.imaging.decode import MAX_PIXELS, MIN_SIDE_PX, decode_image
from tumorscope.imaging.preprocess import Geometry, preprocess
from tumorscope.predicting.answers import REFUSED, Answer, batch_answers, prepare
from tumorscope.predicting.model import Model
from tumorscope.serving.metrics import Metrics
from tumorscope.serving.queue import Full, Line
from tumorscope.serving.refusal import Refusal, busy
from tumorscope.serving.settings import Settings

RESEARCH_USE = "Research use only; not for clinical decisions."
THUMBNAIL_PX = 256
PICTURE_PX = 1024
MAX_SCANS = 100
"""Scans of a JPEG: encoders write about ten, and each costs a pass over all pixels."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A file ready for the network: (C, S, S) uint8, or why it cannot be read; with its thumbnail if asked for."""

    image: NDArray[np.uint8] | str
    thumbnail: str | None


@dataclass(frozen=True, slots=True)
class _Shown:
    """A file ready to be explained: input of the network, and the picture to show with the way back to it."""

    image: NDArray[np.uint8]
    picture: Pixels
    geometry: Geometry


class Service:
    """A model behind a bounded queue.

    Args:
        model: What answers.
        settings: Limits.
    """

    def __init__(self, model: Model, *, settings: Settings) -> None:
        self.model = model
        self.settings = settings
        self.accepting = True
        self.explainer = Explainer(model.answers.bundle) if isinstance(model.answers, Predictor) else None
        self._line: Line[tuple[bytes, bool], _Prepared, tuple[Answer, str | None]] = Line(
            self._prepare,
            self._compute,
            capacity=settings.queue_images,
            batch=settings.batch_images,
            wait_s=settings.wait_s,
            threads=settings.threads,
            tasks=settings.explanations,
        )
        self.metrics = Metrics(lambda: self._line.waiting)

    def stop_accepting(self) -> None:
        """Take nothing new; what was accepted is finished."""
        self.accepting = False

    def close(self) -> None:
        """Finish what was accepted and end all threads."""
        self.stop_accepting()
        self._line.close()

    def about(self) -> Json:
        """The model in words and numbers."""
        card = self.model.answers.card
        clean = card.metrics.get("without_copies")
        settings, sets = self.settings, self.model.sets
        return {
            "title": card.title,
            "identity": self.model.identity,
            "recipe": card.recipe,
            "classes": list(card.classes),
            "positive": card.positive,
            "input": {"size_px": card.preprocessing.size_px, "channels": card.preprocessing.channels},
            "results": {**_figures(card.metrics), "without_copies": _figures(clean) if clean else None},
            "coverage": None if sets is None else sets.coverage,
            "gate": self.model.gate is not None,
            "temperature": card.temperature,
            "licence": card.licence,
            "card": card_text(card),
            "methods": [] if self.explainer is None else list(self.explainer.methods),
            "version": tumorscope.__version__,
            "research_use": RESEARCH_USE,
            "limits": {
                "body_mb": settings.body_bytes // 1_000_000,
                "megapixels": MAX_PIXELS // 1_000_000,
                "min_side_px": MIN_SIDE_PX,
                "files": settings.files,
            },
        }

    def check_room(self) -> None:
        """Refuse before a body is read.

        Raises:
            Refusal: 429 if the queue is full.
        """
        try:
            self._line.check_room()
        except Full as full:
            raise _busy(full) from full

    async def predict(self, files: Sequence[bytes], *, thumbnails: bool) -> Json:
        """One answer a file, in order; a file that cannot be used has its error there.

        Raises:
            Refusal: 429 if there is no room for all of them.
        """
        try:
            future = self._line.submit([(file, thumbnails) for file in files])
        except Full as full:
            raise _busy(full) from full
        found = await asyncio.wrap_future(future)
        rows = [
            {"index": index, **self._row(answer), "thumbnail": thumbnail}
            for index, (answer, thumbnail) in enumerate(found)
        ]
        return {"model": self.model.identity, "research_use": RESEARCH_USE, "answers": rows}

    async def explain(self, file: bytes, *, method: str | None, target: str | None) -> Json:
        """Heat for one file.

        Raises:
            Refusal: 422 for an unknown method or class, or a file that cannot be used; 429 if too many wait.
        """
        explainer = self.explainer
        if explainer is None:
            raise Refusal(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "no-explanations",
                "an exported model cannot be explained",
                expected="a run or bundle",
                fix="serve the run that it was exported from",
            )
        method = method or explainer.methods[0]
        try:
            explainer.check(method=method, target=target)
        except UsageError as error:
            known = method in explainer.methods
            raise Refusal(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "unknown-class" if known else "unknown-method",
                "the model has no such class" if known else "no such method works with this model",
                expected=error.expected,
            ) from error
        try:
            self._line.enter_task()
        except Full as full:
            raise _busy(full) from full
        loop = asyncio.get_running_loop()
        try:
            shown = await loop.run_in_executor(self._line.pool, self._show, file)
            task = self._line.run(lambda: self._heat(explainer, shown.image, method, target))
            heat, facts = await asyncio.wrap_future(task)
            pictures = await loop.run_in_executor(self._line.pool, _pictures, shown, heat)
        finally:
            self._line.leave_task()
        return {**facts, "caution": CAUTION, **pictures}

    def warm(self) -> None:
        """Run every batch size once in the computing thread, so that nobody's request pays for the first time."""
        shape = self.model.answers.card.preprocessing
        size = 1
        while size <= self.settings.batch_images:
            blank = np.zeros((size, shape.channels, shape.size_px, shape.size_px), dtype=np.uint8)
            self._line.run(partial(self.model.answers.logits, blank)).result()
            size *= 2

    def _prepare(self, asked: tuple[bytes, bool]) -> _Prepared:
        data, thumbnail = asked
        try:
            pixels = _decoded(data)
        except ImageFault as fault:
            return _Prepared(f"{fault.reason}: {EXCLUSION_REASONS[fault.reason]} ({fault.detail})", None)
        image = prepare(self.model, pixels)
        return _Prepared(image, _data_url(_smaller(pixels, THUMBNAIL_PX)) if thumbnail else None)

    def _compute(self, batch: list[_Prepared]) -> list[tuple[Answer, str | None]]:
        rows = batch_answers(self.model, [("", one.image) for one in batch])
        self.metrics.batch(len(batch))
        for row in rows:
            self.metrics.image(_outcome(row))
        return [(row, one.thumbnail) for row, one in zip(rows, batch, strict=True)]

    def _row(self, answer: Answer) -> Json:
        return {
            "predicted": answer.predicted or None,
            "probs": dict(zip(self.model.answers.card.classes, answer.probs, strict=True)) if answer.probs else None,
            "set": None if answer.classes is None else list(answer.classes),
            "abstained": answer.abstained or None,
            "error": _error(answer.error) if answer.error else None,
        }

    def _show(self, data: bytes) -> _Shown:
        try:
            pixels = _decoded(data)
        except ImageFault as fault:
            raise _unusable(fault.reason, f"{EXCLUSION_REASONS[fault.reason]} ({fault.detail})") from fault
        refused = prepare(self.model, pixels)
        if isinstance(refused, str):
            raise _unusable(**_error(refused))
        image, geometry = preprocess(pixels, self.model.answers.card.preprocessing)
        picture = _smaller(pixels, PICTURE_PX)
        height, width = picture.shape[:2]
        return _Shown(image, picture, resized(geometry, width_px=width, height_px=height))

    def _heat(
        self, explainer: Explainer, image: NDArray[np.uint8], method: str, target: str | None
    ) -> tuple[NDArray[np.float32], Json]:
        (answer,) = batch_answers(self.model, [("", image)])
        names = self.model.answers.card.classes
        prob = max(answer.probs)
        predicted = names[answer.probs.index(prob)]
        chosen = target or predicted
        heat, likeness = explainer.heat(image, method=method, target=chosen)
        return heat, {"method": method, "target": chosen, "predicted": predicted, "prob": prob, "likeness": likeness}


def _figures(found: Mapping[str, Any]) -> Json:
    """Figures of a card on some test images, where they are defined."""
    metrics = {
        name: {key: estimate.get(key) for key in ("value", "low", "high")}
        for name, estimate in found.get("test", {}).items()
        if estimate.get("value") is not None
    }
    return {"n": int(found.get("n", 0)), "metrics": metrics}


def _decoded(data: bytes) -> Pixels:
    """Pixels of one file; limits are checked on its header, before it is decoded."""
    if data.startswith(b"\xff\xd8") and (scans := data.count(b"\xff\xda")) > MAX_SCANS:
        raise ImageFault("unreadable", f"a JPEG with {scans:,} scans, at most {MAX_SCANS} are read")
    return decode_image(data, name="").pixels


def _pictures(shown: _Shown, heat: NDArray[np.float32]) -> Json:
    """The picture and the heat over it, of one size."""
    height, width = shown.picture.shape[:2]
    colours = coloured(scaled(heat_to_source(heat, shown.geometry)))
    return {"width": width, "height": height, "image": _data_url(shown.picture), "heat": _data_url(colours)}


def _smaller(pixels: Pixels, side_px: int) -> Pixels:
    """Pixels with the longest side at most `side_px`, antialiased."""
    height, width = pixels.shape[:2]
    share = side_px / max(height, width)
    if share >= 1:
        return pixels
    size = (max(1, round(width * share)), max(1, round(height * share)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))


def _data_url(pixels: NDArray[np.uint8]) -> str:
    """A PNG as a page can show it."""
    handle = BytesIO()
    Image.fromarray(pixels).save(handle, format="PNG", compress_level=3)
    return "data:image/png;base64," + b64encode(handle.getvalue()).decode()


def _error(text: str) -> dict[str, str]:
    code, _, detail = text.partition(": ")
    return {"code": code, "detail": detail}


def _outcome(answer: Answer) -> str:
    if answer.error:
        return "refused" if answer.error.startswith(REFUSED) else "unreadable"
    return "abstained" if answer.abstained else "answered"


def _unusable(code: str, detail: str) -> Refusal:
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, code, detail, expected="an image like those the model was made for")


def _busy(full: Full) -> Refusal:
    return busy("as many images as fit", full.retry_s)
