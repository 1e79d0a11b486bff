"""Tables of answers: three formats with the same content, and a journal that goes on after a stop."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tumorscope.core.errors import DataError, IntegrityError, UsageError
from tumorscope.predicting import output
from tumorscope.predicting.answers import Answer
from tumorscope.predicting.output import FORMATS, WRITERS, Journal, columns, format_of

CLASSES = ("no", "yes, maybe")
MAKER = {"bundle": "abc"}
ROWS = (
    Answer("=cmd.png", "no", (0.75, 0.25), ("no",), ""),
    Answer("b, c.png", "", (), None, 'truncated: "x"'),
    Answer("\udc80.png", "yes, maybe", (0.1, 0.9), ("no", "yes, maybe"), ""),
    Answer("empty.png", "", (0.5, 0.5), (), "", "fits no class"),
)


def _written(form: str) -> bytes:
    handle = io.BytesIO()
    WRITERS[form](handle, CLASSES, ROWS)
    return handle.getvalue()


def test_csv_has_a_row_an_input_and_runs_nothing() -> None:
    rows = list(csv.reader(io.StringIO(_written("csv").decode())))
    assert rows[0] == ["path", "predicted", "prob_no", "prob_yes, maybe", "set", "error", "abstained"]
    assert rows[1] == ["'=cmd.png", "no", "0.75", "0.25", "no", "", ""]
    assert rows[2] == ["b, c.png", "", "", "", "", 'truncated: "x"', ""]
    assert rows[3] == ["\\x80.png", "yes, maybe", "0.1", "0.9", "no|yes, maybe", "", ""]
    assert rows[4] == ["empty.png", "", "0.5", "0.5", "", "", "fits no class"]
    assert len(rows) == 1 + len(ROWS)


def test_json_lines_and_parquet_say_the_same(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in _written("jsonl").splitlines()]
    (tmp_path / "a.parquet").write_bytes(_written("parquet"))
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.column_names == columns(CLASSES)
    assert table.to_pylist() == lines
    assert lines[1] == {
        "path": "b, c.png",
        "predicted": None,
        "prob_no": None,
        "prob_yes, maybe": None,
        "set": None,
        "error": 'truncated: "x"',
        "abstained": None,
    }
    assert lines[3]["predicted"] is None
    assert lines[3]["abstained"] == "fits no class"
    assert lines[3]["set"] == []


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of two."""
    monkeypatch.setattr(output, "BATCH", 2)


@pytest.mark.usefixtures("pairs")
@pytest.mark.parametrize("form", FORMATS)
def test_a_stopped_output_goes_on_to_the_same_bytes(form: str, tmp_path: Path) -> None:
    paths = [row.path for row in ROWS]
    out = tmp_path / f"out.{form}"

    def until(n: int) -> Iterator[Answer]:
        yield from ROWS[:n]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(Journal(out, maker=MAKER, paths=paths).extend(until(3)))
    assert not out.exists()
    with (tmp_path / f"out.{form}.part").open("ab") as handle:
        handle.write(b'{"path": "\\udc80.png", "pred')  # the line that was being written
    journal = Journal(out, maker=MAKER, paths=paths)
    assert journal.done == 2
    assert [row.path for row in journal.extend(ROWS[2:])] == paths[2:]
    journal.finish(form, CLASSES)
    if form != "parquet":
        assert out.read_bytes() == _written(form)
    else:
        assert pq.read_table(out).to_pylist() == [json.loads(line) for line in _written("jsonl").splitlines()]
    assert [p.name for p in tmp_path.iterdir()] == [out.name]


def test_a_journal_cut_in_its_first_line_starts_anew(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    (tmp_path / "out.csv.part").write_bytes(b'{"bun')
    journal = Journal(out, maker=MAKER, paths=[row.path for row in ROWS])
    assert journal.done == 0
    list(journal.extend(ROWS))
    journal.finish("csv", CLASSES)
    assert out.read_bytes() == _written("csv")


@pytest.mark.usefixtures("pairs")
def test_another_model_or_other_inputs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out.csv"
    paths = [row.path for row in ROWS]
    list(Journal(out, maker=MAKER, paths=paths).extend(ROWS[:2]))
    with pytest.raises(IntegrityError, match="another model"):
        Journal(out, maker={"bundle": "other"}, paths=paths)
    with monkeypatch.context() as patch:
        patch.setattr(output, "JOURNAL", output.JOURNAL + 1)
        with pytest.raises(IntegrityError, match="another model"):
            Journal(out, maker=MAKER, paths=paths)
    for other in (paths[::-1], paths[:1]):
        with pytest.raises(DataError, match="of the unfinished output"):
            Journal(out, maker=MAKER, paths=other)
    assert (tmp_path / "out.csv.part").read_bytes().count(b"\n") == 3


def test_an_output_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("mine")
    with pytest.raises(UsageError, match="the output exists"):
        Journal(tmp_path / "out.csv", maker=MAKER, paths=[])
    assert (tmp_path / "out.csv").read_text() == "mine"


@pytest.mark.parametrize(
    ("out", "wished", "expected"),
    [(None, None, "csv"), ("a.parquet", None, "parquet"), ("a.txt", None, "csv"), ("a.csv", "jsonl", "jsonl")],
)
def test_the_format_follows_the_wish_then_the_name(out: str | None, wished: Any, expected: str) -> None:
    assert format_of(None if out is None else Path(out), wished) == expected


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown format 'xml'"):
        format_of(None, "xml")
