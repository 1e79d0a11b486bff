"""Pairs of images as rows a person and a program can read: `pairs.csv`, gravest first."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tumorscope.auditing.material import Material
from tumorscope.core.files import atomic_path
from tumorscope.data.copies.groups import CopyKind
from tumorscope.data.copies.survey import KINDS
from tumorscope.evaluation.cells import escape_cell

COLUMNS = ("image_a", "image_b", "kind", "score", "mirrored", "split_a", "split_b", "label_a", "label_b")


@dataclass(frozen=True, slots=True)
class PairRow:
    """Two images that belong together.

    Attributes:
        image_a: Path of the first image, relative to the data.
        image_b: Path of the second.
        kind: "exact", "pixels", "near" or "patient-likely".
        score: 0..1, share of the textured area that agrees after registration.
        mirrored: True if b shows a mirrored.
        rotation_deg: Counter-clockwise turn from a (mirrored first, if mirrored) to b.
        split_a: Part of a, "" where it has none.
        split_b: Part of b.
        label_a: Class of a.
        label_b: Class of b.
        row_a: Position of a in the manifest.
        row_b: Position of b.
    """

    image_a: str
    image_b: str
    kind: CopyKind
    score: float
    mirrored: bool
    rotation_deg: float
    split_a: str
    split_b: str
    label_a: str
    label_b: str
    row_a: int
    row_b: int

    @property
    def crosses(self) -> bool:
        """True if the two stand in different parts."""
        return bool(self.split_a and self.split_b) and self.split_a != self.split_b

    @property
    def conflicts(self) -> bool:
        """True if the two carry different labels."""
        return self.label_a != self.label_b


def pair_rows(material: Material) -> tuple[PairRow, ...]:
    """All pairs, gravest first: copies before likely patients; of each, those across parts, then with other labels."""
    records = material.manifest.records
    parts = material.part_names
    rows = [
        PairRow(
            records[p.a].path,
            records[p.b].path,
            p.kind,
            p.score,
            p.mirrored,
            p.rotation_deg,
            parts[p.a] or "",
            parts[p.b] or "",
            records[p.a].label,
            records[p.b].label,
            p.a,
            p.b,
        )
        for p in material.survey.pairs
    ]
    return tuple(
        sorted(
            rows,
            key=lambda r: (
                r.kind == "patient-likely",
                not r.crosses,
                not r.conflicts,
                KINDS.index(r.kind),
                -r.score,
                r.image_a,
                r.image_b,
            ),
        )
    )


def write_pairs(path: Path, rows: Sequence[PairRow]) -> Path:
    """Write `pairs.csv` (UTF-8, formula-safe cells) and return its path."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(COLUMNS)
        for r in rows:
            names = [_cell(text) for text in (r.image_a, r.image_b)]
            ends = [_cell(text) for text in (r.split_a, r.split_b, r.label_a, r.label_b)]
            writer.writerow([*names, r.kind, f"{r.score:.4f}", str(r.mirrored).lower(), *ends])
    return path


def _cell(text: str) -> str:
    """Formula-safe; bytes of a file name that are no UTF-8 as their escapes."""
    return escape_cell(text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))
