"""Heatmaps scored against boxes, next to controls made and scored the same way.

In: a model, a cohort of images with boxes, validation images for thresholds, training boxes for a prior. Out: a
JSON-ready account: every method and control by every measure with intervals by group, and the paired gaps between
them. "Better" is true only where a gap's interval lies above zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from tumorscope.core.errors import DataError
from tumorscope.core.types import Estimate
from tumorscope.evaluation.intervals import as_json
from tumorscope.evaluation.resampling import Floats
from tumorscope.evaluation.shares import RESAMPLES
from tumorscope.explaining.asking import Progress, Report, Subject
from tumorscope.explaining.cohort import Cohort
from tumorscope.explaining.controls import cascade, rank_correlation
from tumorscope.explaining.localisation import MEASURES, ceiling, energy, pointing
from tumorscope.explaining.measuring import DETECTION, Measured
from tumorscope.explaining.methods import METHODS
from tumorscope.explaining.sources import References, Source, blinded, draw_seeds, draws_of, maker, sources
from tumorscope.explaining.weak_boxes import Precision

FORMAT = 1
COMPARED, COMPARED_SLOW = 32, 8
"""Images whose maps are compared before and after randomising the model."""
SIDES = (7, 14, 28)
"""Places a side of maps whose ceilings are told: the last maps of networks with 32, 16 and 8 pixels a place at 224."""
VALIDATION, SCORED = "validation images", "the scored images"
"""What the leading method is chosen on."""
STEPS, STEPS_SLOW = 5, 2
"""Steps from a random head to a random network."""


def score(
    subject: Subject,
    cohort: Cohort,
    *,
    methods: Sequence[str] | None = None,
    references: References | None = None,
    batch_size: int = 16,
    values: dict[str, Mapping[str, Floats]] | None = None,
    progress: Report | None = None,
) -> dict[str, Any]:
    """Score heatmap methods and their controls against boxes.

    Args:
        subject: The model.
        cohort: The n images to score on, a test split without copies of training images.
        methods: Keys of `METHODS`; by default all that apply.
        references: Validation images, training boxes, further models.
        batch_size: Images at a time.
        values: Takes every source's measures, one value an image with a box, where such a dict is given.
        progress: Called with (what, done, total).

    Returns:
        "best": the method with most energy inside the boxes of validation images, or of the scored ones where there
        are none ("best_by" says which); "sources": name to kind, method, title, thresholds, empty maps, "overall" and
        "per_class" estimates;
        "gaps": source to control to measure to the paired estimate with "better" and "worse"; "cascade": method to
        rank correlations with the trained model's maps; "ceilings": places a side to the pointing and energy that a
        map so coarse could have at best; "measures", "not_applicable", "n", "with_boxes",
        "searched", "resamples", "seed", "format".

    Raises:
        DataError: If no image has a box.
        UsageError: For an unknown method or one that does not apply.
    """
    rows = cohort.rows
    if not rows.boxed.size:
        raise DataError(
            f"none of {len(rows.targets)} images has a box",
            expected="images with boxes round lesions",
            where="heatmap score",
            fix="score on a data set with boxes",
        )
    skipped = {name: reason for name, m in METHODS.items() if (reason := m.applies(subject.built)) is not None}
    chosen = [name for name in METHODS if name not in skipped] if methods is None else list(methods)
    known = references or References()
    table = sources(subject, chosen, cohort=cohort, references=known, batch_size=batch_size)
    measured = {
        source.name: source.measured(
            cohort, val=known.val, batch_size=batch_size, progress=_named(progress, source.title)
        )
        for source in table
    }
    if values is not None:
        values.update({name: one.values for name, one in measured.items()})
    best, best_by = _best(chosen, measured)
    precisions = {name: cohort.precisions(one.matches) for name, one in measured.items()}
    return {
        "format": FORMAT,
        "best": best,
        "best_by": best_by,
        "n": len(rows.targets),
        "with_boxes": int(rows.boxed.size),
        "searched": int(rows.searched.size),
        "classes": list(subject.classes),
        "lesion_classes": [subject.classes[c] for c in rows.lesion_classes],
        "measures": MEASURES | {name: text for name, (_, text) in DETECTION.items()},
        "sources": {s.name: _row(s, measured[s.name], precisions[s.name], subject, cohort) for s in table},
        "gaps": _gaps(table, measured, precisions, cohort),
        "cascade": {
            name: _cascade(subject, cohort, name, batch_size, _named(progress, f"{METHODS[name].title}, randomising"))
            for name in chosen
        },
        "ceilings": {str(side): _ceiling(cohort, side) for side in SIDES},
        "not_applicable": {name: reason for name, reason in skipped.items() if methods is None},
        "resamples": RESAMPLES,
        "seed": cohort.seed,
    }


def _best(methods: Sequence[str], measured: Mapping[str, Measured]) -> tuple[str, str]:
    """The leading method, and what it was chosen on."""
    by_val = {name: energy for name in methods if (energy := measured[name].thresholds.energy) is not None}
    if by_val:
        return max(by_val, key=lambda name: by_val[name]), VALIDATION
    return max(methods, key=lambda name: float(measured[name].values["energy"].mean())), SCORED


def _row(
    source: Source, measured: Measured, precisions: Mapping[str, Precision], subject: Subject, cohort: Cohort
) -> dict[str, Any]:
    """One source's estimates, overall and per class; average precision is over all classes."""
    overall = {name: as_json(cohort.share(values)) for name, values in measured.values.items()}
    overall |= {name: as_json(cohort.precision(found)) for name, found in precisions.items()}
    per_class = {}
    for target in np.unique(cohort.targets):
        among = np.flatnonzero(cohort.targets == target)
        estimates = {name: as_json(cohort.share(values[among], among)) for name, values in measured.values.items()}
        per_class[subject.classes[target]] = {"n": len(among), **estimates}
    return {
        "title": source.title,
        "kind": source.kind,
        "method": source.method,
        "source": METHODS[source.method].source if source.method else "",
        "thresholds": asdict(measured.thresholds),
        "empty": measured.empty,
        "overall": overall,
        "per_class": per_class,
    }


