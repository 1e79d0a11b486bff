"""Two models, or several, on the same images: which is better, by how much, and whether that can be told.

In: predictions tables. Out: `Comparison`s, matched by path, with McNemar's test, paired DeLong and intervals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tumorscope.core.errors import DataError, UsageError
from tumorscope.core.types import Estimate
from tumorscope.evaluation.auroc import AreaDifference, area_difference, auroc_estimate
from tumorscope.evaluation.estimates import BOOTSTRAP, overall_area
from tumorscope.evaluation.intervals import as_json, proportion, undefined
from tumorscope.evaluation.paired import UNDECIDED, Paired, Verdict, compare_correct, decide, holm
from tumorscope.evaluation.predictions import Predictions


@dataclass(frozen=True, slots=True)
class Comparison:
    """The first model (a) against the second (b) on the images both have.

    Attributes:
        names: Names of a and b.
        n: Shared images.
        accuracy: Of a and of b, with intervals.
        paired: Difference in accuracy a - b, McNemar's p and the verdict on a.
        auroc: Of a and of b: of the positive class, or the mean over classes.
        area: Difference in AUROC a - b by the paired DeLong test.
        area_verdict: Verdict on a by AUROC.
        adjusted: Holm-adjusted p-values (accuracy, AUROC) where several pairs were compared.
        notes: What a reader must know: images left out, differing groups, another split than test.
    """

    names: tuple[str, str]
    n: int
    accuracy: tuple[Estimate, Estimate]
    paired: Paired
    auroc: tuple[Estimate, Estimate]
    area: AreaDifference
    area_verdict: Verdict
    adjusted: tuple[float, float | None] | None
    notes: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """Verdict on a by accuracy."""
        return self.paired.verdict

    def sentence(self) -> str:
        """The result in one sentence with its numbers."""
        gap, p = self.paired.difference, self.paired.p_value
        a, b = self.names
        if self.verdict == UNDECIDED:
            says = f"{a} and {b} are not distinguishable"
        else:
            says = f"{a} is {self.verdict} than {b}"
        holm_p = f", Holm-adjusted {self.adjusted[0]:.3g}" if self.adjusted else ""
        return (
            f"{says} in accuracy on {self.n} images: difference {_points(gap.value)} points "
            f"(95% interval {_points(gap.low)} to {_points(gap.high)}), McNemar p = {p:.3g}{holm_p}"
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-able account."""
        a, b = self.names
        return {
            "a": a,
            "b": b,
            "n": self.n,
            "verdict": self.verdict,
            "sentence": self.sentence(),
            "accuracy": {
                "a": as_json(self.accuracy[0]),
                "b": as_json(self.accuracy[1]),
                **self.paired.to_json(),
                "p_adjusted": self.adjusted[0] if self.adjusted else None,
            },
            "auroc": {
                "a": as_json(self.auroc[0]),
                "b": as_json(self.auroc[1]),
                "difference": as_json(self.area.difference),
                "p_value": self.area.p_value,
                "p_adjusted": self.adjusted[1] if self.adjusted else None,
                "verdict": self.area_verdict,
            },
            "notes": list(self.notes),
        }


def compare(
    a: Predictions,
    b: Predictions,
    *,
    names: tuple[str, str] = ("a", "b"),
    bootstrap: int = BOOTSTRAP,
    seed: int = 0,
) -> Comparison:
    """Compare two models on the images that both have, matched by path.

    Raises:
        DataError: No shared image, other classes, or another label for the same image.
    """
    first, second, notes = match(a, b, names=names)
    areas = overall_area(first), overall_area(second)
    if areas[0] is None or areas[1] is None:
        gap = AreaDifference(undefined("needs images of two classes"), None)
    else:
        gap = area_difference(areas[0], b=areas[1], codes=first.codes)
    return Comparison(
        names,
        len(first),
        (proportion(first.correct, codes=first.codes), proportion(second.correct, codes=first.codes)),
        compare_correct(first.correct, second=second.correct, codes=first.codes, bootstrap=bootstrap, seed=seed),
        (auroc_estimate(areas[0], codes=first.codes), auroc_estimate(areas[1], codes=first.codes)),
        gap,
        decide(gap.difference, p_value=gap.p_value),
        None,
        notes,
    )


