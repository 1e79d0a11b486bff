"""Prediction tables for the tests of this room, drawn from a seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tumorscope.core.types import Probs
from tumorscope.evaluation.predictions import Predictions

NAMES = ("malignant", "benign", "cyst", "none")


def softmax_rows(scores: Probs) -> Probs:
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def draw(
    n: int,
    *,
    classes: int = 2,
    shift: float = 1.5,
    seed: int = 0,
    label_seed: int | None = None,
    prevalence: Sequence[float] | None = None,
    cluster: int = 1,
    shared: float = 0.0,
    split: str = "test",
) -> Predictions:
    """n images, `cluster` to a patient; `shared` is the part of the noise that a patient has in common.

    With two classes the true AUROC is the normal probability of `shift`, and the true accuracy that of
    shift / sqrt 2.
    """
    groups = n // cluster
    labels = np.random.default_rng([seed if label_seed is None else label_seed, 2])
    rng = np.random.default_rng([seed, 1])
    targets = np.repeat(labels.choice(classes, size=groups, p=prevalence), cluster)
    scores = np.sqrt(1 - shared) * rng.normal(size=(groups * cluster, classes))
    scores += np.sqrt(shared) * np.repeat(rng.normal(size=(groups, classes)), cluster, axis=0)
    scores[np.arange(groups * cluster), targets] += shift
    return Predictions.build(
        [f"scan-{i:05d}.png" for i in range(groups * cluster)],
        targets=targets,
        probs=softmax_rows(scores),
        classes=NAMES[:classes],
        positive=NAMES[0] if classes == 2 else None,
        split=split,
        patients=[f"p{i // cluster}" for i in range(groups * cluster)] if cluster > 1 else None,
    )


def two_class(targets: Sequence[int], *, scores: Sequence[float], groups: Sequence[str] | None = None) -> Predictions:
    """A table of classes ("malignant", "benign"), 0 the positive one, from the positive class's scores."""
    column = np.asarray(scores, dtype=np.float64)
    paths = [f"{i:04d}.png" for i in range(len(targets))]
    return Predictions.build(
        paths,
        targets=np.asarray(targets),
        probs=np.stack([column, 1 - column], axis=1),
        classes=NAMES[:2],
        positive=NAMES[0],
        copies=groups,
    )