def _gaps(
    table: Sequence[Source],
    measured: Mapping[str, Measured],
    precisions: Mapping[str, Mapping[str, Precision]],
    cohort: Cohort,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Each method against every control and its own blind models; blind models against the controls."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for source in table:
        if source.method is None:
            continue
        against = [s for s in table if s.kind == "control"]
        if source.kind == "method":
            against = [s for s in table if s.method == source.method and s.kind != "method"] + against
        found[source.name] = {}
        for other in against:
            first, second = measured[source.name].values, measured[other.name].values
            gaps = {name: _judged(cohort.gap(first[name], second[name])) for name in MEASURES}
            first_ap, second_ap = precisions[source.name], precisions[other.name]
            gaps |= {name: _judged(cohort.precision_gap(first_ap[name], second_ap[name])) for name in DETECTION}
            found[source.name][other.name] = gaps
    return found


def _ceiling(cohort: Cohort, side: int) -> dict[str, Any]:
    """Pointing and energy of the boxes themselves, seen through a map of `side` x `side` places."""
    masks = cohort.rows.masks(cohort.rows.boxed)
    heats = ceiling(masks, side=side)
    return {name: as_json(cohort.share(of(heats, masks))) for name, of in (("pointing", pointing), ("energy", energy))}


def _judged(gap: Estimate) -> dict[str, Any]:
    return as_json(gap) | {
        "better": gap.low is not None and gap.low > 0,
        "worse": gap.high is not None and gap.high < 0,
    }


def _cascade(
    subject: Subject, cohort: Cohort, method: str, batch_size: int, progress: Progress | None
) -> list[dict[str, Any]]:
    """Rank correlation of maps with the trained model's as more of its weights, head first, are random.

    Each image's mean over the draws of random weights; "flat" counts maps without any difference, which are like none.
    """
    slow = METHODS[method].slow
    among = cohort.drawn(COMPARED_SLOW if slow else COMPARED)
    part = cohort.rows.take(cohort.rows.boxed[among])
    images = np.array(part.images)
    trained = maker(subject, method, batch_size)(images, part.targets)
    seeds = draw_seeds(cohort.seed)[: draws_of(method)]
    steps = cascade(subject.built, points=STEPS_SLOW if slow else STEPS)
    found = []
    for done, number in enumerate(steps, start=1):
        draws = [blinded(subject, seed=seed, groups=number) for seed in seeds]
        maps = [maker(d, method, batch_size)(images, part.targets) for d in draws]
        likeness = [rank_correlation(trained, one) for one in maps]
        similarity = np.mean(likeness, axis=0)
        estimate = cohort.gap(similarity, np.zeros(len(among)), among)
        found.append(
            {
                "groups": number,
                "of": len(subject.built.groups),
                "n": len(among),
                "draws": len(draws),
                "flat": int(sum((np.ptp(one, axis=(1, 2)) == 0).sum() for one in maps)),
                "similarity": as_json(estimate),
            }
        )
        if progress is not None:
            progress(done, len(steps))
    return found


def _named(progress: Report | None, title: str) -> Progress | None:
    if progress is None:
        return None
    report = progress
    return lambda done, total: report(title, done, total)
