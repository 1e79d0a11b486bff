"""The Manifest: one frozen table of every input, used or excluded, whatever layout it came from.

In: records, exclusions and findings from a source. Out: a value that `split`, the cache, training and the
audit share. `inputs == len(records) + len(exclusions)` holds always.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tumorscope.core.errors import DataError
from tumorscope.core.files import sha256_value
from tumorscope.core.types import (
    SPLITS,
    DatasetInfo,
    Exclusion,
    Finding,
    ImageRecord,
    Pixels,
    SplitName,
    Targets,
)


class PixelReader(Protocol):
    """Gives back the pixels of records, in order; a source brings its own."""

    def __call__(self, root: Path, records: Sequence[ImageRecord]) -> Iterator[Pixels]:
        """Yield (H, W) or (H, W, 3) uint8 for each record; raise DataError if a file changed since."""
        ...


@dataclass(frozen=True)
class Manifest:
    """Every input of one data set.

    Attributes:
        root: Folder that record paths are relative to.
        layout: Name of the source that recognised it, such as "class-folders".
        summary: The one line said to the user.
        classes: Class names; the position is the target.
        positive: Class that sensitivity refers to in a two-class problem; None with more classes.
        records: Usable images in a fixed order (by path, or by row of an array file).
        exclusions: Inputs that are not used, each with its reason.
        findings: What a reader of the results must know about the data.
        info: Title, licence, citation.
        inputs: Number of candidate images found.
        reader: Reads pixels of records.
    """

    root: Path
    layout: str
    summary: str
    classes: tuple[str, ...]
    positive: str | None
    records: tuple[ImageRecord, ...]
    exclusions: tuple[Exclusion, ...]
    findings: tuple[Finding, ...]
    info: DatasetInfo
    inputs: int
    reader: PixelReader = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.inputs != len(self.records) + len(self.exclusions):
            raise AssertionError(
                f"{self.inputs} inputs but {len(self.records)} used and {len(self.exclusions)} excluded"
            )
        if not self.records:
            reasons = Counter(e.reason for e in self.exclusions)
            raise DataError(
                f"no usable image among {self.inputs} inputs ({dict(reasons) or 'none found'})",
                expected="at least one readable image with a class",
                where=self.root,
                fix="run `tumorscope datasets layouts` for the folder layouts that are recognised",
            )
        unknown = sorted({r.label for r in self.records} - set(self.classes))
        if unknown:
            raise DataError(
                f"labels {unknown} are not among the classes {list(self.classes)}",
                where=self.root,
                fix="name every class, or leave the classes to the source",
            )
        if self.positive is not None and self.positive not in self.classes:
            raise DataError(
                f"positive class {self.positive!r} is not among {list(self.classes)}",
                where=self.root,
                fix="choose one of the class names",
            )
        if len({r.path for r in self.records}) != len(self.records):
            twice = [p for p, n in Counter(r.path for r in self.records).items() if n > 1]
            raise DataError(
                f"{len(twice)} paths are listed twice, first {twice[0]!r}",
                where=self.root,
                fix="list each image once",
            )

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def sha256(self) -> str:
        """Hash of what was used: classes and every record; the positive class is the recipe's to name."""
        rows = [
            (
                r.path,
                r.label,
                r.split,
                r.patient,
                r.sha256,
                [(b.label, b.cx, b.cy, b.w, b.h) for b in r.boxes],
            )
            for r in self.records
        ]
        return sha256_value({"classes": self.classes, "positive": None, "rows": rows})

    @cached_property
    def targets(self) -> Targets:
        """(N,) int64 class positions of the records."""
        position = {label: i for i, label in enumerate(self.classes)}
        return np.array([position[r.label] for r in self.records], dtype=np.int64)

    @property
    def has_official_split(self) -> bool:
        """True if the data names a train and a test part."""
        names = {r.split for r in self.records}
        return "train" in names and "test" in names

    def counts(self) -> dict[str, dict[str, int]]:
        """Images by split (as the data has it, "all" where it has none) and class."""
        table: dict[str, dict[str, int]] = {
            (s or "all"): dict.fromkeys(self.classes, 0)
            for s in [*SPLITS, None]
            if any(r.split == s for r in self.records)
        }
        for record in self.records:
            table[record.split or "all"][record.label] += 1
        return table

    def pixels(self, indices: Sequence[int] | None = None) -> Iterator[Pixels]:
        """Decoded images of the records at `indices` (all by default), in that order."""
        chosen = self.records if indices is None else [self.records[i] for i in indices]
        return self.reader(self.root, chosen)

    def with_split(self, assignment: dict[str, SplitName]) -> Manifest:
        """The same manifest with each record's split replaced by `assignment[path]`."""
        missing = [r.path for r in self.records if r.path not in assignment]
        if missing:
            raise DataError(
                f"the split has no entry for {len(missing)} of {len(self)} images, first {missing[0]!r}",
                where=self.root,
                fix="make the split again for this data",
            )
        records = tuple(replace(r, split=assignment[r.path]) for r in self.records)
        return replace(self, records=records)

    def describe(self) -> dict[str, Any]:
        """JSON-able account for run folders and reports (`data.json`)."""
        return {
            "root": str(self.root),
            "layout": self.layout,
            "summary": self.summary,
            "classes": self.classes,
            "positive": self.positive,
            "inputs": self.inputs,
            "used": len(self.records),
            "excluded": [{"path": e.path, "reason": e.reason, "detail": e.detail} for e in self.exclusions],
            "counts": self.counts(),
            "findings": [
                {
                    "code": f.code,
                    "severity": f.severity,
                    "title": f.title,
                    "detail": f.detail,
                    "count": f.count,
                    "paths": f.paths,
                }
                for f in self.findings
            ],
            "info": {
                "name": self.info.name,
                "title": self.info.title,
                "licence": self.info.licence,
                "citation": self.info.citation,
                "homepage": self.info.homepage,
                "modality": self.info.modality,
            },
            "sha256": self.sha256,
        }
