"""Answers as CSV, JSON lines or Parquet, written as they come, and gone on with after a stop.

Rows go to a journal beside the output first (`OUT.part`, JSON lines, the first line says which model wrote it); when
all are there the journal becomes the output in one step. A stopped call leaves the journal, and the same call goes on
after its last whole line, so nothing is computed twice and nothing is counted twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from tumorscope.core.errors import DataError, IntegrityError, UsageError
from tumorscope.core.files import atomic_path
from tumorscope.evaluation.cells import escape_cell, quote_cell
from tumorscope.predicting.answers import BATCH, Answer

FORMATS = ("csv", "jsonl", "parquet")
JOURNAL = 2
"""Version of the journal: goes up with what a line holds."""
ROWS = 4096
"""Rows of a Parquet row group."""

Write = Callable[[IO[bytes], Sequence[str], Iterable[Answer]], None]


def columns(classes: Sequence[str]) -> list[str]:
    """Column names: path, predicted, one probability a class, set, error, abstained."""
    return ["path", "predicted", *(f"prob_{name}" for name in classes), "set", "error", "abstained"]


def _cells(answer: Answer, classes: Sequence[str]) -> list[str]:
    probs = [f"{p:.9g}" for p in answer.probs] or [""] * len(classes)
    members = "" if answer.classes is None else "|".join(answer.classes)
    texts = [answer.path, answer.predicted], [members, answer.error, answer.abstained]
    first, last = ([escape_cell(_readable(text)) for text in part] for part in texts)
    return [*first, *probs, *last]


def _readable(text: str) -> str:
    """Bytes of a file name that are no UTF-8, as their escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def write_csv(handle: IO[bytes], classes: Sequence[str], rows: Iterable[Answer]) -> None:
    """CSV (RFC 4180, UTF-8) that a spreadsheet opens without running anything."""
    header = [escape_cell(name) for name in columns(classes)]
    for cells in chain([header], (_cells(answer, classes) for answer in rows)):
        handle.write((",".join(map(quote_cell, cells)) + "\n").encode())
        handle.flush()


def _record(answer: Answer, classes: Sequence[str]) -> dict[str, Any]:
    probs = dict(zip((f"prob_{name}" for name in classes), answer.probs or [None] * len(classes), strict=True))
    members = None if answer.classes is None else list(answer.classes)
    return {
        "path": _readable(answer.path),
        "predicted": answer.predicted or None,
        **probs,
        "set": members,
        "error": answer.error or None,
        "abstained": answer.abstained or None,
    }


def write_jsonl(handle: IO[bytes], classes: Sequence[str], rows: Iterable[Answer]) -> None:
    """One JSON object a line, the columns as keys; what is not there is null."""
    for answer in rows:
        handle.write((json.dumps(_record(answer, classes), ensure_ascii=False) + "\n").encode())
        handle.flush()


def write_parquet(handle: IO[bytes], classes: Sequence[str], rows: Iterable[Answer]) -> None:
    """Parquet with the columns of `columns`; set is a list of strings."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [("path", pa.string()), ("predicted", pa.string())]
    fields += [(f"prob_{name}", pa.float64()) for name in classes]
    schema = pa.schema([*fields, ("set", pa.list_(pa.string())), ("error", pa.string()), ("abstained", pa.string())])
    stream = iter(rows)
    with pq.ParquetWriter(handle, schema) as writer:
        while part := [_record(answer, classes) for answer in islice(stream, ROWS)]:
            writer.write_table(pa.Table.from_pylist(part, schema=schema))


WRITERS: dict[str, Write] = {"csv": write_csv, "jsonl": write_jsonl, "parquet": write_parquet}


def format_of(out: Path | None, wished: str | None) -> str:
    """The format asked for, or the one the file's name says; CSV by default.

    Raises:
        UsageError: For an unknown format, or Parquet on standard output of a terminal's kind.
    """
    named = None if out is None else out.suffix.lower().removeprefix(".")
    chosen = wished or (named if named in FORMATS else "csv")
    if chosen not in FORMATS:
        raise UsageError(f"unknown format {chosen!r}", expected=f"one of {', '.join(FORMATS)}", where="--format")
    return chosen


class Journal:
    """Answers kept line by line beside the output until all are there.

    Args:
        out: The output.
        maker: What identifies the answers: the bundle's identity and options; another maker's journal is refused.
        paths: All inputs, in order.
    """

    def __init__(self, out: Path, *, maker: dict[str, Any], paths: Sequence[str]) -> None:
        self.out = out
        self.path = out.with_name(out.name + ".part")
        self.maker = {"journal": JOURNAL, **maker}
        self.paths = paths
        if out.exists():
            raise UsageError(
                "the output exists", expected="a new file", where=out, fix="choose another --out, or remove the file"
            )
        self.done = self._kept()

    def _kept(self) -> int:
        """Rows of a stopped call up to the last whole batch; what follows is cut off.

        Batches then hold the same images as without a stop: the last digits of an answer depend on its batch.
        """
        if not self.path.is_file():
            return 0
        rows, whole = 0, 0
        with self.path.open("rb") as handle:
            first = handle.readline()
            if first.endswith(b"\n") and _json(first) != self.maker:
                raise IntegrityError(
                    "the unfinished output was written by another model or with other options",
                    expected="the same bundle and options",
                    where=self.path,
                    fix="remove that file to start anew, or choose another --out",
                )
            # a first line that was cut off goes too: nothing was answered yet
            end = handle.tell() if first.endswith(b"\n") else 0
            for line in handle:
                content = _json(line)
                if not line.endswith(b"\n") or content is None:
                    break
                if rows >= len(self.paths) or content["path"] != self.paths[rows]:
                    raise DataError(
                        f"row {rows + 1} of the unfinished output is {content['path']!r}",
                        expected=f"the inputs of this call, in the same order ({len(self.paths):,} of them)",
                        where=self.path,
                        fix="give the same inputs, remove that file to start anew, or choose another --out",
                    )
                rows += 1
                if rows % BATCH == 0:
                    whole, end = rows, handle.tell()
        with self.path.open("rb+") as handle:
            handle.truncate(end)
        return whole

    def extend(self, rows: Iterable[Answer]) -> Iterator[Answer]:
        """Write each answer as it comes, and hand it on."""
        with self.path.open("ab") as handle:
            if handle.tell() == 0:
                handle.write((json.dumps(self.maker) + "\n").encode())
            for answer in rows:
                handle.write((json.dumps(asdict(answer)) + "\n").encode())
                handle.flush()
                yield answer

    def rows(self) -> Iterator[Answer]:
        """All answers, read again."""
        with self.path.open("rb") as handle:
            handle.readline()
            for line in handle:
                content = json.loads(line)
                members = content["classes"]
                yield Answer(
                    content["path"],
                    content["predicted"],
                    tuple(content["probs"]),
                    None if members is None else tuple(members),
                    content["error"],
                    content["abstained"],
                )

    def finish(self, form: str, classes: Sequence[str]) -> Path:
        """Turn the journal into the output."""
        with atomic_path(self.out) as temporary, temporary.open("wb") as handle:
            WRITERS[form](handle, classes, self.rows())
        self.path.unlink()
        return self.out


def _json(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