def compare_many(
    runs: Mapping[str, Predictions],
    *,
    reference: str | None = None,
    bootstrap: int = BOOTSTRAP,
    seed: int = 0,
) -> tuple[Comparison, ...]:
    """Every pair of runs, or every run against `reference`, with p-values and verdicts corrected (Holm 1979).

    Raises:
        UsageError: Fewer than two runs, or a reference that is none of them.
        DataError: As `compare`.
    """
    names = list(runs)
    if len(names) < 2 or (reference is not None and reference not in runs):
        raise UsageError(f"runs {names}, reference {reference!r}", expected="two or more runs, one of them")
    if reference is None:
        pairs = [(one, two) for i, one in enumerate(names) for two in names[i + 1 :]]
    else:
        pairs = [(name, reference) for name in names if name != reference]
    found = [compare(runs[one], runs[two], names=(one, two), bootstrap=bootstrap, seed=seed) for one, two in pairs]
    by_accuracy = holm([one.paired.p_value for one in found])
    known = [i for i, one in enumerate(found) if one.area.p_value is not None]
    by_area = dict(zip(known, holm([found[i].area.p_value or 0.0 for i in known]), strict=True))
    return tuple(_adjusted(one, by_accuracy[i], by_area.get(i)) for i, one in enumerate(found))


def match(
    a: Predictions, b: Predictions, *, names: tuple[str, str]
) -> tuple[Predictions, Predictions, tuple[str, ...]]:
    """The shared images of both tables in one order (by path), with b's classes in a's order, and notes."""
    if sorted(a.classes) != sorted(b.classes) or a.positive != b.positive:
        raise DataError(
            f"classes {list(a.classes)}, positive {a.positive!r}, against {list(b.classes)}, {b.positive!r}",
            expected="the same classes and positive class on both sides",
            where=" and ".join(names),
        )
    shared = sorted(set(a.paths) & set(b.paths))
    if not shared:
        raise DataError(
            f"no image in common: {len(a)} in {names[0]} such as {a.paths[0]!r}, {len(b)} in {names[1]} such "
            f"as {b.paths[0]!r}",
            expected="predictions for the same images",
            fix="evaluate both on one split, with paths relative to the same folder",
        )
    rows = [{path: i for i, path in enumerate(table.paths)} for table in (a, b)]
    first, second = (
        table.take(np.array([row[path] for path in shared])) for table, row in zip((a, b), rows, strict=True)
    )
    columns = [second.classes.index(name) for name in first.classes]
    back = np.argsort(columns)
    notes = [
        f"{len(table) - len(shared)} of {len(table)} images of {name} are not among the {len(shared)} shared"
        for table, name in zip((a, b), names, strict=True)
        if len(table) > len(shared)
    ]
    if first.groups != second.groups:
        notes.append("the two tables name different groups; those of the table with fewer groups are used")
    groups = min((first.groups, second.groups), key=lambda names: len(set(names)))
    first = replace(first, groups=groups)
    second = replace(
        second,
        targets=back[second.targets],
        probs=second.probs[:, columns],
        classes=first.classes,
        groups=groups,
    )
    conflicts = np.flatnonzero(first.targets != second.targets)
    if conflicts.size:
        raise DataError(
            f"{conflicts.size} of {len(shared)} shared images have another label in the other table",
            expected="one label an image",
            where=shared[int(conflicts[0])],
            fix="find out which label is right; a model cannot be compared across label changes",
        )
    splits = {a.split, b.split}
    if splits != {"test"}:
        notes.append(f"split: {', '.join(sorted(splits))}, not test alone")
    return first, second, tuple(notes)


def _adjusted(one: Comparison, p_value: float, area_p: float | None) -> Comparison:
    paired = replace(one.paired, verdict=decide(one.paired.difference, p_value=p_value))
    by_area = one.area_verdict if area_p is None else decide(one.area.difference, p_value=area_p)
    return replace(one, paired=paired, area_verdict=by_area, adjusted=(p_value, area_p))


def _points(share: float | None) -> str:
    return "undefined" if share is None else f"{100 * share:+.1f}"
