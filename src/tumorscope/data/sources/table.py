"""A table with one row an image: CSV, TSV or Parquet.

| column | needed | content |
|---|---|---|
| `path` | yes | file, relative to the folder of the table (or absolute inside it) |
| `label` | yes | class name |
| `split` | no | train, val or test; empty where there is none |
| `patient` | no | identifier, kept as text: "001" stays "001" |
| `boxes` | no | JSON list of `[label, cx, cy, w, h]`, relative to width and height |

Column names are exact; one that looks like a misspelled column is an error, any other is left out and said.
Parts are taken as written: a table that names no test part has none. A folder that holds exactly one of
`images.csv`, `images.tsv` and `images.parquet` is read through it.
"""

from __future__ import annotations

import csv
import difflib
import json
import math
import os
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tumorscope.core.errors import DataError
from tumorscope.core.types import Box, DatasetInfo, Exclusion, SplitName
from tumorscope.data.manifest import Manifest
from tumorscope.data.sources import codes
from tumorscope.data.sources.base import Candidate, Draft, LoadOptions, Source, assemble, no_label_names
from tumorscope.data.sources.boxes import BoxLedger, json_boxes
from tumorscope.data.sources.codes import finding
from tumorscope.data.sources.names import split_of
from tumorscope.data.sources.walk import is_above

REQUIRED = ("path", "label")
COLUMNS = ("path", "label", "split", "patient", "boxes")
SUFFIXES = (".csv", ".tsv", ".parquet")
FOLDER_NAMES = tuple(f"images{suffix}" for suffix in SUFFIXES)


@dataclass(frozen=True, slots=True)
class Row:
    """One row as text, with its number as a spreadsheet shows it."""

    number: int
    path: str
    label: str
    split: str
    patient: str
    boxes: str


@dataclass(slots=True)
class _Grouped:
    """Rows by file, in the order of the table, and rows that name no file that can be used."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    exclusions: dict[str, Exclusion] = field(default_factory=dict)
    outside: list[str] = field(default_factory=list)


def recognise(path: Path) -> bool:
    """True for a file with one of the three extensions, or a folder with one table named `images`."""
    if path.is_dir():
        return sum((path / name).is_file() for name in FOLDER_NAMES) == 1
    return path.suffix.lower() in SUFFIXES and path.is_file()


def load(path: Path, options: LoadOptions) -> Manifest:
    """The manifest of the images in a table.

    Raises:
        DataError: A column is missing or misspelled, a row is broken, or rows contradict each other in split
            or patient.
    """
    return load_table(path, options=options)


def load_table(path: Path, *, options: LoadOptions | None = None, info: DatasetInfo | None = None) -> Manifest:
    """As `load`, for a source that writes its images as a folder with a table.

    Args:
        path: The table, or the folder that holds it.
        options: What the user said.
        info: Where the data comes from; the name of the table or folder by default.
    """
    options = options or LoadOptions()
    no_label_names(options, path)
    table = next((path / n for n in FOLDER_NAMES if (path / n).is_file()), path) if path.is_dir() else path
    header, cells = _read_parquet(table) if table.suffix.lower() == ".parquet" else _read_text(table)
    unread = _check_columns(header, table)
    grouped = _group(table, _rows(header, cells, table))
    draft = Draft(table.parent, SOURCE.name)
    draft.outside = grouped.outside
    ledger = BoxLedger()
    twice = []
    for name, rows in grouped.rows.items():
        if len(rows) > 1:
            twice.append(name)
        labels = sorted({row.label for row in rows})
        if len(labels) > 1:
            grouped.exclusions[name] = Exclusion(name, "no-label", f"rows name {' and '.join(labels)}")
            continue
        draft.candidates.append(_candidate(name, rows, table, ledger))
    draft.exclusions += grouped.exclusions.values()
    if twice:
        detail = f"{len(twice):,} images are named in more than one row."
        draft.findings.append(finding(codes.ROW_TWICE, detail=detail, paths=twice))
    if unread:
        detail = f"{len(unread)} columns are not read: {', '.join(map(repr, unread))}."
        draft.findings.append(finding(codes.COLUMN_NOT_READ, detail=detail, paths=unread))
    draft.findings += ledger.findings()
    in_split = any(candidate.split for candidate in draft.candidates)
    return assemble(
        draft,
        headline=lambda count, official: (
            f"{count} classes in {table.name}, "
            + ("split column" if official else "no complete split" if in_split else "no split")
        ),
        declared=[c.label for c in draft.candidates],
        info=info or DatasetInfo(name=path.stem),
        options=options,
    )


def _read_text(table: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    try:
        handle = table.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
    except OSError as error:
        raise DataError(f"the table cannot be read: {error.strerror}", where=table) from error
    with handle:
        first = handle.readline()
        handle.seek(0)
        separator = max("\t,;", key=first.count) if any(c in first for c in "\t,;") else ","
        try:
            reader = csv.reader(handle, delimiter=separator)
            rows = [(reader.line_num, row) for row in reader if row]
        except csv.Error as error:
            raise DataError(f"the table is broken: {error}", where=table, fix="save it again as CSV") from error
    if not rows:
        raise DataError("the table is empty", expected="a header and one row an image", where=table)
    return [name.strip() for name in rows[0][1]], iter(rows[1:])


def _read_parquet(table: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = pq.ParquetFile(table).read()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"no readable Parquet file: {error}", where=table, fix="write it again") from error
    header = [str(name) for name in content.column_names]
    columns = [[_as_text(value) for value in column.to_pylist()] for column in content.columns]
    return header, enumerate((list(row) for row in zip(*columns, strict=True)), start=2)


def _as_text(value: object) -> str:
    """A Parquet value as a CSV cell would have it: 7.0 from a column with gaps is 7."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        return json.dumps(value)
    return str(value)


