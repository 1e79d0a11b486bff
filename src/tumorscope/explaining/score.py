"""Heatmaps scored against boxes, next to controls made and scored the same way.

In: a model, images with boxes, validation images for thresholds, training boxes for a prior. Out: a JSON-ready
account: every method and control by every measure with intervals by group, and the paired gaps between them.
"Better" is true only where a gap's interval lies above zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.errors import DataError
from tumorscope.core.types import Estimate, Probs, Targets
from tumorscope.evaluation.intervals import as_json
from tumorscope.evaluation.shares import RESAMPLES, mean_gap, mean_share
from tumorscope.explaining.asking import Progress
from tumorscope.explaining.controls import Control, cascade, randomised, rank_correlation, static_controls
from tumorscope.explaining.localisation import MEASURES
from tumorscope.explaining.measuring import DETECTION, Boxed, Make, Measured, measure, thresholds_on
from tumorscope.explaining.methods import METHODS, heatmaps
from tumorscope.explaining.weak_boxes import Precision
from tumorscope.imaging.boxes import Boxes
from tumorscope.models.registry import BuiltModel

Report: TypeAlias = Callable[[str, int, int], None]
"""Called with (what is being made, done, total)."""

FORMAT = 1
RANDOM_WEIGHTS = "random-weights"
COMPARED = 32
"""Images whose maps are compared before and after randomising the model."""


@dataclass(frozen=True, slots=True)
class _Source:
    """One row of the table: where heat comes from. `kind` is "method", "control", "random-weights" or "model"."""

    name: str
    title: str
    kind: str
    method: str | None
    make: Make


def score(
    built: BuiltModel,
    rows: Boxed,
    *,
    probs: Probs,
    codes: Targets,
    classes: Sequence[str],
    positive: int | None,
    methods: Sequence[str] | None = None,
    val: Boxed | None = None,
    train_boxes: Sequence[Boxes] | None = None,
    other_models: Mapping[str, BuiltModel] | None = None,
    seed: int = 0,
    batch_size: int = 16,
    progress: Report | None = None,
) -> dict[str, Any]:
    """Score heatmap methods and their controls against boxes.

    Args:
        built: The model.
        rows: The n images to score on, a test split without copies of training images.
        probs: (n, classes) calibrated probabilities of the model.
        codes: (n,) group numbers; images of one group are resampled together.
        classes: Class names in target order.
        positive: Position of the positive class, or None.
        methods: Keys of `METHODS`; by default all that apply.
        val: Validation images that thresholds are chosen on, for each source anew; without them they are fixed.
        train_boxes: Boxes of training images on the input, for the mean box control.
        other_models: Further models whose maps are controls, such as one trained on shuffled labels, by name. They
            take the same input and give the same classes.
        seed: Of random weights, resamples and the images compared.
        batch_size: Images at a time.
        progress: Called with (what, done, total).

    Returns:
        "sources": name to kind, method, title, thresholds, empty maps, "overall" and "per_class" estimates;
        "gaps": source to control to measure to the paired estimate with "better" and "worse"; "cascade": method to
        rank correlations with the trained model's maps; "measures", "not_applicable", "n", "with_boxes",
        "searched", "resamples", "seed", "format".

    Raises:
        DataError: If no image has a box.
        UsageError: For an unknown method or one that does not apply.
    """
    if not rows.boxed.size:
        raise DataError(
            f"none of {len(rows.targets)} images has a box",
            expected="images with boxes round lesions",
            where="heatmap score",
            fix="score on a data set with boxes",
        )
    skipped = {name: reason for name, m in METHODS.items() if (reason := m.applies(built)) is not None}
    chosen = [name for name in METHODS if name not in skipped] if methods is None else list(methods)
    asking = _Asking(classes=len(classes), positive=positive, batch_size=batch_size)
    controls = static_controls(size_px=rows.size_px, train_boxes=train_boxes)
    sources = _sources(built, chosen, controls, other_models or {}, asking, seed)
    groups = _Groups.of(rows, codes, classes=tuple(classes), seed=seed)
    measured: dict[str, Measured] = {}
    for source in sources:
        thresholds = thresholds_on(val, source.make, batch_size=batch_size)
        measured[source.name] = measure(
            rows,
            source.make,
            probs=probs,
            thresholds=thresholds,
            batch_size=batch_size,
            progress=_named(progress, source.title),
        )
    precisions = {name: groups.precisions(one) for name, one in measured.items()}
    return {
        "format": FORMAT,
        "n": len(rows.targets),
        "with_boxes": int(rows.boxed.size),
        "searched": int(rows.searched.size),
        "classes": list(classes),
        "lesion_classes": [classes[c] for c in rows.lesion_classes],
        "measures": MEASURES | {name: text for name, (_, text) in DETECTION.items()},
        "sources": {s.name: _row(s, measured[s.name], precisions[s.name], groups) for s in sources},
        "gaps": _gaps(sources, measured, precisions, groups),
        "cascade": {
            name: _cascade(built, rows, name, asking, groups, _named(progress, f"{METHODS[name].title}, randomising"))
            for name in chosen
        },
        "not_applicable": {name: reason for name, reason in skipped.items() if methods is None},
        "resamples": RESAMPLES,
        "seed": seed,
    }


@dataclass(frozen=True, slots=True)
class _Asking:
    """How a model is asked for heat."""

    classes: int
    positive: int | None
    batch_size: int

    def make(self, built: BuiltModel, method: str) -> Make:
        """Heat of a batch by a method of a model."""

        def heat(images: NDArray[np.uint8], targets: Targets) -> NDArray[np.float32]:
            return heatmaps(
                built,
                images,
                method=method,
                targets=targets,
                classes=self.classes,
                positive=self.positive,
                batch_size=self.batch_size,
            )

        return heat


def _static(control: Control) -> Make:
    return lambda images, _targets: control.heat(images)


def _sources(
    built: BuiltModel,
    methods: Sequence[str],
    controls: Mapping[str, Control],
    others: Mapping[str, BuiltModel],
    asking: _Asking,
    seed: int,
) -> list[_Source]:
    """Every row of the table: methods, the same methods of models that know nothing, maps without a model."""
    blind = randomised(built, groups=len(built.groups), seed=seed)
    found = []
    for name in methods:
        title = METHODS[name].title
        found.append(_Source(name, title, "method", name, asking.make(built, name)))
        for kind, other, model in (
            (RANDOM_WEIGHTS, RANDOM_WEIGHTS, blind),
            *(("model", label, model) for label, model in others.items()),
        ):
            label = "random weights" if kind == RANDOM_WEIGHTS else other
            found.append(_Source(f"{name}@{other}", f"{title}, {label}", kind, name, asking.make(model, name)))
    return found + [_Source(c.name, c.title, "control", None, _static(c)) for c in controls.values()]


@dataclass(frozen=True, slots=True)
class _Groups:
    """Groups and strata of the images with boxes and of those searched for boxes."""

    boxed_codes: Targets
    boxed_targets: Targets
    searched_codes: Targets
    searched_targets: Targets
    classes: tuple[str, ...]
    seed: int

    @classmethod
    def of(cls, rows: Boxed, codes: Targets, *, classes: tuple[str, ...], seed: int) -> _Groups:
        return cls(
            _renumbered(codes[rows.boxed]),
            rows.targets[rows.boxed],
            _renumbered(codes[rows.searched]),
            rows.targets[rows.searched],
            classes,
            seed,
        )

    def share(self, values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> Estimate:
        """Mean over the chosen images with boxes."""
        codes = _renumbered(self.boxed_codes[chosen])
        return mean_share(values[chosen], codes=codes, targets=self.boxed_targets[chosen], seed=self.seed)

    def gap(self, first: NDArray[np.float64], second: NDArray[np.float64]) -> Estimate:
        """Mean paired difference over the images with boxes."""
        return mean_gap(first, second, codes=self.boxed_codes, targets=self.boxed_targets, seed=self.seed)

    def precisions(self, measured: Measured) -> dict[str, Precision]:
        """Average precision at each overlap."""
        return {
            name: Precision.of(m, codes=self.searched_codes, targets=self.searched_targets, seed=self.seed)
            for name, m in measured.matches.items()
        }


def _renumbered(codes: Targets) -> Targets:
    return np.asarray(np.unique(codes, return_inverse=True)[1], dtype=np.int64)


def _row(source: _Source, measured: Measured, precisions: Mapping[str, Precision], groups: _Groups) -> dict[str, Any]:
    """One source's estimates, overall and per class; average precision is over all classes."""
    everything = np.ones(len(groups.boxed_targets), dtype=bool)
    overall = {name: as_json(groups.share(values, everything)) for name, values in measured.values.items()}
    for name, precision in precisions.items():
        overall[name] = as_json(precision.estimate(codes=groups.searched_codes, targets=groups.searched_targets))
    per_class = {}
    for target in np.unique(groups.boxed_targets):
        chosen = groups.boxed_targets == target
        estimates = {name: as_json(groups.share(values, chosen)) for name, values in measured.values.items()}
        per_class[groups.classes[target]] = {"n": int(chosen.sum()), **estimates}
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
    sources: Sequence[_Source],
    measured: Mapping[str, Measured],
    precisions: Mapping[str, Mapping[str, Precision]],
    groups: _Groups,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Each method against every control and its own blind models; blind models against the controls."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for source in sources:
        if source.method is None:
            continue
        against = [s for s in sources if s.kind == "control"]
        if source.kind == "method":
            against = [s for s in sources if s.method == source.method and s.kind != "method"] + against
        found[source.name] = {}
        for other in against:
            first, second = measured[source.name].values, measured[other.name].values
            gaps = {name: _judged(groups.gap(first[name], second[name])) for name in MEASURES}
            for name in DETECTION:
                gap = precisions[source.name][name].minus(
                    precisions[other.name][name], codes=groups.searched_codes, targets=groups.searched_targets
                )
                gaps[name] = _judged(gap)
            found[source.name][other.name] = gaps
    return found


