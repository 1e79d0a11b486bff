"""Whether heat lies where the lesion is: one number an image for each way to ask.

In: (n, S, S) heat and the lesion's boxes on the same grid. Out: (n,) float64 in 0..1. Arrays only; intervals and
controls are added by `tumorscope.explaining.score`. A map without any heat is scored as the uniform map it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tumorscope.evaluation.resampling import Floats
from tumorscope.explaining.heat import scaled
from tumorscope.explaining.weak_boxes import box_iou, boxes_of
from tumorscope.imaging.boxes import Boxes, Mask

Heats = NDArray[np.float32]

THRESHOLDS: tuple[float, ...] = tuple(round(0.05 * i, 2) for i in range(1, 20))
"""Shares of a map's maximum that `choose_threshold` tries."""
FIXED_THRESHOLD = 0.5
"""Share of the maximum where there are no validation rows to choose it on."""
HIT_IOU = 0.5
"""Overlap from which a box counts as found (Russakovsky et al. 2015; Choe et al. 2020)."""

MEASURES: dict[str, str] = {
    "pointing": "share of images whose hottest pixel lies in a box (Zhang et al. 2018, without its tolerance)",
    "energy": "share of the heat that lies in the boxes (Wang et al. 2020, Score-CAM)",
    "iou": "overlap of the heat above a threshold with the boxes (intersection over union)",
    "box_hit": "share of images where the box round the largest heat overlaps a box by one half (Choe et al. 2020)",
}


def pointing(heats: Heats, masks: Mask) -> Floats:
    """(n,) whether the hottest pixel lies in a box (Zhang et al. 2018).

    Where several pixels are equally hot, the share of them in a box: the chance to hit by pointing at one of them.
    So a uniform map scores the share of the image that the boxes cover.

    Args:
        heats: (n, S, S) float32, zero or more.
        masks: (n, S, S) bool, True in the boxes.
    """
    peaks = scaled(heats) >= 1
    return np.asarray((peaks & masks).sum(axis=(1, 2)) / peaks.sum(axis=(1, 2)), dtype=np.float64)


def energy(heats: Heats, masks: Mask) -> Floats:
    """(n,) share of the heat inside the boxes (energy-based pointing game, Wang et al. 2020); as `pointing`."""
    level = scaled(heats).astype(np.float64)
    return np.asarray((level * masks).sum(axis=(1, 2)) / level.sum(axis=(1, 2)), dtype=np.float64)


def ceiling(masks: Mask, *, side: int) -> Heats:
    """(n, S, S) what a map of `side` x `side` places can show of the boxes: the share of each place in them.

    A place takes the share of its pixels that lie in the boxes, and the map is spread over the input like a class
    activation map, bilinear. A map of that size cannot be expected to score much more.

    Args:
        masks: (n, S, S) bool, True in the boxes.
        side: Places a side.
    """
    import torch
    from torch.nn.functional import interpolate

    share = interpolate(torch.from_numpy(masks.astype(np.float32))[:, None], (side, side), mode="area")
    heat = interpolate(share, masks.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    return np.asarray(heat.numpy(), dtype=np.float32)


def overlap(heats: Heats, masks: Mask, *, threshold: float) -> Floats:
    """(n,) intersection over union of the boxes and the heat at or above `threshold` times its maximum."""
    hot = scaled(heats) >= threshold
    shared = (hot & masks).sum(axis=(1, 2))
    return np.asarray(shared / (hot | masks).sum(axis=(1, 2)), dtype=np.float64)


def box_hit(heats: Heats, boxes: Sequence[Boxes], *, threshold: float, iou: float = HIT_IOU) -> Floats:
    """(n,) whether the box round the connected part with most heat overlaps any box (MaxBoxAcc, Choe et al. 2020).

    Choe et al. take the best threshold on the images they score; here it comes from outside, from validation.

    Args:
        heats: (n, S, S) float32, zero or more.
        boxes: (k, 4) annotated boxes of each image on the same grid, at least one.
        threshold: Share of the maximum.
        iou: Overlap needed.
    """
    hits = np.zeros(len(heats))
    for i, (heat, truth) in enumerate(zip(heats, boxes, strict=True)):
        found, _ = boxes_of(heat, threshold=threshold, most=1)
        hits[i] = float(box_iou(found, truth).max() >= iou)
    return hits


def choose_threshold(values: Floats, *, thresholds: Sequence[float] = THRESHOLDS) -> float:
    """The threshold with the highest mean on validation images, the lowest of equals.

    Args:
        values: (T, n) of `overlap` or `box_hit` at each threshold.
        thresholds: The T thresholds.
    """
    return float(thresholds[int(np.argmax(values.mean(axis=1)))])
