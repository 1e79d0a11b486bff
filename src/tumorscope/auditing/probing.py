"""Small models under cross-validation: how well a description of the images predicts their labels.

In: `Material`, or some of its rows. Out: a `Sample` with folds that keep independent groups whole, out-of-fold
probabilities, and their balanced accuracy with its 95% interval. Runs on one core, without processes of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tumorscope.auditing.check import Answer, not_applicable
from tumorscope.auditing.material import Material
from tumorscope.core.types import Estimate, Probs, Targets
from tumorscope.evaluation.intervals import evidence, resampled
from tumorscope.evaluation.resampling import group_labels, resample_counts

Features: TypeAlias = NDArray[Any]
"""(n, F) numbers, or a sparse matrix of that shape."""
MakeModel: TypeAlias = Callable[[int], Any]
"""From the number of classes to an untrained scikit-learn classifier with `predict_proba`."""

FOLDS = 5
MIN_GROUPS = 10
"""Independent groups a class needs: with five folds each test fold then holds two of them on average."""
MOST_IMAGES = 5000
"""More images would narrow an interval that is already a few hundredths wide."""
MARGIN = 0.05
"""How far above chance the low end of an interval must lie: descriptions of pure noise get there in 0.5% of trials
(8 of 1,780 with 40 to 600 images), and a smaller gain would hardly move a published figure."""
RESAMPLES = 500
"""The interval needs the standard deviation only, which 500 resamples give within 3%."""
_SAMPLE_STREAM = 0x5A3


@dataclass(frozen=True, eq=False)
class Sample:
    """The images a small model is fitted on.

    Attributes:
        rows: (n,) int64 positions in the manifest's records, rising.
        targets: (n,) int64, positions in `classes`.
        codes: (n,) int64 number of each image's independent group, 0..G-1.
        folds: (n,) int64 fold in which each image is predicted.
        classes: Names of the C classes that are present.
        candidates: How many images they were chosen from.
    """

    rows: Targets = field(repr=False)
    targets: Targets = field(repr=False)
    codes: Targets = field(repr=False)
    folds: Targets = field(repr=False)
    classes: tuple[str, ...]
    candidates: int

    def __len__(self) -> int:
        return self.rows.size

    @property
    def groups(self) -> int:
        """How many independent groups there are."""
        return int(self.codes.max()) + 1

    @property
    def chance(self) -> float:
        """Balanced accuracy of a guess."""
        return 1 / len(self.classes)

    def regrouped(self, groups: Targets, *, targets: Targets, seed: int) -> Sample:
        """The same images with other (n,) int64 groups and labels, and folds that keep those groups whole."""
        codes = np.unique(groups, return_inverse=True)[1].astype(np.int64)
        folds = _folds(targets.tobytes(), codes.tobytes(), seed=seed)
        return Sample(self.rows, targets, codes, folds, self.classes, self.candidates)

    @property
    def words(self) -> str:
        """The images, as a sentence names them."""
        size = f"{len(self):,}"
        if len(self) < self.candidates:
            size += f" of {self.candidates:,}"
        even = " (classes as even as they allow)" if len(self) < self.candidates else ""
        groups = "" if self.groups == len(self) else f" in {self.groups:,} independent groups"
        return f"{size} images{even}{groups}"


def draw(
    material: Material,
    *,
    rows: Targets | None = None,
    most: int | None = MOST_IMAGES,
    groups: Targets | None = None,
) -> Sample | Answer:
    """The images to fit on, with their folds; or the answer "not applicable" where they are too few.

    Args:
        material: The data.
        rows: (m,) int64 rising positions in the records to choose from; all by default.
        most: Number of images kept. Small classes are kept whole, the others cut to one size.
        groups: (N,) int64 groups that no fold tears; `material.independent` by default.
    """
    names = material.manifest.classes
    chosen = np.arange(len(material)) if rows is None else rows
    candidates = chosen.size
    present = np.unique(material.targets[chosen])
    if present.size < 2:
        return not_applicable("Fewer than two classes: there is nothing to predict.")
    if most is not None and candidates > most:
        chosen = _thinned(chosen, targets=material.targets[chosen], most=most, seed=material.seed)
    targets = np.searchsorted(present, material.targets[chosen]).astype(np.int64)
    codes = (material.independent if groups is None else groups)[chosen]
    classes = tuple(names[c] for c in present.tolist())
    counts = [np.unique(codes[targets == c]).size for c in range(len(classes))]
    if min(counts) < MIN_GROUPS:
        scarce = classes[int(np.argmin(counts))]
        return not_applicable(
            f"Class {scarce!r} has {min(counts)} independent groups of images; "
            f"{MIN_GROUPS} are needed for cross-validation."
        )
    bare = Sample(chosen, targets, codes, np.zeros_like(targets), classes, candidates)
    return bare.regrouped(codes, targets=targets, seed=material.seed)


def out_of_fold(sample: Sample, features: Features, *, make_model: MakeModel) -> Probs:
    """(n, C) probabilities of each image by a model that saw nothing of its group.

    Args:
        sample: The images and their folds.
        features: (n, F) description of them.
        make_model: Called once a fold.
    """
    probs = np.zeros((len(sample), len(sample.classes)))
    for fold in range(int(sample.folds.max()) + 1):
        test = sample.folds == fold
        seen, where = np.unique(sample.targets[~test], return_inverse=True)
        if seen.size < 2:  # one group may hold nearly all of a class
            probs[np.ix_(test, seen)] = 1.0
            continue
        model = make_model(seen.size).fit(features[~test], where)
        probs[np.ix_(test, seen)] = model.predict_proba(features[test])
    return probs


def balanced_accuracy(sample: Sample, predicted: Targets, *, seed: int) -> Estimate:
    """Mean sensitivity of the classes with its 95% interval, by bootstrap of whole groups within classes.

    Args:
        sample: The images.
        predicted: (n,) int64 positions in its classes.
        seed: Same seed, same interval.
    """
    count = len(sample.classes)
    cells = sample.codes * count + sample.targets
    shape = (sample.groups, count)
    totals = np.bincount(cells, minlength=shape[0] * count).reshape(shape).astype(np.float64)
    right = (predicted == sample.targets).astype(np.float64)
    hits = np.bincount(cells, weights=right, minlength=shape[0] * count).reshape(shape)
    strata = group_labels(sample.codes, targets=sample.targets)
    drawn = []
    for block in resample_counts(np.arange(sample.groups), targets=strata, resamples=RESAMPLES, seed=seed):
        found, seen = block @ hits, block @ totals
        shares = np.divide(found, seen, out=np.full_like(found, np.nan), where=seen > 0)
        drawn.append(shares.mean(1))
    return resampled(
        float((hits.sum(0) / totals.sum(0)).mean()),
        samples=np.concatenate(drawn),
        limits=(0.0, 1.0),
        known=evidence(sample.codes, targets=sample.targets, per_class=True),
        method="bootstrap-groups",
    )


def estimate_words(estimate: Estimate) -> str:
    """Value and interval as a sentence names them."""
    return f"{estimate.value:.2f} (95% interval {estimate.low:.2f} to {estimate.high:.2f})"


def tree_model(classes: int) -> Any:
    """A decision tree of at most 64 leaves, for numbers that are really categories, such as sizes in pixels."""
    from sklearn.tree import DecisionTreeClassifier

    del classes  # weights make all of them equally likely
    return DecisionTreeClassifier(max_depth=6, min_samples_leaf=3, class_weight="balanced", random_state=0)


def forest_model(classes: int, *, trees: int = 30) -> Any:
    """Extremely randomised trees (Geurts, Ernst and Wehenkel 2006), for pictures and histograms."""
    from sklearn.ensemble import ExtraTreesClassifier

    del classes
    return ExtraTreesClassifier(trees, min_samples_leaf=2, class_weight="balanced", random_state=0, n_jobs=1)


def name_model(classes: int) -> Any:
    """Naive Bayes on counts, all classes equally likely."""
    from sklearn.naive_bayes import MultinomialNB

    del classes
    return MultinomialNB(alpha=0.1, fit_prior=False)


def _thinned(rows: Targets, *, targets: Targets, most: int, seed: int) -> Targets:
    """At most `most` of `rows`: the largest number a class that fits, drawn at random within the class."""
    sizes = np.unique(targets, return_counts=True)[1]
    each = _level(sizes.tolist(), most)
    rng = np.random.default_rng([seed, _SAMPLE_STREAM])
    kept = [rng.permutation(rows[targets == c])[:each] for c in np.unique(targets)]
    return np.sort(np.concatenate(kept))


def _level(sizes: Sequence[int], most: int) -> int:
    """Largest k with sum(min(size, k)) <= most."""
    left, waiting = most, sorted(sizes)
    while waiting and waiting[0] * len(waiting) <= left:
        left -= waiting.pop(0)
    return left // len(waiting) if waiting else max(sizes)


@lru_cache(maxsize=8)
def _folds(targets: bytes, codes: bytes, *, seed: int) -> Targets:
    """(n,) int64 fold of each image; asked for by several checks of the same images, made once."""
    from sklearn.model_selection import StratifiedGroupKFold

    labels, groups = (np.frombuffer(values, np.int64) for values in (targets, codes))
    folds = np.zeros(labels.size, np.int64)
    maker = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed % 2**32)
    for number, (_, test) in enumerate(maker.split(labels, labels, groups)):
        folds[test] = number
    folds.setflags(write=False)
    return folds