def _check_columns(header: Sequence[str], table: Path) -> list[str]:
    """Columns that are not read; raise if one is missing, there twice, or probably misspelled."""
    extra = [name for name in header if name not in COLUMNS]
    missing = [name for name in COLUMNS if name not in header]
    near = {
        name: want
        for name in extra
        for want in difflib.get_close_matches(name.strip().casefold(), missing, n=1, cutoff=0.75)
    }
    lacking = [name for name in REQUIRED if name in missing]
    doubled = sorted({name for name in header if name in COLUMNS and header.count(name) > 1})
    if not (lacking or near or doubled):
        return extra
    found = f"columns {', '.join(map(repr, header))}"
    if lacking:
        found = f"no column {' and '.join(map(repr, lacking))} among " + found
    if doubled:
        found = f"column {doubled[0]!r} is there twice"
    hints = [f"rename {name!r} to {want!r}" for name, want in near.items()]
    raise DataError(
        found,
        expected=f"columns {', '.join(REQUIRED)}, and optionally {', '.join(COLUMNS[2:])}",
        where=table,
        fix="; ".join(hints) or "name the columns exactly so, in any order",
    )


def _rows(header: Sequence[str], cells: Iterator[tuple[int, list[str]]], table: Path) -> Iterator[Row]:
    for number, row in cells:
        if len(row) != len(header):
            raise DataError(
                f"{len(row)} cells in a row",
                expected=f"{len(header)}, as in the header",
                where=f"{table}, line {number}",
                fix='put cells that contain the separator between double quotes ("")',
            )
        named = dict(zip(header, row, strict=True))
        texts = {name: named.get(name, "").strip() for name in COLUMNS if name != "path"}
        broken = [name for name, text in texts.items() if any("\ud800" <= c <= "\udfff" for c in text)]
        if broken:
            raise DataError(
                f"column {broken[0]!r} is not UTF-8",
                where=f"{table}, line {number}",
                fix="save the table as UTF-8",
            )
        yield Row(number, named["path"], **texts)


def _group(table: Path, rows: Iterator[Row]) -> _Grouped:
    grouped = _Grouped()
    root = table.parent
    home, here = os.path.realpath(root), os.path.abspath(root)
    for row in rows:
        name, fault = _locate(row.path, root, here)
        if fault is None and not row.label:
            fault = Exclusion(name, "no-label", f"line {row.number} has no label")
        if fault is not None:
            grouped.exclusions.setdefault(name, fault)
        elif name not in grouped.exclusions:
            grouped.rows.setdefault(name, []).append(row)
    for name in grouped.exclusions:
        grouped.rows.pop(name, None)
    grouped.outside = [n for n in grouped.rows if not is_above(home, os.path.realpath(os.path.join(root, n)))]
    return grouped


def _locate(path: str, root: Path, here: str) -> tuple[str, Exclusion | None]:
    """Relative POSIX path of a cell, and why it cannot be used."""
    text = path.replace("\\", "/") if os.sep == "\\" else path
    if not text.strip() or "\x00" in text:
        return path, Exclusion(path, "missing-file", "no file name in this row")
    if os.path.isabs(text):
        if not is_above(here, os.path.normpath(text)):
            return path, Exclusion(path, "outside-root", f"not in {here}")
        text = os.path.relpath(text, here).replace(os.sep, "/")
    name = posixpath.normpath(text)
    if name == ".." or name.startswith("../"):
        return name, Exclusion(name, "outside-root", "leads out of the folder of the table")
    file = root / name
    try:
        if file.is_file():
            return name, None
        detail = "a folder, not a file" if file.is_dir() else "there is no such file"
    except OSError as error:
        detail = error.strerror or "refused"
    return name, Exclusion(name, "missing-file", detail)


def _candidate(name: str, rows: Sequence[Row], table: Path, ledger: BoxLedger) -> Candidate:
    for column in ("split", "patient"):
        values = sorted({getattr(row, column) for row in rows})
        if len(values) > 1:
            raise DataError(
                f"rows put {name} in {column} {' and in '.join(map(repr, values))}",
                expected=f"one {column} an image",
                where=f"{table}, lines {', '.join(str(row.number) for row in rows)}",
                fix="leave one row for this image",
            )
    cells = list(dict.fromkeys(row.boxes for row in rows))
    boxes: tuple[Box, ...] = tuple(b for cell in cells for b in json_boxes(cell, path=name, ledger=ledger))
    first = rows[0]
    return Candidate(name, first.label, _split(first, table), first.patient or None, boxes)


def _split(row: Row, table: Path) -> SplitName | None:
    if not row.split:
        return None
    part = split_of(row.split)
    if part is None:
        raise DataError(
            f"split {row.split!r}",
            expected="train, val, test or an empty cell",
            where=f"{table}, line {row.number}",
            fix="write one of the three names",
        )
    return part


SOURCE = Source(
    name="table",
    title="a CSV, TSV or Parquet table with columns path, label (split, patient, boxes)",
    example="images.csv: path,label,split,patient",
    recognise=recognise,
    load=load,
)
