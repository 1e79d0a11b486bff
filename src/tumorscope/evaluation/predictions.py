"""The predictions table: one row an image. Every figure of this room is computed from it, never from a model.

In: arrays from a predictor, or a CSV file (ours, or anybody's with a `label` and `prob_<class>` columns).
Out: a frozen, checked value, and a CSV that a spreadsheet can open without running anything in it.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.errors import DataError
from tumorscope.core.files import sha256_value, write_text
from tumorscope.core.types import Probs, Targets
from tumorscope.evaluation.cells import escape_cell, number_format, quote_cell, unescape_cell

COLUMNS = ("path", "split", "patient", "group", "label", "predicted")
PROB_PREFIX = "prob_"
ROW_SUM_TOLERANCE = 1e-3
"""How far a row may be from one: float16 softmax and tables printed with four decimals pass."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Probabilities for every image of one split, checked on creation; arrays are read-only copies.

    Attributes:
        paths: n distinct image paths.
        targets: (n,) int64, positions in `classes`.
        probs: (n, C) float64 in 0..1, each row sums to one.
        classes: C class names, in the order of the columns of `probs`.
        positive: Class that sensitivity refers to in a two-class problem, or None.
        split: "train", "val", "test", "out-of-fold", ...
        patients: Patient of each image, None where not known.
        groups: What resampling keeps together: patient if known, else copy group, else the path.

    Raises:
        DataError: Empty, of different lengths, not finite, outside 0..1, or rows that do not sum to one.
    """

    paths: tuple[str, ...]
    targets: Targets
    probs: Probs
    classes: tuple[str, ...]
    positive: str | None
    split: str
    patients: tuple[str | None, ...]
    groups: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("paths", "classes", "patients", "groups"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        targets, probs = np.array(self.targets), np.array(self.probs, dtype=np.float64)
        _check(self, targets, probs)
        for name, array in (("targets", targets.astype(np.int64)), ("probs", probs + 0.0)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @classmethod
    def build(
        cls,
        paths: Sequence[str],
        *,
        targets: Targets,
        probs: Probs,
        classes: Sequence[str],
        positive: str | None = None,
        split: str = "test",
        patients: Sequence[str | None] | None = None,
        copies: Sequence[str | None] | None = None,
    ) -> Predictions:
        """A table whose groups are made here: `patient:<id>` if known, else `copy:<id>`, else the path."""
        known = tuple(patients) if patients is not None else (None,) * len(paths)
        same = tuple(copies) if copies is not None else (None,) * len(paths)
        if not len(paths) == len(known) == len(same):
            raise _fault(f"{len(paths)} paths, {len(known)} patients, {len(same)} copy groups", "one each")
        groups = tuple(_group(path, p, c) for path, p, c in zip(paths, known, same, strict=True))
        return cls(tuple(paths), np.asarray(targets), probs, tuple(classes), positive, split, known, groups)

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def predicted(self) -> Targets:
        """(n,) int64 position of the largest probability; the first of equals."""
        return np.asarray(np.argmax(self.probs, axis=1), dtype=np.int64)

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """(n,) True where `predicted` is the target."""
        return np.asarray(self.predicted == self.targets)

    @cached_property
    def codes(self) -> Targets:
        """(n,) int64 number of each row's group, 0..G-1."""
        number = {name: i for i, name in enumerate(sorted(set(self.groups)))}
        return np.array([number[name] for name in self.groups], dtype=np.int64)

    @property
    def groups_by_path(self) -> dict[str, str]:
        """Group of each image."""
        return dict(zip(self.paths, self.groups, strict=True))

    @property
    def grouped(self) -> bool:
        """True if any group has more than one image."""
        return len(set(self.groups)) < len(self)

    @property
    def positive_index(self) -> int | None:
        """Column of the positive class, None where there is none."""
        return None if self.positive is None else self.classes.index(self.positive)

    @cached_property
    def sha256(self) -> str:
        """Hash of the table, the same for any order of the rows."""
        table = sorted(zip(self.paths, self.targets.tolist(), self.probs.tolist(), self.groups, strict=True))
        return sha256_value([self.classes, self.positive, self.split, table])

    def take(self, rows: NDArray[Any]) -> Predictions:
        """The rows at integer positions, or where a boolean mask is true, in that order."""
        chosen = np.arange(len(self))[rows]
        pick = chosen.tolist()
        return Predictions(
            tuple(self.paths[i] for i in pick),
            self.targets[chosen],
            self.probs[chosen],
            self.classes,
            self.positive,
            self.split,
            tuple(self.patients[i] for i in pick),
            tuple(self.groups[i] for i in pick),
        )

    def order(self) -> Targets:
        """(n,) int64 row positions sorted by path, so that results do not depend on the order of rows."""
        return np.array(sorted(range(len(self)), key=self.paths.__getitem__), dtype=np.int64)

    def write_csv(self, path: Path) -> Path:
        """Write the table atomically and return `path`; `read_csv` gives it back.

        Nine significant digits, or all seventeen where nine would change a row's largest class or tie two
        scores of one column. Text cells a spreadsheet would run (= + - @, tab, line ends) get an apostrophe.
        """
        digits = number_format(self.probs)
        rows = [[*COLUMNS, *(PROB_PREFIX + name for name in self.classes)]]
        for i, image in enumerate(self.paths):
            text = (
                image,
                self.split,
                self.patients[i] or "",
                self.groups[i],
                self.classes[self.targets[i]],
                self.classes[self.predicted[i]],
            )
            rows.append([*map(escape_cell, text), *(format(p, digits) for p in self.probs[i])])
        return write_text(path, "".join(",".join(map(quote_cell, row)) + "\n" for row in rows))


