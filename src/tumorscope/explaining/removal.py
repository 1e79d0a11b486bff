"""What the model answers when parts of the picture are taken away: the box, all but the box, the border, the heat.

In: a predictor and images with boxes. Out: JSON-ready accuracies with intervals by group, paired with those on the
whole images, and deletion and insertion curves next to the same curves in random order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.bundle.bundle import Bundle
from tumorscope.bundle.predictor import Answers
from tumorscope.core.types import Probs, Targets
from tumorscope.evaluation.intervals import as_json
from tumorscope.evaluation.shares import mean_gap, mean_share
from tumorscope.explaining.faithfulness import curves, moved, only_border, only_boxes, without_boxes
from tumorscope.explaining.measuring import Boxed
from tumorscope.explaining.methods import heatmaps

CURVE_IMAGES = 24
"""Images that curves are made of: each costs some forty forward passes a method."""
RANDOM_ORDER = "random order"
RANDOM_CELLS = 7
"""Cells a side of a random map: common networks end in 7 x 7."""

Report = Callable[[str, int, int], None]


def removal(predictor: Answers, rows: Boxed, *, codes: Targets, seed: int) -> dict[str, Any]:
    """Accuracy on the images with boxes: whole, and with parts taken away."""
    chosen = rows.boxed
    images = np.array(rows.images[chosen])
    boxes = [rows.boxes[i] for i in chosen.tolist()]
    targets = rows.targets[chosen]
    groups = _renumbered(codes[chosen])
    elsewhere = moved(boxes, size_px=rows.size_px, rng=np.random.default_rng(seed))
    versions = {
        "whole image": images,
        "box removed": without_boxes(images, rows.masks(chosen)),
        "same box elsewhere removed": without_boxes(images, elsewhere),
        "only the box": only_boxes(images, rows.masks(chosen)),
        "only the border": only_border(images),
    }
    right = {
        name: (predictor.logits(version).argmax(axis=1) == targets).astype(np.float64)
        for name, version in versions.items()
    }
    whole = right["whole image"]
    found = []
    for name, values in right.items():
        change = None if name == "whole image" else mean_gap(values, whole, codes=groups, targets=targets, seed=seed)
        found.append(
            {
                "name": name,
                "accuracy": as_json(mean_share(values, codes=groups, targets=targets, seed=seed)),
                "change": None if change is None else as_json(change),
            }
        )
    return {"n": len(chosen), "rows": found}


def curves_of(
    bundle: Bundle,
    predictor: Answers,
    rows: Boxed,
    *,
    codes: Targets,
    methods: Sequence[str],
    seed: int,
    progress: Report | None = None,
) -> dict[str, Any]:
    """Deletion and insertion curves of each method, and patches in random order, on up to 24 images with boxes."""
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(rows.boxed)[:CURVE_IMAGES])
    images, targets = np.array(rows.images[chosen]), rows.targets[chosen]
    groups = _renumbered(codes[chosen])
    card = bundle.card
    heats: dict[str, NDArray[np.float32]] = {
        name: heatmaps(
            bundle.model,
            images,
            method=name,
            targets=targets,
            classes=len(card.classes),
            positive=card.positive_target,
        )
        for name in methods
    }
    heats[RANDOM_ORDER] = _random_heat(len(images), rows.size_px, rng)

    def predict(batch: NDArray[np.uint8]) -> Probs:
        return predictor.probs(predictor.logits(batch))

    found: dict[str, Any] = {}
    shares: list[float] = []
    for name, heat in heats.items():
        say = None if progress is None else (lambda done, total, name=name: progress(f"{name}, curves", done, total))
        made = curves(images, heat, targets=targets, predict=predict, seed=seed, progress=say)
        shares = made.shares.tolist()
        found[name] = {
            "deletion": made.deletion.mean(axis=0).tolist(),
            "insertion": made.insertion.mean(axis=0).tolist(),
            "deletion_area": as_json(mean_share(made.deletion_area, codes=groups, targets=targets, seed=seed)),
            "insertion_area": as_json(mean_share(made.insertion_area, codes=groups, targets=targets, seed=seed)),
        }
    return {"n": len(chosen), "shares": shares, "methods": found}


def _random_heat(n: int, size_px: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(n, S, S) smooth random maps, as coarse as those of common networks.

    Single pixels in random order would be no control: they break every texture at once, and the answer with it.
    """
    from scipy.ndimage import zoom

    coarse = rng.random((n, RANDOM_CELLS, RANDOM_CELLS))
    maps = zoom(coarse, (1, size_px / RANDOM_CELLS, size_px / RANDOM_CELLS), order=1)
    return np.asarray(maps, dtype=np.float32)


def _renumbered(codes: Targets) -> Targets:
    return np.unique(codes, return_inverse=True)[1].astype(np.int64)
