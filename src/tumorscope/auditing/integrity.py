"""Files, sizes, gray levels, classes and boxes: what the source noticed while reading, and what stands out now.

In: `Material`. Out: answers. Every code a source can raise is a check here, so that an audit also says what was
looked at and found fine, or does not apply to this layout.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tumorscope.auditing.check import Answer, Check, fine, found, not_applicable
from tumorscope.auditing.material import Material
from tumorscope.core.types import Severity
from tumorscope.data.copies.find import BLANK
from tumorscope.data.sources import codes
from tumorscope.data.sources.codes import Code

SIZE_RATIO = 4.0
"""Times by which the geometric mean of an image's sides differs from the median to stand out: at four, resizing to
one input size leaves a sixteenth of the detail, or invents it."""
ROBUST_DEVIATIONS = 6.0
"""Deviations (1.4826 x median absolute deviation; Rousseeuw and Croux 1993) from the median to stand out: one in
five hundred million of a normal distribution."""
LEAST_DEVIATION = 4.0
"""Gray levels taken as the deviation where it is smaller: a set of nearly equal images has no outliers."""
IMBALANCED, VERY_IMBALANCED = 3.0, 10.0
"""Largest class over smallest: from 3 accuracy hides the smaller class, from 10 it may be ignored altogether."""
USUAL_MODES = frozenset({"L", "RGB"})

_BOX_CODES = {c.code for c in codes.CODES.values() if c.code in {f"DATA{n:03}" for n in range(10, 18)}}
_TABLE_CODES = {codes.ROW_TWICE.code, codes.COLUMN_NOT_READ.code}
_MEDMNIST_CODES = {codes.CHECKSUM.code, codes.SIZES.code}


def _noticed(material: Material, *, code: Code) -> Answer:
    """What the source said of `code` while it read the data."""
    manifest = material.manifest
    for finding in manifest.findings:
        if finding.code == code.code:
            return found(finding.detail, paths=finding.paths, count=finding.count, severity=finding.severity)
    if code.code in _BOX_CODES and not any(r.boxes for r in manifest.records):
        return not_applicable("The data has no boxes.")
    if code.code in _TABLE_CODES and manifest.layout != "table":
        return not_applicable(f"The data is no table but {manifest.layout}.")
    if code.code in _MEDMNIST_CODES and manifest.layout != "medmnist":
        return not_applicable(f"The data is no MedMNIST file but {manifest.layout}.")
    return fine(f"Not seen in {manifest.inputs:,} inputs.")


def _listed(material: Material, concerned: NDArray[np.bool_]) -> list[str]:
    return [material.paths[i] for i in np.flatnonzero(concerned).tolist()]


def _blank(material: Material) -> Answer:
    deviation = material.levels[:, 1]
    concerned = deviation < BLANK
    if not concerned.any():
        return fine(f"The plainest of {len(material):,} images varies by {deviation.min():.1f} gray levels.")
    return found(
        f"{int(concerned.sum()):,} of {len(material):,} images vary by less than {BLANK:g} gray levels.",
        paths=_listed(material, concerned),
    )


def _sizes(material: Material) -> Answer:
    sides = np.array([(r.width_px * r.height_px) ** 0.5 for r in material.manifest.records])
    median = float(np.median(sides))
    concerned = (sides * SIZE_RATIO < median) | (sides > median * SIZE_RATIO)
    span = f"sides {sides.min():.0f} to {sides.max():.0f} px (geometric mean), median {median:.0f}"
    if not concerned.any():
        return fine(f"{span.capitalize()}.")
    detail = (
        f"{int(concerned.sum()):,} of {len(material):,} images differ {SIZE_RATIO:g}-fold or more from the median; "
    )
    return found(detail + span + ".", paths=_listed(material, concerned))


def _gray_levels(material: Material) -> Answer:
    concerned = np.zeros(len(material), dtype=np.bool_)
    for values in material.levels.T:
        centre = np.median(values)
        deviation = max(1.4826 * float(np.median(np.abs(values - centre))), LEAST_DEVIATION)
        concerned |= np.abs(values - centre) > ROBUST_DEVIATIONS * deviation
    if not concerned.any():
        return fine("Mean and deviation of the gray levels of every image are near those of the others.")
    return found(
        f"{int(concerned.sum()):,} of {len(material):,} images lie {ROBUST_DEVIATIONS:g} robust deviations or more "
        "from the median in mean or spread of gray levels.",
        paths=_listed(material, concerned),
    )


def _imbalance(material: Material) -> Answer:
    counts = Counter(r.label for r in material.manifest.records)
    largest, smallest = counts.most_common()[0], counts.most_common()[-1]
    ratio = largest[1] / smallest[1]
    text = f"{largest[0]!r} has {largest[1]:,} images, {smallest[0]!r} {smallest[1]:,}: {ratio:.1f} to 1."
    if len(counts) < 2:
        return not_applicable("There is one class.")
    if ratio < IMBALANCED:
        return fine(text)
    severity: Severity = "warning" if ratio >= VERY_IMBALANCED else "info"
    return found(text, count=smallest[1], figures={"ratio": ratio, **counts}, severity=severity)


def _colour(material: Material) -> Answer:
    gray = np.array([r.gray for r in material.manifest.records], dtype=np.bool_)
    if gray.all() or not gray.any():
        return fine(f"All {len(gray):,} images are {'gray' if gray.all() else 'in colour'}.")
    minority = gray if gray.sum() * 2 <= len(gray) else ~gray
    name = "gray" if minority is gray else "in colour"
    share = Counter(material.manifest.records[i].label for i in np.flatnonzero(minority).tolist())
    by_class = "; ".join(f"{label}: {n:,}" for label, n in share.most_common())
    return found(
        f"{int(minority.sum()):,} of {len(gray):,} images are {name}, unlike the others ({by_class}).",
        paths=_listed(material, minority),
    )


def _modes(material: Material) -> Answer:
    modes = Counter(r.mode for r in material.manifest.records)
    text = ", ".join(f"{n:,} {mode}" for mode, n in modes.most_common())
    odd = [r.path for r in material.manifest.records if r.mode not in USUAL_MODES]
    if not odd:
        return fine(f"Stored as {text}.")
    return found(f"{len(odd):,} images are stored in a mode other than 8-bit gray or RGB; all: {text}.", paths=odd)


def _source_checks() -> list[Check]:
    return [Check(c.code, c.title, c.severity, partial(_noticed, code=c)) for c in codes.CODES.values()]


INTEGRITY_CHECKS: tuple[Check, ...] = (
    *_source_checks(),
    Check("DATA040", "Some images are blank.", "warning", _blank),
    Check("DATA041", "Some images are much smaller or larger than the others.", "info", _sizes),
    Check("DATA042", "Some images are much brighter, darker or flatter than the others.", "info", _gray_levels),
    Check("DATA043", "Class sizes differ widely.", "info", _imbalance),
    Check("DATA044", "Gray and colour images are mixed.", "info", _colour),
    Check("DATA045", "Some images are stored in an unusual mode.", "info", _modes),
)
"""Checks on files, pictures, classes and boxes."""
