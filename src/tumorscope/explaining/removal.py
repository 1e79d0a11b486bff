"""What the model answers when parts of the picture are taken away: the box, all but the box, the border, the heat.

In: a predictor and images with boxes. Out: JSON-ready accuracies with intervals by group, paired with those on the
whole images, and deletion and insertion curves next to the same curves in random order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.bundle.predictor import Answers
from tumorscope.core.types import Probs
from tumorscope.evaluation.intervals import as_json
from tumorscope.explaining.asking import Subject
from tumorscope.explaining.cohort import Cohort
from tumorscope.explaining.faithfulness import curves, moved, only_border, only_boxes, without_boxes
from tumorscope.explaining.methods import METHODS, heatmaps

CURVE_IMAGES, CURVE_IMAGES_SLOW = 24, 8
"""Images that curves are made of: each costs some forty forward passes a method."""
RANDOM_ORDER = "random order"
RANDOM_CELLS = 7
"""Cells a side of a random map: common networks end in 7 x 7."""

Report = Callable[[str, int, int], None]


def removal(predictor: Answers, cohort: Cohort) -> dict[str, Any]:
    """Accuracy on the images with boxes: whole, and with parts taken away."""
    rows = cohort.rows.take(cohort.rows.boxed)
    images, masks = np.array(rows.images), rows.masks(rows.boxed)
    elsewhere = moved(rows.boxes, size_px=rows.size_px, rng=np.random.default_rng(cohort.seed))
    versions = {
        "whole image": images,
        "box removed": without_boxes(images, masks),
        "same box elsewhere removed": without_boxes(images, elsewhere),
        "only the box": only_boxes(images, masks),
        "only the border": only_border(images),
    }
    right = {
        name: (predictor.logits(version).argmax(axis=1) == rows.targets).astype(np.float64)
        for name, version in versions.items()
    }
    whole = right["whole image"]
    found = [
        {
            "name": name,
            "accuracy": as_json(cohort.share(values)),
            "change": None if name == "whole image" else as_json(cohort.gap(values, whole)),
        }
        for name, values in right.items()
    ]
    return {"n": len(rows.boxed), "rows": found}


def curves_of(
    subject: Subject,
    predictor: Answers,
    cohort: Cohort,
    *,
    methods: Sequence[str],
    progress: Report | None = None,
) -> dict[str, Any]:
    """Deletion and insertion curves of each method, and patches in random order, on some of the images with boxes."""
    slow = any(METHODS[name].slow for name in methods)
    among = cohort.drawn(CURVE_IMAGES_SLOW if slow else CURVE_IMAGES)
    part = cohort.rows.take(cohort.rows.boxed[among])
    images, targets = np.array(part.images), part.targets
    heats = {name: heatmaps(subject, images, method=name, targets=targets) for name in methods}
    heats[RANDOM_ORDER] = _random_heat(len(images), part.size_px, np.random.default_rng([cohort.seed, 0xC7]))

    def predict(batch: NDArray[np.uint8]) -> Probs:
        return predictor.probs(predictor.logits(batch))

    found: dict[str, Any] = {}
    shares: list[float] = []
    for name, heat in heats.items():
        say = None if progress is None else (lambda done, total, name=name: progress(f"{name}, curves", done, total))
        made = curves(images, heat, targets=targets, predict=predict, seed=cohort.seed, progress=say)
        shares = made.shares.tolist()
        found[name] = {
            "deletion": made.deletion.mean(axis=0).tolist(),
            "insertion": made.insertion.mean(axis=0).tolist(),
            "deletion_area": as_json(cohort.share(made.deletion_area, among)),
            "insertion_area": as_json(cohort.share(made.insertion_area, among)),
        }
    return {"n": len(among), "shares": shares, "methods": found}


def _random_heat(n: int, size_px: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(n, S, S) smooth random maps, as coarse as those of common networks.

    Single pixels in random order would be no control: they break every texture at once, and the answer with it.
    """
    from scipy.ndimage import zoom

    coarse = rng.random((n, RANDOM_CELLS, RANDOM_CELLS))
    maps = zoom(coarse, (1, size_px / RANDOM_CELLS, size_px / RANDOM_CELLS), order=1)
    return np.asarray(maps, dtype=np.float32)
