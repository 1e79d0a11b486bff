"""Where heat comes from: methods, the same methods of models that know nothing, and maps without a model.

In: a model and the names of methods. Out: one `Source` for each row of the score, with one way to make heat for each
draw of random weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.types import Targets
from tumorscope.explaining.asking import Progress, Subject
from tumorscope.explaining.cohort import Cohort
from tumorscope.explaining.controls import Control, randomised, static_controls
from tumorscope.explaining.measuring import Boxed, Make, Measured, measure, pooled, thresholds_on
from tumorscope.explaining.methods import METHODS, heatmaps
from tumorscope.imaging.boxes import Boxes

RANDOM_WEIGHTS = "random-weights"
SLOW_BATCH = 2
"""Images that slow methods take at a time, each in many passes of its own: often enough for a bar to move."""
DRAWS = 3
"""Draws of random weights that a blind model's figures are the mean of; slow methods have one."""


@dataclass(frozen=True, slots=True)
class References:
    """What a score needs beside the model and the images.

    Attributes:
        val: Validation images that thresholds are chosen on, for each source anew; without them they are fixed.
        train_boxes: Boxes of training images on the input, for the mean box control.
        others: Further models whose maps are controls, such as one trained on shuffled labels, by name. They take
            the same input and give the same classes.
    """

    val: Boxed | None = None
    train_boxes: Sequence[Boxes] | None = None
    others: Mapping[str, Subject] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """One row of the table.

    Attributes:
        name: Key.
        title: For people.
        kind: "method", "random-weights", "model" or "control".
        method: Name of its method; None for a control.
        makes: Ways to make heat, one for each draw of random weights; elsewhere one.
    """

    name: str
    title: str
    kind: str
    method: str | None
    makes: tuple[Make, ...]

    def measured(
        self, cohort: Cohort, *, val: Boxed | None, batch_size: int, progress: Progress | None = None
    ) -> Measured:
        """Every measure on the cohort, thresholds chosen on `val`; the mean of the draws."""
        first = 0 if val is None else len(val.boxed)
        each = first + len(cohort.rows.searched)
        if self.method is not None and METHODS[self.method].slow:
            batch_size = min(batch_size, SLOW_BATCH)
        found = []
        for number, make in enumerate(self.makes):
            before, total = number * each, len(self.makes) * each
            begun = None if progress is None else _after(progress, before, total)
            say = None if progress is None else _after(progress, before + first, total)
            thresholds = thresholds_on(val, make, batch_size=batch_size, progress=begun)
            found.append(
                measure(
                    cohort.rows, make, probs=cohort.probs, thresholds=thresholds, batch_size=batch_size, progress=say
                )
            )
        return pooled(found)


def sources(
    subject: Subject, methods: Sequence[str], *, cohort: Cohort, references: References, batch_size: int
) -> list[Source]:
    """Every row: each method, the same of models that know nothing, then the maps without a model."""
    blind = [blinded(subject, seed=seed) for seed in draw_seeds(cohort.seed)]
    found = []
    for name in methods:
        title = METHODS[name].title
        found.append(Source(name, title, "method", name, (maker(subject, name, batch_size),)))
        drawn = blind[: draws_of(name)]
        label = f"random weights, {len(drawn)} draws" if len(drawn) > 1 else "random weights, one draw"
        makes = tuple(maker(model, name, batch_size) for model in drawn)
        found.append(Source(f"{name}@{RANDOM_WEIGHTS}", f"{title}, {label}", RANDOM_WEIGHTS, name, makes))
        for other, model in references.others.items():
            makes = (maker(model, name, batch_size),)
            found.append(Source(f"{name}@{other}", f"{title}, {other}", "model", name, makes))
    controls = static_controls(size_px=cohort.rows.size_px, train_boxes=references.train_boxes)
    return found + [Source(c.name, c.title, "control", None, (_static(c),)) for c in controls.values()]


def draws_of(method: str) -> int:
    """Draws of random weights for a method."""
    return 1 if METHODS[method].slow else DRAWS


def draw_seeds(seed: int) -> list[int]:
    """Seeds of the draws."""
    return [seed + 1000 * i for i in range(DRAWS)]


def blinded(subject: Subject, *, seed: int, groups: int | None = None) -> Subject:
    """The same network with its last `groups` parameter groups drawn anew; with all of them by default."""
    count = len(subject.built.groups) if groups is None else groups
    return subject.with_weights(randomised(subject.built, groups=count, seed=seed))


def maker(subject: Subject, method: str, batch_size: int) -> Make:
    """Heat of a batch by a method of a model."""

    def heat(images: NDArray[np.uint8], targets: Targets) -> NDArray[np.float32]:
        return heatmaps(subject, images, method=method, targets=targets, batch_size=batch_size)

    return heat


def _static(control: Control) -> Make:
    return lambda images, _targets: control.heat(images)


def _after(progress: Progress, before: int, total: int) -> Progress:
    return lambda done, _total: progress(before + done, total)
