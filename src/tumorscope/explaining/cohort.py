"""The images a model's heat is judged on, with its answers and which images belong together.

In: images with boxes, probabilities, group numbers. Out: means over images with 95% intervals by group, paired
differences, and average precision. Score, removal and gallery read the same value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.types import Estimate, Probs, Targets
from tumorscope.evaluation.resampling import Floats
from tumorscope.evaluation.shares import mean_gap, mean_share
from tumorscope.explaining.measuring import Boxed
from tumorscope.explaining.weak_boxes import Matches, Precision

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Cohort:
    """Images with boxes, the answers to them, and their groups.

    Attributes:
        rows: The n images.
        probs: (n, classes) calibrated probabilities of the model.
        codes: (n,) group numbers; images of one group are resampled together.
        seed: Of resamples, random weights and everything else that is drawn.
    """

    rows: Boxed
    probs: Probs
    codes: Targets
    seed: int = 0

    def take(self, chosen: Positions) -> Cohort:
        """The images at `chosen` alone."""
        return replace(self, rows=self.rows.take(chosen), probs=self.probs[chosen], codes=self.codes[chosen])

    @cached_property
    def targets(self) -> Targets:
        """(m,) class positions of the m images with boxes."""
        return self.rows.targets[self.rows.boxed]

    def drawn(self, count: int) -> Positions:
        """Positions, among the images with boxes, of `count` of them; all if there are fewer. Sorted."""
        total = len(self.rows.boxed)
        rng = np.random.default_rng([self.seed, 0xD7])
        return np.sort(rng.permutation(total)[:count])

    def share(self, values: Floats, among: Positions | None = None) -> Estimate:
        """Mean of one value an image with a box; with `among`, of one value for each of those alone."""
        codes, targets = self._groups(among)
        return mean_share(values, codes=codes, targets=targets, seed=self.seed)

    def gap(self, first: Floats, second: Floats, among: Positions | None = None) -> Estimate:
        """Mean paired difference of values as `share` takes them."""
        codes, targets = self._groups(among)
        return mean_gap(first, second, codes=codes, targets=targets, seed=self.seed)

    def share_of_all(self, values: Floats) -> Estimate:
        """Mean of one value an image, with a box or without."""
        return mean_share(values, codes=renumbered(self.codes), targets=self.rows.targets, seed=self.seed)

    def gap_of_all(self, first: Floats, second: Floats) -> Estimate:
        """Mean paired difference of values as `share_of_all` takes them."""
        return mean_gap(first, second, codes=renumbered(self.codes), targets=self.rows.targets, seed=self.seed)

    def _groups(self, among: Positions | None) -> tuple[Targets, Targets]:
        """Groups and strata of the images with boxes, or of those at `among`."""
        chosen = slice(None) if among is None else among
        return renumbered(self.codes[self.rows.boxed][chosen]), self.targets[chosen]

    def precisions(self, matches: Mapping[str, Sequence[Matches]]) -> dict[str, Precision]:
        """Average precision of each set of draws on the searched images."""
        codes, targets = self._searched
        return {
            name: Precision.mean([Precision.of(one, codes=codes, targets=targets, seed=self.seed) for one in draws])
            for name, draws in matches.items()
        }

    def precision(self, found: Precision) -> Estimate:
        """With its interval."""
        codes, targets = self._searched
        return found.estimate(codes=codes, targets=targets)

    def precision_gap(self, first: Precision, second: Precision) -> Estimate:
        """Paired difference with its interval."""
        codes, targets = self._searched
        return first.minus(second, codes=codes, targets=targets)

    @property
    def _searched(self) -> tuple[Targets, Targets]:
        """Groups and strata of the searched images."""
        rows = self.rows.searched
        return renumbered(self.codes[rows]), self.rows.targets[rows]


def renumbered(codes: Targets) -> Targets:
    """Group numbers 0..G-1 in place of any."""
    return np.asarray(np.unique(codes, return_inverse=True)[1], dtype=np.int64)
