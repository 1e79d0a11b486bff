"""What all sources share: the options of a load, candidates, the one way from candidates to a Manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tumorscope.core.errors import DataError, ImageFault
from tumorscope.core.types import (
    SPLITS,
    Box,
    DatasetInfo,
    Exclusion,
    Finding,
    ImageRecord,
    SplitName,
)
from tumorscope.data.manifest import Manifest
from tumorscope.data.sources import codes
from tumorscope.data.sources.codes import finding
from tumorscope.data.sources.names import class_order, guess_positive
from tumorscope.data.sources.scan import Progress, Scan, Scanned, read_records, scan_files, scan_here


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What a user may say about data beside its place.

    Attributes:
        positive: Class that sensitivity refers to; None to go by the names.
        label_names: Class name of each number, for data whose labels are numbers.
        progress: Told how many images are done.
        use_index: False reads every file again.
        scan: What reads image files; array files and generated pictures are read without it.
    """

    positive: str | None = None
    label_names: Mapping[int, str] | None = None
    progress: Progress | None = None
    use_index: bool = True
    scan: Scan = scan_here


@dataclass(frozen=True, slots=True)
class Source:
    """One layout: how it is recognised and read.

    Attributes:
        name: Name in `Manifest.layout`.
        title: What it is, in a few words.
        example: How it looks on disk, for the list of accepted layouts.
        recognise: True if a path has this layout; cheap, opens no image.
        load: Reads it.
    """

    name: str
    title: str
    example: str
    recognise: Callable[[Path], bool]
    load: Callable[[Path, LoadOptions], Manifest]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One file that may become a record; `path` is relative to the data folder."""

    path: str
    label: str
    split: SplitName | None = None
    patient: str | None = None
    boxes: tuple[Box, ...] = ()


@dataclass(slots=True)
class Draft:
    """A manifest in the making; `assemble` scans its candidates and closes it."""

    root: Path
    layout: str
    candidates: list[Candidate] = field(default_factory=list)
    exclusions: list[Exclusion] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


def no_label_names(options: LoadOptions, where: Path) -> None:
    """Refuse `label_names` for data whose classes have names of their own."""
    if options.label_names is not None:
        raise DataError(
            f"label_names {dict(options.label_names)} given for data whose classes are named",
            expected="label_names only for numbered labels (MedMNIST files, boxes without data.yaml)",
            where=where,
            fix="leave label_names out, or rename the classes in the data",
        )


def choose_positive(classes: Sequence[str], *, wanted: str | None, guess: str | None, where: Path) -> str | None:
    """The positive class: `wanted` if it fits, else `guess`.

    Raises:
        DataError: `wanted` is no class, or there are not two classes.
    """
    if wanted is None:
        return guess
    if wanted not in classes:
        raise DataError(
            f"positive class {wanted!r} is not among {list(classes)}",
            expected="one of the class names",
            where=where,
            fix=f"give one of {', '.join(map(repr, classes))}",
        )
    if len(classes) != 2:
        raise DataError(
            f"positive class {wanted!r} given for {len(classes)} classes",
            expected="two classes",
            where=where,
            fix="leave the positive class out: with more classes every class has its own sensitivity",
        )
    return wanted


def assemble(
    draft: Draft,
    *,
    headline: Callable[[int, bool], str],
    declared: Sequence[str],
    info: DatasetInfo,
    options: LoadOptions,
) -> Manifest:
    """Scan the candidates and close the manifest.

    Args:
        draft: Candidates, exclusions and findings so far.
        headline: Start of the summary, from the number of classes and whether there is an official split.
        declared: Class names the layout names, in any order; those without a usable image become a finding.
        info: Where the data comes from.
        options: Positive class, progress, index.
    """
    answers = scan_files(
        [draft.root / c.path for c in draft.candidates],
        root=draft.root,
        progress=options.progress,
        use_index=options.use_index,
        scan=options.scan,
    )
    records: list[ImageRecord] = []
    exclusions = list(draft.exclusions)
    notes: dict[str, tuple[str, ...]] = {}
    for candidate, answer in zip(draft.candidates, answers, strict=True):
        if isinstance(answer, ImageFault):
            exclusions.append(Exclusion(candidate.path, answer.reason, answer.detail))
        else:
            records.append(_record(candidate, answer))
            notes[candidate.path] = answer.notes
    records.sort(key=lambda record: record.path)
    exclusions.sort(key=lambda exclusion: exclusion.path)
    used = {record.label for record in records}
    classes = class_order(used)
    findings = [
        *draft.findings,
        *_file_findings(records, exclusions, notes, draft.outside),
        *class_findings(records, class_order(set(declared) - used)),
    ]
    official = {"train", "test"} <= {record.split for record in records}
    summary = f"{headline(len(classes), official)}, {len(records):,} images"
    if exclusions:
        summary += f", {len(exclusions):,} excluded"
    positive = None
    if records:
        positive = choose_positive(classes, wanted=options.positive, guess=guess_positive(classes), where=draft.root)
    return Manifest(
        root=draft.root,
        layout=draft.layout,
        summary=summary,
        classes=classes,
        positive=positive,
        records=tuple(records),
        exclusions=tuple(exclusions),
        findings=tuple(sorted(findings, key=lambda f: f.code)),
        info=info,
        inputs=len(draft.candidates) + len(draft.exclusions),
        reader=read_records,
    )


def _record(candidate: Candidate, scanned: Scanned) -> ImageRecord:
    return ImageRecord(
        path=candidate.path,
        label=candidate.label,
        split=candidate.split,
        patient=candidate.patient,
        boxes=candidate.boxes,
        sha256=scanned.sha256,
        pixels_sha256=scanned.pixels_sha256,
        width_px=scanned.width_px,
        height_px=scanned.height_px,
        mode=scanned.mode,
        gray=scanned.gray,
    )


def _tally(values: Sequence[str]) -> str:
    return ", ".join(f"{number:,} {value}" for value, number in Counter(values).most_common())


def _file_findings(
    records: Sequence[ImageRecord],
    exclusions: Sequence[Exclusion],
    notes: Mapping[str, tuple[str, ...]],
    outside: Sequence[str],
) -> list[Finding]:
    found = []
    if exclusions:
        detail = f"{len(exclusions):,} of {len(exclusions) + len(records):,} inputs are not used: "
        detail += _tally([e.reason for e in exclusions]) + "."
        found.append(finding(codes.EXCLUDED, detail=detail, paths=[e.path for e in exclusions]))
    extension = {p: n for p, all_ in notes.items() for n in all_ if n.startswith("extension:")}
    if extension:
        kinds = _tally([n.partition(": ")[2] for n in extension.values()])
        found.append(finding(codes.EXTENSION, detail=f"{kinds}.", paths=extension))
    other = {p: n for p, all_ in notes.items() for n in all_ if not n.startswith("extension:")}
    if other:
        modes = _tally([r.mode for r in records])
        kinds = _tally([n.partition(":")[0] for n in other.values()])
        detail = f"{len(other):,} of {len(records):,} images were converted ({kinds}); stored as {modes}."
        found.append(finding(codes.CONVERTED, detail=detail, paths=other))
    if outside:
        detail = f"{len(outside):,} links lead out of the data folder; their targets were read."
        found.append(finding(codes.OUTSIDE, detail=detail, paths=outside))
    return found


def class_findings(records: Sequence[ImageRecord], empty: Sequence[str]) -> list[Finding]:
    """Findings for classes without an image, and for classes missing from a part of the official split."""
    found = []
    if empty:
        detail = f"No usable image in {', '.join(map(repr, empty))}; the other classes are used."
        found.append(finding(codes.EMPTY_CLASS, detail=detail, paths=empty))
    labels = {record.label for record in records}
    present = {split: {r.label for r in records if r.split == split} for split in SPLITS}
    gaps = [f"{label!r} in {s}" for s, has in present.items() if has for label in sorted(labels - has)]
    if gaps:
        found.append(finding(codes.ONE_SPLIT, detail=f"No image of {', '.join(gaps)}.", count=len(gaps)))
    return found