def read_csv(path: Path, *, positive: str | None = None, split: str | None = None) -> Predictions:
    """The table in `path`: ours, or somebody else's with at least `label` and `prob_<class>` columns.

    Missing columns are filled: path with the row number, patient with none, group with patient or path,
    split with `split` (default "test"). Where the file holds several splits, `split` chooses one.

    Raises:
        DataError: Not a table, missing columns, labels without a probability column, text where a number
            should be, several splits and none chosen, or a `predicted` that is not the largest probability.
    """
    header, rows = _rows(path)
    classes = [name.removeprefix(PROB_PREFIX) for name in header if name.startswith(PROB_PREFIX)]
    if "label" not in header or len(classes) < 2:
        raise _fault(
            f"columns {header}",
            "a column 'label' and one 'prob_<class>' for each of two or more classes",
            path,
            "rename the columns; separate them by commas",
        )

    def column(name: str) -> list[str] | None:
        return [unescape_cell(row[header.index(name)]) for row in rows] if name in header else None

    splits = column("split")
    if splits is not None and split is not None:
        rows = [row for row, name in zip(rows, splits, strict=True) if name == split]
    elif splits is not None and len(set(splits)) > 1:
        raise _fault(f"splits {sorted(set(splits))} in one table", "one split", path, "choose one split")
    if not rows:
        raise _fault(f"no row{f' of split {split!r}' if split else ''}", "one row an image", path)
    probs = np.array([[_number(row, header, c, path) for c in classes] for row in rows])
    labels = column("label") or []
    unknown = sorted(set(labels) - set(classes))
    if unknown:
        raise _fault(f"labels {unknown} have no prob_ column", f"labels among {classes}", path)
    _check_predicted(column("predicted"), probs, classes, path)
    paths = column("path") or [f"row-{i:06d}" for i in range(1, len(rows) + 1)]
    patients = [p or None for p in column("patient") or [""] * len(rows)]
    groups = column("group") or [""] * len(rows)
    return Predictions(
        tuple(paths),
        np.array([classes.index(label) for label in labels], dtype=np.int64),
        probs,
        tuple(classes),
        positive,
        split or (splits[0] if splits else "test"),
        tuple(patients),
        tuple(g or _group(p, who, None) for g, p, who in zip(groups, paths, patients, strict=True)),
    )


