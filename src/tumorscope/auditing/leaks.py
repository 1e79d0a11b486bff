"""Copies as findings: within the data, and across the parts that a test figure relies on.

In: `Material` with its survey. Out: answers with counts of images. Each image is counted under the strongest kind
that concerns it: identical file, then identical pixels, then near copy, then likely the same patient.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tumorscope.auditing.check import Answer, Check, fine, found, not_applicable
from tumorscope.auditing.material import Material
from tumorscope.data.copies.groups import CopyKind
from tumorscope.data.split import sharing

KINDS: tuple[CopyKind, ...] = ("exact", "pixels", "near", "patient-likely")
WORDS: dict[CopyKind, str] = {
    "exact": "have the same file as another image",
    "pixels": "have the same pixels as another image in another file",
    "near": "are near copies of another image",
    "patient-likely": "likely show a patient whom another image shows too",
}


def _up_to(kind: CopyKind) -> tuple[CopyKind, ...]:
    return KINDS[: KINDS.index(kind) + 1]


def _repeated(groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) bool: images that share their group."""
    return np.bincount(groups)[groups] > 1


def _within(material: Material, *, kind: CopyKind) -> Answer:
    groups = material.survey.groups(_up_to(kind))
    concerned = _repeated(groups)
    if kind != "exact":
        concerned &= ~_repeated(material.survey.groups(_up_to(KINDS[KINDS.index(kind) - 1])))
    count = int(concerned.sum())
    pairs = [p for p in material.survey.pairs if p.kind == kind]
    mirrored = sum(p.mirrored for p in pairs)
    distinct = len(np.unique(groups))
    if not pairs:
        return fine(f"None of {len(material):,} images.")
    people = "patients" if kind == "patient-likely" else "pictures"
    many = f"{len(pairs):,} pairs join" if len(pairs) > 1 else "one pair joins"
    detail = f"{many} them into {distinct:,} {people} among {len(material):,} images"
    detail += f"; of these pairs {mirrored:,} are mirrored." if mirrored else "."
    if count:
        beyond = "" if kind == "exact" else ", beyond those of a stronger kind"
        detail = f"{count:,} images {WORDS[kind]}{beyond}; {detail}"
    paths = [material.paths[i] for i in np.flatnonzero(concerned).tolist()]
    if not paths:
        paths = [material.paths[p.b] for p in pairs]
    return found(
        detail,
        paths=paths,
        figures={"pairs": len(pairs), "images": count, "mirrored_pairs": mirrored, "distinct": distinct},
    )


def _test_rows(material: Material) -> list[int]:
    return [i for i, part in enumerate(material.part_names) if part == "test"]


def _no_parts(material: Material) -> Answer | None:
    names = set(material.part_names)
    if "test" not in names or not names & {"train", "val"}:
        return not_applicable("The data has no train and test parts; give a split file to check one.")
    return None


def crossing_answer(material: Material, concerned: Sequence[int], words: str) -> Answer:
    """Fine or finding for the test images at `concerned`, counted by class."""
    test = _test_rows(material)
    if not concerned:
        return fine(f"None of {len(test):,} test images.")
    labels = Counter(material.manifest.records[i].label for i in concerned)
    by_class = "; ".join(f"{label}: {labels[label]:,}" for label in material.manifest.classes if labels[label])
    return found(
        f"{len(concerned):,} of {len(test):,} test images ({len(concerned) / len(test):.1%}) {words} ({by_class}).",
        paths=[material.paths[i] for i in concerned],
        figures={"test_images": len(test), "images": len(concerned), "by_class": dict(labels)},
    )


def _across(material: Material, *, kind: CopyKind) -> Answer:
    if nothing := _no_parts(material):
        return nothing
    concerned = set(sharing(material.part_names, material.survey.groups(_up_to(kind))))
    if kind != "exact":
        concerned -= set(sharing(material.part_names, material.survey.groups(_up_to(KINDS[KINDS.index(kind) - 1]))))
    words = {
        "exact": "have the same file in training or validation",
        "pixels": "have the same pixels, in another file, in training or validation",
        "near": "have a near copy in training or validation and no identical one",
        "patient-likely": "have no copy in training or validation, but likely another slice of the same patient there",
    }[kind]
    return crossing_answer(material, sorted(concerned), words)


def _patients_across(material: Material) -> Answer:
    if all(r.patient is None for r in material.manifest.records):
        return not_applicable("The data names no patients.")
    if nothing := _no_parts(material):
        return nothing
    names = sorted({r.patient for r in material.manifest.records if r.patient is not None})
    number = {name: i for i, name in enumerate(names)}
    codes = np.array(
        [len(names) + i if r.patient is None else number[r.patient] for i, r in enumerate(material.manifest.records)],
        dtype=np.int64,
    )
    concerned = sharing(material.part_names, codes)
    return crossing_answer(material, concerned, "are of a patient who also stands in training or validation")


LEAK_CHECKS: tuple[Check, ...] = (
    Check("LEAK001", "Files occur more than once.", "warning", partial(_within, kind="exact")),
    Check("LEAK002", "Different files hold the same pixels.", "warning", partial(_within, kind="pixels")),
    Check(
        "LEAK003",
        "Images are near copies of others: re-encoded, resized, mirrored, turned or cropped.",
        "warning",
        partial(_within, kind="near"),
    ),
    Check("LEAK004", "Images are likely slices of the same patient.", "info", partial(_within, kind="patient-likely")),
    Check(
        "LEAK011",
        "Test images stand in training as the same file.",
        "error",
        partial(_across, kind="exact"),
        by_parts=True,
    ),
    Check(
        "LEAK012",
        "Test images have the same pixels in training.",
        "error",
        partial(_across, kind="pixels"),
        by_parts=True,
    ),
    Check(
        "LEAK013", "Test images have near copies in training.", "error", partial(_across, kind="near"), by_parts=True
    ),
    Check(
        "LEAK014",
        "Test images likely have other slices of their patient in training.",
        "warning",
        partial(_across, kind="patient-likely"),
        by_parts=True,
    ),
    Check("LEAK015", "Patients stand in both training and test.", "error", _patients_across, by_parts=True),
)
"""Checks on copies and patients."""