def _judged(gap: Estimate) -> dict[str, Any]:
    return as_json(gap) | {
        "better": gap.low is not None and gap.low > 0,
        "worse": gap.high is not None and gap.high < 0,
    }


def _cascade(
    built: BuiltModel, rows: Boxed, method: str, asking: _Asking, groups: _Groups, progress: Progress | None
) -> list[dict[str, Any]]:
    """Rank correlation of maps with the trained model's as more of its weights, head first, are random."""
    rng = np.random.default_rng(groups.seed)
    count = min(COMPARED, rows.boxed.size)
    picked = np.sort(rng.choice(rows.boxed.size, count, replace=False))
    images, targets = np.array(rows.images[rows.boxed[picked]]), rows.targets[rows.boxed[picked]]
    trained = asking.make(built, method)(images, targets)
    steps = cascade(built)
    found = []
    for done, number in enumerate(steps, start=1):
        maps = asking.make(randomised(built, groups=number, seed=groups.seed), method)(images, targets)
        similarity = rank_correlation(trained, maps)
        codes = _renumbered(groups.boxed_codes[picked])
        estimate = mean_gap(similarity, np.zeros(count), codes=codes, targets=targets, seed=groups.seed)
        found.append({"groups": number, "of": len(built.groups), "n": count, "similarity": as_json(estimate)})
        if progress is not None:
            progress(done, len(steps))
    return found


def _named(progress: Report | None, title: str) -> Progress | None:
    if progress is None:
        return None
    report = progress
    return lambda done, total: report(title, done, total)