def _group(path: str, patient: str | None, copy: str | None) -> str:
    if patient is not None:
        return f"patient:{patient}"
    return path if copy is None else f"copy:{copy}"


def _fault(found: str, expected: str = "", where: str | Path = "", fix: str = "") -> DataError:
    return DataError(found, expected=expected, where=where or "predictions table", fix=fix)


def _rows(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape").removeprefix("\ufeff")
        table = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except FileNotFoundError as error:
        raise _fault("no such file", "a CSV table of predictions", path) from error
    except csv.Error as error:
        raise _fault(f"not a CSV table ({error})", "comma-separated columns", path) from error
    if len(table) < 2:
        raise _fault(f"{len(table)} lines", "a header and one row an image", path)
    header, rows = table[0], table[1:]
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise _fault(f"columns {twice} stand twice in the header", "each once", path)
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise _fault(f"{len(row)} cells", f"{len(header)} as in the header", f"{path}, row {number}")
    return header, rows


def _number(row: list[str], header: list[str], name: str, path: Path) -> float:
    cell = row[header.index(PROB_PREFIX + name)]
    try:
        return float(cell)
    except ValueError as error:
        where = f"{path}, column {PROB_PREFIX + name}"
        raise _fault(f"{cell!r} is no number", "a probability such as 0.25", where) from error


def _check_predicted(predicted: list[str] | None, probs: Probs, classes: list[str], path: Path) -> None:
    for i, name in enumerate(predicted or []):
        if name not in classes or probs[i, classes.index(name)] < probs[i].max():
            raise _fault(
                f"predicted {name!r} in row {i + 1}, but the largest probability is that of "
                f"{classes[int(probs[i].argmax())]!r}",
                "the class with the largest probability",
                path,
                "remove the column 'predicted', or write the probabilities that led to it",
            )


def _check(table: Predictions, targets: NDArray[Any], probs: Probs) -> None:
    n, classes = len(table.paths), table.classes
    if n == 0:
        raise _fault("no images", "at least one row")
    if len(classes) < 2 or len(set(classes)) < len(classes) or not all(classes):
        raise _fault(f"classes {list(classes)}", "two or more different names")
    if probs.shape != (n, len(classes)) or targets.shape != (n,):
        raise _fault(f"{n} paths, targets {targets.shape}, probs {probs.shape}", f"({n},) and ({n}, {len(classes)})")
    if len(table.patients) != n or len(table.groups) != n:
        raise _fault(f"{len(table.patients)} patients, {len(table.groups)} groups", f"{n} of each")
    if targets.dtype.kind not in "iu":
        raise _fault(f"targets of type {targets.dtype}", "integers, positions in the classes")
    outside = targets[(targets < 0) | (targets >= len(classes))]
    if outside.size:
        raise _fault(f"{outside.size} targets such as {outside[0]}", f"0 to {len(classes) - 1}")
    if not np.isfinite(probs).all():
        raise _fault(f"{int((~np.isfinite(probs)).any(1).sum())} rows with NaN or infinity", "finite numbers")
    sums = probs.sum(1)
    wrong = np.flatnonzero((np.abs(sums - 1) > ROW_SUM_TOLERANCE) | (probs < 0).any(1) | (probs > 1).any(1))
    if wrong.size:
        raise _fault(
            f"{wrong.size} rows are no probabilities: the first sums to {sums[wrong[0]]:.6g}",
            "numbers in 0..1 whose rows sum to one (within 0.001)",
            table.paths[int(wrong[0])],
            "apply softmax to logits; write at least four decimals",
        )
    if table.positive is not None and table.positive not in classes:
        raise _fault(f"positive class {table.positive!r}", f"one of {list(classes)}")
    if len(set(table.paths)) < n or not all(table.paths):
        again = [path for path, count in Counter(table.paths).items() if count > 1 or not path]
        raise _fault(f"{len(again)} paths are empty or stand twice, first {again[0]!r}", "each image once")
    if not all(table.groups) or "" in table.patients:
        raise _fault("an empty group or patient name", "a name, or None for an unknown patient")
