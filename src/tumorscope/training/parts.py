"""Which images train, choose and test: the split a recipe asks for, and the gate that copies must not pass.

In: a recipe, a Manifest and its copies. Out: a `Split`, or an error that names the copies that cross it; and, where
they were accepted, which test images are concerned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.errors import DataError
from tumorscope.data.copies.survey import Survey
from tumorscope.data.manifest import Manifest
from tumorscope.data.split import Groups, Split, patient_groups, sharing
from tumorscope.data.splitting import LIKELY_KINDS, Rules, groups_of, make_split
from tumorscope.training.recipe import Recipe

NAMED = 3
"""Crossing images named in the error."""


def rules_of(recipe: Recipe) -> Rules:
    """The recipe's own words on how parts are made."""
    data = recipe.data
    return Rules(data.policy, data.keep, data.val_fraction, data.test_fraction)


def draw_split(recipe: Recipe, manifest: Manifest, survey: Survey) -> Split:
    """The split of a single run: parts by the recipe's policy and seed."""
    return make_split(manifest, survey, seed=recipe.train.seed, rules=rules_of(recipe))


def gate(manifest: Manifest, split: Split, survey: Survey, *, accept: bool) -> tuple[str, ...]:
    """Stamps for the report; none where no copy and no patient stands on both sides of the test part.

    Args:
        manifest: The data.
        split: The parts.
        survey: Copies among the images.
        accept: The user said `--accept-leaks`.

    Raises:
        DataError: If something crosses and `accept` is false; names pairs and the two ways out.
    """
    groups = groups_of(manifest, survey, likely=False)
    parts = [split.assignment.get(r.path) for r in manifest.records]
    leaked = [manifest.records[i].path for i in sharing(parts, groups)]
    if not leaked:
        return ()
    total = sum(part == "test" for part in split.assignment.values())
    said = f"{len(leaked):,} of {total:,} test images have a copy or their patient in training or validation"
    if accept:
        return (f"Leaks accepted: {said}. Figures on all test images are inflated.",)
    twins = [f"{path} = {_twin(manifest, split, groups, path)}" for path in leaked[:NAMED]]
    more = f", and {len(leaked) - NAMED:,} more" if len(leaked) > NAMED else ""
    raise DataError(
        f"{said}: {'; '.join(twins)}{more}",
        expected="a test part that shares no picture and no patient with training",
        where=manifest.root,
        fix="--policy deduplicated leaves their twins out of training (look first: `tumorscope audit DATA`), or "
        "--accept-leaks trains as it is and stamps the report",
    )


def _twin(manifest: Manifest, split: Split, groups: Groups, path: str) -> str:
    """The first image of training or validation in the group of `path`."""
    place = {r.path: i for i, r in enumerate(manifest.records)}
    group = groups[place[path]]
    return next(
        r.path
        for i, r in enumerate(manifest.records)
        if groups[i] == group and split.assignment.get(r.path) in ("train", "val")
    )


@dataclass(frozen=True)
class Overlap:
    """Test images that share something with training or validation.

    Attributes:
        name: "copy", "patient" or "likely patient".
        concerned: (n,) bool over the test images.
    """

    name: str
    concerned: NDArray[np.bool_]

    def subsets(self) -> dict[str, NDArray[np.bool_]]:
        """The test images without and with it, by the names they have in `evaluation.json`."""
        return {f"no {self.name} in training": ~self.concerned, f"{self.name} in training": self.concerned}

    def warning(self) -> str:
        """One sentence for the evaluation's warnings."""
        number = f"{int(self.concerned.sum()):,} of {len(self.concerned):,} test images"
        what = {
            "copy": "have a copy in training or validation",
            "patient": "are of a patient who also stands in training or validation",
            "likely patient": "have a copy or likely another slice of their patient in training or validation",
        }[self.name]
        return f"{number} {what}: figures on all test images are inflated; read the subset without them"


def overlaps(manifest: Manifest, split: Split, survey: Survey, test: NDArray[np.int64]) -> list[Overlap]:
    """What test images share with training, where they share anything.

    Args:
        manifest: The data.
        split: The parts.
        survey: Copies among the images.
        test: (n,) positions of the test images in the manifest.
    """
    parts = [split.assignment.get(r.path) for r in manifest.records]
    kinds = {
        "copy": survey.copies,
        "patient": patient_groups(manifest),
        "likely patient": survey.groups(LIKELY_KINDS),
    }
    found = [Overlap(name, np.isin(test, sharing(parts, groups))) for name, groups in kinds.items()]
    return [one for one in found if one.concerned.any()]
