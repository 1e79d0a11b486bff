"""Are the labels right? Copies that contradict each other are proof; what a small model doubts is a list to look at.

In: `Material`. Out: one answer a check. Nothing is relabelled or left out: a person decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.auditing.check import Answer, Check, fine, found, not_applicable, skipped
from tumorscope.auditing.label_features import label_features
from tumorscope.auditing.material import Material
from tumorscope.auditing.probing import (
    MARGIN,
    Features,
    Sample,
    balanced_accuracy,
    draw,
    estimate_words,
    forest_model,
    out_of_fold,
)
from tumorscope.core.types import Probs, Targets
from tumorscope.evaluation.intervals import as_json

LISTED = 200
"""Suspects and groups written out in the figures; `paths` holds all of them."""
TREES = 60
FILTER = "low_normalized_margin"
"""Which of cleanlab's filters. With 5% of the labels changed among 1,500 slices of a public four-class set, 780
ultrasound images, 253 slices of a yes/no set (four draws each) and three phantom sets, 57, 27, 18 and 69% of the
images listed were changed ones, and 81, 53, 67 and 61% of the changed ones were listed. "both" lists a quarter more:
47, 23, 15 and 59%, and 82, 56, 67 and 65%."""
PLANTED = 0.05
"""Share of labels changed on purpose to see whether this check would find them."""
TRUSTED = 1 / 3
"""A warning where a third of what is listed in that trial are the changed labels; below that, for information."""
TELLING = 0.02
"""A warning where this share of the labels is doubted: phantom sets without a wrong label reach 0.0 to 1.4%, with 3%
of the labels wrong 2.2 to 3.0%."""
_PLANT_STREAM = 0x1AB


def _same_label(material: Material) -> Answer | None:
    if len({r.label for r in material.manifest.records}) < 2:
        return not_applicable("One class: labels cannot differ.")
    return None


def _rows_by_group(groups: NDArray[np.int64]) -> list[list[int]]:
    """Rows of every group with more than one, in the order of the groups."""
    order = np.argsort(groups, kind="stable").tolist()
    lists = [list(rows) for _, rows in groupby(order, key=lambda i: int(groups[i]))]
    return [rows for rows in lists if len(rows) > 1]


def _identical(material: Material) -> Answer:
    """LABEL001."""
    if answer := _same_label(material):
        return answer
    records = material.manifest.records
    same = _rows_by_group(material.survey.groups(("exact", "pixels")))
    if not same:
        return fine(f"No two of {len(material):,} images are identical.")
    torn = [rows for rows in same if len({records[i].label for i in rows}) > 1]
    if not torn:
        return fine(f"{len(same):,} groups of identical images carry one label each.")
    paths = [records[i].path for rows in torn for i in rows]
    return found(
        f"{len(torn):,} of {len(same):,} groups of identical images, {len(paths):,} images in all, carry more than "
        "one label.",
        paths=paths,
        figures={"groups": [{records[i].path: records[i].label for i in rows} for rows in torn[:LISTED]]},
    )


def _near(material: Material) -> Answer:
    """LABEL002; identical images are one, so that what LABEL001 says is not said again."""
    if answer := _same_label(material):
        return answer
    records = material.manifest.records
    pictures = material.survey.groups(("exact", "pixels"))
    members: dict[int, list[int]] = {}
    for i, picture in enumerate(pictures.tolist()):
        members.setdefault(picture, []).append(i)
    labels = {picture: {records[i].label for i in rows} for picture, rows in members.items()}
    near = [p for p in material.survey.pairs if p.kind == "near"]
    if not near:
        return fine(f"No two of {len(material):,} images are near copies.")
    torn = [p for p in near if labels[int(pictures[p.a])].isdisjoint(labels[int(pictures[p.b])])]
    if not torn:
        return fine(f"{len(near):,} pairs of near copies carry one label each.")
    torn.sort(key=lambda p: (-p.score, p.a, p.b))
    rows = [i for p in torn for end in (p.a, p.b) for i in members[int(pictures[end])]]
    paths = list(dict.fromkeys(records[i].path for i in rows))
    return found(
        f"{len(torn):,} of {len(near):,} pairs of near copies carry different labels: {len(paths):,} images, in "
        f"{len({int(material.survey.copies[p.a]) for p in torn}):,} groups of copies.",
        paths=paths,
        figures={
            "pairs": [
                {
                    "paths": [records[p.a].path, records[p.b].path],
                    "labels": [records[p.a].label, records[p.b].label],
                    "score": round(p.score, 4),
                    "mirrored": p.mirrored,
                }
                for p in torn[:LISTED]
            ]
        },
    )


@dataclass(frozen=True, eq=False)
class Suspects:
    """Images whose label a model doubts.

    Attributes:
        rows: (m,) int64 positions in the sample, the most doubted first.
        suggested: (m,) int64 class the model prefers.
        given: (m,) float64 probability of the given label.
        preferred: (m,) float64 probability of the suggested one.
    """

    rows: Targets
    suggested: Targets
    given: NDArray[np.float64]
    preferred: NDArray[np.float64]


def suspects(probs: Probs, *, targets: Targets) -> Suspects:
    """Labels that are probably wrong by confident learning (Northcutt, Jiang and Chuang 2021).

    Args:
        probs: (n, C) out-of-fold probabilities.
        targets: (n,) int64 labels as given; every class occurs.

    Raises:
        ImportError: cleanlab is not installed.
    """
    from cleanlab.filter import find_label_issues

    flagged = np.flatnonzero(find_label_issues(targets, probs, filter_by=FILTER, n_jobs=1, verbose=False))
    given = probs[flagged, targets[flagged]]
    order = np.lexsort((flagged, given))
    rows = flagged[order].astype(np.int64)
    return Suspects(rows, probs[rows].argmax(1).astype(np.int64), given[order], probs[rows].max(1))


def _doubted(material: Material) -> Answer:
    """LABEL003.

    How good the model is, is measured with patients kept whole. To find suspects only copies are: another picture of
    the same patient under another label is what the model should stumble over.
    """
    sample = draw(material)
    if isinstance(sample, Answer):
        return sample
    try:
        import_module("cleanlab.filter")  # asked for first: the models below take seconds
    except ImportError as error:
        fix = "pip install 'tumorscope[audit]'"
        missing = isinstance(error, ModuleNotFoundError)
        return skipped(f"cleanlab {'is not installed' if missing else f'cannot be imported ({error})'}: {fix}")
    features = label_features(material.thumbs[sample.rows])
    predicted = out_of_fold(sample, features, make_model=_model).argmax(1)
    estimate = balanced_accuracy(sample, predicted.astype(np.int64), seed=material.seed)
    skill = f"balanced accuracy {estimate_words(estimate)}, chance {sample.chance:.2f}, {sample.words}"
    if (estimate.low or 0.0) <= sample.chance + MARGIN:
        return skipped(f"The small model that would doubt labels is hardly better than chance: {skill}.")
    trial = _trial(material, sample, features)
    every = draw(material, most=None, groups=material.survey.copies)
    if isinstance(every, Answer):
        return every
    if len(every) != len(sample):
        features = label_features(material.thumbs[every.rows])
    doubts = suspects(out_of_fold(every, features, make_model=_model), targets=every.targets)
    figures: dict[str, Any] = {
        "balanced_accuracy": as_json(estimate),
        "chance": sample.chance,
        "images": len(every),
        "trial": trial,
        "suspects": _listed(material, every, doubts),
    }
    detail = (
        f"A small model ({skill}) doubts {doubts.rows.size:,} of {len(every):,} labels. When {trial['changed']:,} "
        f"labels of {len(sample):,} were changed on purpose, it listed {trial['listed']:,} and found "
        f"{trial['found']:,} of the changed ones."
    )
    if not doubts.rows.size:
        return fine(detail, figures=figures)
    trusted = trial["found"] >= TRUSTED * max(1, trial["listed"])
    telling = doubts.rows.size >= TELLING * len(every)
    return found(
        detail,
        paths=[material.paths[i] for i in every.rows[doubts.rows].tolist()],
        figures=figures,
        severity="warning" if trusted and telling else "info",
    )


def _model(classes: int) -> Any:
    return forest_model(classes, trees=TREES)


def _trial(material: Material, sample: Sample, features: Features) -> dict[str, int]:
    """How many of some labels changed on purpose the check finds, and how many it lists."""
    rng = np.random.default_rng([material.seed, _PLANT_STREAM])
    count = max(1, round(PLANTED * len(sample)))
    changed = rng.permutation(len(sample))[:count]
    targets = sample.targets.copy()
    targets[changed] = (targets[changed] + rng.integers(1, len(sample.classes), count)) % len(sample.classes)
    planted = sample.regrouped(material.survey.copies[sample.rows], targets=targets, seed=material.seed)
    doubts = suspects(out_of_fold(planted, features, make_model=_model), targets=targets)
    right = int(np.isin(doubts.rows, changed).sum())
    return {"changed": count, "listed": int(doubts.rows.size), "found": right}


def _listed(material: Material, sample: Sample, doubts: Suspects) -> Sequence[dict[str, Any]]:
    """The first suspects as they stand in the figures."""
    places = doubts.rows[:LISTED]
    return [
        {
            "path": material.paths[int(sample.rows[i])],
            "label": sample.classes[int(sample.targets[i])],
            "suggested": sample.classes[int(doubts.suggested[k])],
            "probability": round(float(doubts.preferred[k]), 4),
            "self_confidence": round(float(doubts.given[k]), 4),
        }
        for k, i in enumerate(places.tolist())
    ]


LABEL_CHECKS: tuple[Check, ...] = (
    Check("LABEL001", "Identical images carry different labels.", "error", _identical),
    Check("LABEL002", "Near copies carry different labels.", "error", _near),
    Check("LABEL003", "Some labels look wrong.", "warning", _doubted),
)
"""Every check of this file, in the order of their codes."""
