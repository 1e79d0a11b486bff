"""Pictures for the page: the worst maps first, with their boxes, heat and prediction.

In: images with boxes and a method. Out: JSON-ready entries, and thumbnails of pictures and heat of the same shape.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.data.manifest import Manifest
from tumorscope.explaining.asking import Subject
from tumorscope.explaining.cohort import Cohort
from tumorscope.explaining.heat import heat_to_source, scaled
from tumorscope.explaining.localisation import energy, pointing
from tumorscope.explaining.methods import heatmaps
from tumorscope.imaging.boxes import boxes_in_pixels, boxes_to_input
from tumorscope.imaging.preprocess import Preprocessing, preprocess

SIDE_PX = 192
WORST, SPREAD = 12, 12
"""The worst maps by energy, then others spread evenly over the rest of the ranking."""

Gallery = tuple[list[dict[str, Any]], NDArray[np.uint8], NDArray[np.uint8]]


def gallery(
    subject: Subject,
    cohort: Cohort,
    *,
    manifest: Manifest,
    rows: NDArray[np.int64],
    own: Preprocessing,
    method: str,
    progress: Callable[[str, int, int], None] | None = None,
) -> Gallery:
    """Entries, (k, 192, 192) uint8 pictures and (k, 192, 192) uint8 heat, worst first.

    Args:
        subject: The model.
        cohort: The images as the network takes them.
        manifest: Gives the pictures and boxes.
        rows: (n,) positions of the images in the manifest.
        own: The model's preprocessing.
        method: Whose heat is shown.
        progress: Called with (what, done, total).
    """
    boxed, names = cohort.rows, subject.classes
    say = None if progress is None else partial(progress, "pictures")
    heats = heatmaps(subject, np.array(boxed.images[boxed.boxed]), method=method, targets=cohort.targets, progress=say)
    masks = boxed.masks(boxed.boxed)
    inside, peak = energy(heats, masks), pointing(heats, masks)
    order = np.argsort(inside, kind="stable")
    rest = order[WORST:]
    spread = rest[np.unique(np.linspace(0, len(rest) - 1, SPREAD).round().astype(int))] if len(rest) else rest
    chosen = [*order[:WORST].tolist(), *spread.tolist()]
    small = Preprocessing(size_px=SIDE_PX, channels=1, fit="pad")
    positions = [int(rows[boxed.boxed[i]]) for i in chosen]
    entries, pictures, maps = [], [], []
    for place, position, pixels in zip(chosen, positions, manifest.pixels(positions), strict=True):
        record = manifest.records[position]
        picture, geometry = preprocess(pixels, small)
        _, geometry_of_own = preprocess(pixels, own)
        whole = (scaled(heat_to_source(heats[place], geometry_of_own)) * 255).astype(np.uint8)
        pictures.append(picture[0])
        maps.append(preprocess(whole, small)[0][0])
        sides = boxes_in_pixels(record.boxes, width_px=record.width_px, height_px=record.height_px)
        corners = boxes_to_input(sides, geometry, size_px=SIDE_PX) / SIDE_PX
        row = cohort.probs[boxed.boxed[place]]
        label = names[int(cohort.targets[place])]
        entries.append(
            {
                "path": record.path,
                "label": label,
                "predicted": names[int(row.argmax())],
                "prob": float(row.max()),
                "method": method,
                "pointing": float(peak[place]),
                "energy": float(inside[place]),
                "boxes": [
                    {
                        "label": label,
                        "cx": float(left + right) / 2,
                        "cy": float(top + bottom) / 2,
                        "w": float(right - left),
                        "h": float(bottom - top),
                    }
                    for left, top, right, bottom in corners.tolist()
                ],
            }
        )
    return entries, np.stack(pictures), np.stack(maps)
