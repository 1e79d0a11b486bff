"""One source of heat measured against boxes, batch by batch, so that no more than a batch of maps is held.

In: images with boxes and a function that makes heat for a batch. Out: (m,) values of each measure, and boxes
matched to the annotated ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.errors import DataError
from tumorscope.core.types import Probs, Targets
from tumorscope.evaluation.resampling import Floats
from tumorscope.explaining.asking import Progress
from tumorscope.explaining.localisation import (
    FIXED_THRESHOLD,
    MEASURES,
    THRESHOLDS,
    Heats,
    box_hit,
    choose_threshold,
    energy,
    overlap,
    pointing,
)
from tumorscope.explaining.weak_boxes import Matches, boxes_of, match
from tumorscope.imaging.boxes import Boxes, Mask, box_mask

Make: TypeAlias = Callable[[NDArray[np.uint8], Targets], Heats]
"""(b, C, S, S) uint8 images and (b,) class positions to (b, S, S) heat."""

DETECTION: dict[str, tuple[float, str]] = {
    "ap30": (0.3, "average precision of boxes made from heat, at an overlap of 0.3"),
    "ap50": (0.5, "average precision of boxes made from heat, at an overlap of 0.5"),
}


@dataclass(frozen=True)
class Boxed:
    """Preprocessed images with their boxes.

    Attributes:
        images: (n, C, S, S) uint8; may be memory-mapped.
        boxes: (k, 4) boxes of each image on the (S, S) input, possibly none; only boxes round a lesion.
        targets: (n,) class positions.
    """

    images: NDArray[np.uint8]
    boxes: tuple[Boxes, ...]
    targets: Targets

    def __post_init__(self) -> None:
        """Refuse sets whose parts differ in length.

        Raises:
            DataError: If they do.
        """
        if not len(self.images) == len(self.boxes) == len(self.targets):
            raise DataError(
                f"{len(self.images)} images, {len(self.boxes)} sets of boxes, {len(self.targets)} targets",
                expected="as many of each",
                where="boxes to score against",
            )

    @property
    def size_px(self) -> int:
        """S."""
        return int(self.images.shape[-1])

    @cached_property
    def boxed(self) -> NDArray[np.int64]:
        """Rows with a box."""
        return np.flatnonzero([len(boxes) > 0 for boxes in self.boxes])

    @cached_property
    def lesion_classes(self) -> NDArray[np.int64]:
        """Class positions of which any image has a box."""
        return np.unique(self.targets[self.boxed])

    @cached_property
    def searched(self) -> NDArray[np.int64]:
        """Rows whose boxes are known: those with a box, and those of classes that never have one.

        An image of a class with boxes that has none itself was not annotated; a box found there is neither right
        nor wrong.
        """
        free = ~np.isin(self.targets, self.lesion_classes)
        free[self.boxed] = True
        return np.flatnonzero(free)

    def take(self, rows: NDArray[np.int64]) -> Boxed:
        """The images at `rows` alone."""
        return Boxed(self.images[rows], tuple(self.boxes[i] for i in rows.tolist()), self.targets[rows])

    def masks(self, rows: NDArray[np.int64]) -> Mask:
        """(r, S, S) bool, True in the boxes."""
        return np.stack([box_mask(self.boxes[i], width_px=self.size_px, height_px=self.size_px) for i in rows])


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Shares of a map's maximum.

    Attributes:
        iou: For the overlap of heat and boxes.
        box: For boxes made from heat.
        chosen_on: Number of validation images they were chosen on; 0 where they are fixed.
        energy: Mean energy inside the boxes of those images, by which methods are ranked before any is scored; None
            where there are none.
    """

    iou: float
    box: float
    chosen_on: int
    energy: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What one source of heat scored.

    Attributes:
        values: Measure to (m,) values on the m images with boxes.
        matches: Detection measure to matched boxes on the `searched` images, one for each draw of random weights.
        thresholds: The thresholds used.
        empty: Images with boxes whose map has no heat at all.
    """

    values: dict[str, Floats]
    matches: dict[str, tuple[Matches, ...]]
    thresholds: Thresholds
    empty: int


def thresholds_on(val: Boxed | None, make: Make, *, batch_size: int, progress: Progress | None = None) -> Thresholds:
    """Thresholds with the best mean overlap and the most boxes found, on validation images with boxes."""
    if val is None or not val.boxed.size:
        return Thresholds(FIXED_THRESHOLD, FIXED_THRESHOLD, 0)
    overlaps, hits, inside = [], [], []
    for rows in _batches(val.boxed, batch_size):
        heats, masks = make(np.array(val.images[rows]), val.targets[rows]), val.masks(rows)
        boxes = [val.boxes[i] for i in rows]
        overlaps.append(np.stack([overlap(heats, masks, threshold=t) for t in THRESHOLDS]))
        hits.append(np.stack([box_hit(heats, boxes, threshold=t) for t in THRESHOLDS]))
        inside.append(energy(heats, masks))
        if progress is not None:
            progress(sum(map(len, inside)), len(val.boxed))
    best = [choose_threshold(np.concatenate(values, axis=1)) for values in (overlaps, hits)]
    return Thresholds(best[0], best[1], int(val.boxed.size), float(np.concatenate(inside).mean()))


def measure(
    rows: Boxed,
    make: Make,
    *,
    probs: Probs,
    thresholds: Thresholds,
    batch_size: int,
    progress: Progress | None = None,
) -> Measured:
    """Measure one source of heat.

    The four localisation measures explain each image's own class. Detection may not know it: it explains the most
    probable of the classes that have boxes, and a box's confidence is that probability times its share of the heat.

    Args:
        rows: Images with boxes, and images known to have none.
        make: The source.
        probs: (n, classes) of the model whose boxes these are.
        thresholds: From `thresholds_on`.
        batch_size: Images at a time.
        progress: Called with (done, total) images.
    """
    values: dict[str, list[Floats]] = {name: [] for name in MEASURES}
    found: list[Boxes] = []
    sure: list[Floats] = []
    empty = done = 0
    asked = rows.lesion_classes[probs[:, rows.lesion_classes].argmax(axis=1)]
    has_box = np.zeros(len(rows.targets), dtype=bool)
    has_box[rows.boxed] = True
    for batch in _batches(rows.searched, batch_size):
        images = np.array(rows.images[batch])
        heats = make(images, asked[batch])
        for i, heat in zip(batch, heats, strict=True):
            boxes, shares = boxes_of(heat, threshold=thresholds.box)
            found.append(boxes)
            sure.append(shares * probs[i, asked[i]])
        own = has_box[batch]
        other = own & (asked[batch] != rows.targets[batch])
        if other.any():
            heats[other] = make(images[other], rows.targets[batch[other]])
        if own.any():
            chosen = batch[own]
            masks, own_heats = rows.masks(chosen), heats[own]
            values["pointing"].append(pointing(own_heats, masks))
            values["energy"].append(energy(own_heats, masks))
            values["iou"].append(overlap(own_heats, masks, threshold=thresholds.iou))
            values["box_hit"].append(box_hit(own_heats, [rows.boxes[i] for i in chosen], threshold=thresholds.box))
            empty += int((own_heats.max(axis=(1, 2)) <= 0).sum())
        done += len(batch)
        if progress is not None:
            progress(done, len(rows.searched))
    truths = [rows.boxes[i] for i in rows.searched]
    return Measured(
        values={name: np.concatenate(parts) for name, parts in values.items()},
        matches={name: (match(found, sure, truths, iou=iou),) for name, (iou, _) in DETECTION.items()},
        thresholds=thresholds,
        empty=empty,
    )


def pooled(draws: Sequence[Measured]) -> Measured:
    """Several measurements of the same images as one: each image's mean, so that no draw is chosen.

    Args:
        draws: The same source with different random weights, at least one.

    Returns:
        Mean values, the matches of all draws, mean thresholds, and the mean number of empty maps, rounded up.
    """
    thresholds = [one.thresholds for one in draws]
    known = [t.energy for t in thresholds if t.energy is not None]
    return Measured(
        values={name: np.mean([one.values[name] for one in draws], axis=0) for name in MEASURES},
        matches={name: tuple(m for one in draws for m in one.matches[name]) for name in DETECTION},
        thresholds=Thresholds(
            float(np.mean([t.iou for t in thresholds])),
            float(np.mean([t.box for t in thresholds])),
            thresholds[0].chosen_on,
            float(np.mean(known)) if known else None,
        ),
        empty=-(-sum(one.empty for one in draws) // len(draws)),
    )


def _batches(rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
