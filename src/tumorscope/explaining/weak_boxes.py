"""Boxes from heat alone, and their average precision against annotated ones.

In: (S, S) heat of a classifier that has seen no box. Out: boxes with a confidence, and a figure that detectors are
compared by. One class, "lesion".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.types import Estimate, Targets
from tumorscope.evaluation.intervals import evidence, resampled, resampled_difference
from tumorscope.evaluation.resampling import Floats, resample_counts
from tumorscope.evaluation.shares import METHOD, RESAMPLES
from tumorscope.explaining.heat import scaled
from tumorscope.imaging.boxes import Boxes

MOST = 5
"""Boxes kept of one heatmap, those with most heat; further components are specks."""


def boxes_of(heat: NDArray[np.float32], *, threshold: float, most: int = MOST) -> tuple[Boxes, Floats]:
    """Boxes round the connected parts of heat at or above a share of its maximum, most heat first.

    Args:
        heat: (S, S) float32, zero or more.
        threshold: Share of the maximum, 0..1 (Zhou et al. 2016 take 0.2 and the largest part).
        most: How many boxes at most.

    Returns:
        (k, 4) boxes in pixels of the heat, and (k,) each part's share of the whole heat. Parts touch along sides
        or corners.
    """
    from scipy import ndimage

    level = scaled(heat)
    labels, count = ndimage.label(level >= threshold, structure=np.ones((3, 3), dtype=int))
    mass = np.asarray(ndimage.sum_labels(level, labels, np.arange(1, count + 1)), dtype=np.float64)
    order = np.argsort(-mass, kind="stable")[:most]
    parts = ndimage.find_objects(labels)
    corners = [(parts[i][1].start, parts[i][0].start, parts[i][1].stop, parts[i][0].stop) for i in order]
    return np.array(corners, dtype=np.float64).reshape(-1, 4), mass[order] / float(level.sum(dtype=np.float64))


def box_iou(first: Boxes, second: Boxes) -> Floats:
    """(a, b) intersection over union of (a, 4) and (b, 4) boxes."""
    left_top = np.maximum(first[:, None, :2], second[None, :, :2])
    right_bottom = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(right_bottom - left_top, 0, None).prod(axis=2)
    areas = [(b[:, 2:] - b[:, :2]).prod(axis=1) for b in (first, second)]
    return np.asarray(shared / (areas[0][:, None] + areas[1][None, :] - shared), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Matches:
    """Predicted boxes of a set of images, highest confidence first, each right or wrong.

    Attributes:
        hits: (d,) 1 where the box found an annotated one that no surer box had found, else 0.
        images: (d,) row of the image of each predicted box.
        truths: (n,) number of annotated boxes of each image.
    """

    hits: Floats
    images: Targets
    truths: Floats


def match(found: Sequence[Boxes], confidences: Sequence[Floats], truths: Sequence[Boxes], *, iou: float) -> Matches:
    """Match predicted to annotated boxes image by image, surest first (Everingham et al. 2010).

    A predicted box goes to the annotated box it overlaps most. It is right if they overlap by at least `iou` and
    no surer box took that one before.

    Args:
        found: (k, 4) predicted boxes of each of n images.
        confidences: (k,) confidence of each.
        truths: (t, 4) annotated boxes of each image, possibly none.
        iou: Overlap needed, such as 0.5.
    """
    images = np.concatenate([np.full(len(b), i) for i, b in enumerate(found)]).astype(np.int64)
    place = np.concatenate([np.arange(len(b)) for b in found]).astype(np.int64)
    order = np.argsort(-np.concatenate([*confidences]), kind="stable")
    taken: list[set[int]] = [set() for _ in truths]
    hits = np.zeros(len(images))
    for rank, row in enumerate(order):
        image = int(images[row])
        if not len(truths[image]):
            continue
        overlaps = box_iou(found[image][place[row]][None], truths[image])[0]
        best = int(overlaps.argmax())
        if overlaps[best] >= iou and best not in taken[image]:
            taken[image].add(best)
            hits[rank] = 1.0
    return Matches(hits, images[order], np.array([len(t) for t in truths], dtype=np.float64))


def average_precision(matches: Matches, counts: Floats | None = None) -> Floats:
    """(b,) area under precision over recall, all points, precision made falling (Everingham et al. 2010, VOC 2010).

    Args:
        matches: From `match`.
        counts: (b, n) how often each image occurs in each resample; by default once.

    Returns:
        NaN where no annotated box is there to be found.
    """
    weights = np.ones((1, len(matches.truths))) if counts is None else counts
    total = weights @ matches.truths
    drawn = weights[:, matches.images]
    right = np.cumsum(drawn * matches.hits, axis=1)
    shown = np.cumsum(drawn, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(shown > 0, right / shown, 0.0)
        gain = np.diff(right, axis=1, prepend=0.0) / total[:, None]
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        return np.asarray(np.where(total > 0, (gain * envelope).sum(axis=1), np.nan), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Precision:
    """Average precision and its values on group-bootstrap resamples, kept to compare two of them.

    Attributes:
        value: Average precision, NaN where nothing is annotated.
        samples: (2000,) its value on each resample.
    """

    value: float
    samples: Floats

    @classmethod
    def of(cls, matches: Matches, *, codes: Targets, targets: Targets, seed: int) -> Precision:
        """From matches; codes (n,) group numbers 0..G-1, targets (n,) strata, same seed same resamples."""
        blocks = resample_counts(codes, targets=targets, resamples=RESAMPLES, seed=seed)
        samples = np.concatenate([average_precision(matches, counts) for counts in blocks])
        return cls(float(average_precision(matches)[0]), samples)

    @classmethod
    def mean(cls, several: Sequence[Precision]) -> Precision:
        """The mean of several on the same resamples, such as of several draws of random weights."""
        return cls(float(np.mean([p.value for p in several])), np.mean([p.samples for p in several], axis=0))

    def estimate(self, *, codes: Targets, targets: Targets) -> Estimate:
        """With its 95% interval."""
        known = evidence(codes, targets=targets, per_class=False)
        return resampled(self.value, samples=self.samples, limits=(0.0, 1.0), known=known, method=METHOD)

    def minus(self, other: Precision, *, codes: Targets, targets: Targets) -> Estimate:
        """Difference to another on the same images and resamples, with its 95% interval."""
        known = evidence(codes, targets=targets, per_class=False)
        return resampled_difference(
            self.value - other.value,
            samples=self.samples - other.samples,
            limits=(-1.0, 1.0),
            known=known,
            method=METHOD,
        )
