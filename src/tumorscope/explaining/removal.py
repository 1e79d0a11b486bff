"""What the model answers when parts of the picture are taken away: the box, all but the box or the border, the heat.

In: a predictor and images with boxes. Out: JSON-ready accuracies with intervals by group, paired with those on the
whole images, and deletion and insertion curves, paired with those in random order and by another image's map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.bundle.predictor import Answers
from tumorscope.core.types import Probs, Targets
from tumorscope.evaluation.intervals import as_json
from tumorscope.evaluation.resampling import Floats
from tumorscope.explaining.asking import Report, Subject
from tumorscope.explaining.cohort import Cohort
from tumorscope.explaining.faithfulness import Curves, curves, moved, only_border, only_boxes, patches, without_boxes
from tumorscope.explaining.methods import METHODS, heatmaps

CURVE_IMAGES, CURVE_IMAGES_SLOW = 24, 8
"""Images that curves are made of: each costs some forty forward passes a method."""
RANDOM_ORDER = "random order"
OTHER_MAP = "another image's map"


@dataclass(frozen=True)
class Taken:
    """Whether the answers were right, with parts of the picture taken away.

    Attributes:
        boxed: Name of a change to (m,) 1.0 or 0.0 on the m images with boxes.
        fit: (m,) bool, True where the boxes could be moved to another place on the scan.
        whole: (n,) 1.0 or 0.0 on all images as they are.
        border: (n,) 1.0 or 0.0 on the border of all images.
        border_answers: (n,) class positions answered to the border alone.
        changed: Name of a change to the mean absolute change of a pixel, in gray levels, on the images that are fit.
    """

    boxed: dict[str, Floats]
    fit: NDArray[np.bool_]
    whole: Floats
    border: Floats
    border_answers: Targets
    changed: dict[str, float]


WHOLE, REMOVED, ELSEWHERE, ONLY = "whole image", "box removed", "same box elsewhere removed", "only the box"


def take_away(predictor: Answers, cohort: Cohort) -> Taken:
    """Ask for every image without its boxes, without the same boxes elsewhere, with its boxes or its border alone."""
    rows = cohort.rows.take(cohort.rows.boxed)
    images, masks = np.array(rows.images), rows.masks(rows.boxed)
    elsewhere, fit = moved(rows.boxes, images, rng=np.random.default_rng(cohort.seed))
    versions = {
        WHOLE: images,
        REMOVED: without_boxes(images, masks),
        ELSEWHERE: without_boxes(images, elsewhere),
        ONLY: only_boxes(images, masks),
    }
    asked = {name: predictor.logits(version).argmax(axis=1) for name, version in versions.items()}
    before = images.astype(np.float32)
    all_images, all_targets = np.array(cohort.rows.images), cohort.rows.targets
    border = predictor.logits(only_border(all_images)).argmax(axis=1)
    return Taken(
        boxed={name: (found == rows.targets).astype(np.float64) for name, found in asked.items()},
        fit=fit,
        whole=(predictor.logits(all_images).argmax(axis=1) == all_targets).astype(np.float64),
        border=(border == all_targets).astype(np.float64),
        border_answers=np.asarray(border, dtype=np.int64),
        changed={
            name: float(np.abs(versions[name].astype(np.float32) - before)[fit].mean()) if fit.any() else 0.0
            for name in (REMOVED, ELSEWHERE)
        },
    )


def removal(taken: Taken, cohort: Cohort, *, classes: Sequence[str]) -> dict[str, Any]:
    """Accuracies with intervals by group: "rows" on the images with boxes, "border" on all images.

    The same boxes elsewhere are compared on images whose boxes could be moved on the scan ("n" of that row), and
    "beyond" is what removing the boxes changes more than that, paired, on the same images.
    """
    fit = np.flatnonzero(taken.fit)
    rows = []
    for name, values in taken.boxed.items():
        among = fit if name == ELSEWHERE else np.arange(len(values))
        if not len(among):
            continue
        whole = taken.boxed[WHOLE][among]
        rows.append(
            {
                "name": name,
                "n": len(among),
                "accuracy": as_json(cohort.share(values[among], among)),
                "change": None if name == WHOLE else as_json(cohort.gap(values[among], whole, among)),
            }
        )
    removed, elsewhere = taken.boxed[REMOVED][fit], taken.boxed[ELSEWHERE][fit]
    answers = np.bincount(taken.border_answers, minlength=len(classes))
    present = np.bincount(cohort.rows.targets, minlength=len(classes))
    return {
        "n": len(cohort.rows.boxed),
        "rows": rows,
        "beyond": as_json(cohort.gap(removed, elsewhere, fit)) if len(fit) else None,
        "changed": taken.changed,
        "border": {
            "n": len(taken.whole),
            "whole": as_json(cohort.share_of_all(taken.whole)),
            "accuracy": as_json(cohort.share_of_all(taken.border)),
            "change": as_json(cohort.gap_of_all(taken.border, taken.whole)),
            "answers": dict(zip(classes, answers.tolist(), strict=True)),
            "present": dict(zip(classes, present.tolist(), strict=True)),
        },
    }


def curves_of(
    subject: Subject,
    predictor: Answers,
    cohort: Cohort,
    *,
    methods: Sequence[str],
    progress: Report | None = None,
) -> dict[str, Any]:
    """Deletion and insertion curves on some of the images with boxes: methods, and what they must beat.

    That is patches in random order, and each method's maps put on other images. "gaps" are paired differences of the
    areas, method minus control.
    """
    slow = any(METHODS[name].slow for name in methods)
    among = cohort.drawn(CURVE_IMAGES_SLOW if slow else CURVE_IMAGES)
    part = cohort.rows.take(cohort.rows.boxed[among])
    images, targets = np.array(part.images), part.targets
    heats = {}
    for name in methods:
        say = None if progress is None else partial(progress, f"{name}, maps for curves")
        heats[name] = heatmaps(subject, images, method=name, targets=targets, progress=say)
    heats[RANDOM_ORDER] = patches(len(images), part.size_px, np.random.default_rng([cohort.seed, 0xC7]))
    if len(images) > 1:
        # as fine and as empty as the method's own maps, but of the image before
        heats |= {f"{name}@{OTHER_MAP}": np.roll(heats[name], 1, axis=0) for name in methods}

    def predict(batch: NDArray[np.uint8]) -> Probs:
        return predictor.probs(predictor.logits(batch))

    made: dict[str, Curves] = {}
    for name, heat in heats.items():
        say = None if progress is None else partial(progress, f"{name}, curves")
        made[name] = curves(images, heat, targets=targets, predict=predict, seed=cohort.seed, progress=say)
    found = {
        name: {
            "deletion": one.deletion.mean(axis=0).tolist(),
            "insertion": one.insertion.mean(axis=0).tolist(),
            "deletion_area": as_json(cohort.share(one.deletion_area, among)),
            "insertion_area": as_json(cohort.share(one.insertion_area, among)),
            "gaps": {
                title: {
                    "deletion": as_json(cohort.gap(one.deletion_area, made[other].deletion_area, among)),
                    "insertion": as_json(cohort.gap(one.insertion_area, made[other].insertion_area, among)),
                }
                for title, other in ((RANDOM_ORDER, RANDOM_ORDER), (OTHER_MAP, f"{name}@{OTHER_MAP}"))
                if name in methods and other in made
            },
        }
        for name, one in made.items()
        if name in methods or name == RANDOM_ORDER
    }
    return {"n": len(among), "shares": made[RANDOM_ORDER].shares.tolist(), "methods": found}
