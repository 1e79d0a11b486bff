"""Answers from a cluster: the bytes of one process, each input once, whatever becomes of a node."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from tests.scaling.conftest import Machines
from tumorscope import api
from tumorscope.core.errors import IntegrityError
from tumorscope.predicting import output
from tumorscope.predicting.answers import Answer
from tumorscope.scaling.answers import Order, _opened

QUIET = Console(quiet=True)
pytestmark = pytest.mark.xdist_group("ray")
Interrupt = Callable[[int], None]


@pytest.fixture
def at_row(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    """Have something done once, when so many rows are in the journal."""
    extend = output.Journal.extend

    def plan(row: int, action: Callable[[], None]) -> None:
        done: list[int] = []

        def watched(self: output.Journal, rows: Iterable[Answer]) -> Iterator[Answer]:
            for number, answer in enumerate(extend(self, rows), start=1):
                if number == row and not done:
                    done.append(row)
                    action()
                yield answer

        monkeypatch.setattr(output.Journal, "extend", watched)

    return plan


@pytest.mark.slow
def test_a_lost_node_and_a_stop_leave_each_row_once_with_the_bytes_of_one_process(
    machines: Machines,
    model: Path,
    pictures: Callable[[int], Path],
    tmp_path: Path,
    at_row: Callable[[int, Callable[[], None]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = pictures(64 * 6 + 7)
    words = [root, root / "gone.png"]
    whole, out = tmp_path / "whole.csv", tmp_path / "out.csv"
    plain = api.predict(model, words, out=whole, backend="torch", console=QUIET)

    def stop() -> None:
        raise KeyboardInterrupt

    at_row(130, stop)
    with pytest.raises(KeyboardInterrupt):
        api.predict(model, words, out=out, backend="torch", ray=machines.address, console=QUIET)
    assert not out.exists()
    at_row(200, machines.kill)
    count = api.predict(model, words, out=out, backend="torch", ray=machines.address, console=QUIET)
    assert (count.rows, count.failed, count.resumed) == (plain.rows, plain.failed, 128)
    assert out.read_bytes() == whole.read_bytes()
    with out.open(newline="", encoding="utf-8") as handle:
        paths = [row["path"] for row in csv.DictReader(handle)]
    assert len(paths) == len(set(paths)) == 64 * 6 + 8
    assert capsys.readouterr().out == ""


def test_relative_names_and_standard_output(
    machines: Machines,
    model: Path,
    pictures: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    root = pictures(10)
    monkeypatch.chdir(root.parent)
    words = [root.name, "gone.png"]
    api.predict(os.path.relpath(model), words, form="jsonl", backend="torch", console=QUIET)
    plain = capfdbinary.readouterr().out
    api.predict(os.path.relpath(model), words, form="jsonl", backend="torch", ray=machines.address, console=QUIET)
    assert capfdbinary.readouterr().out == plain
    assert plain.count(b"\n") == 11


def test_another_model_in_the_same_folder_is_refused(model: Path) -> None:
    with pytest.raises(IntegrityError, match="a node opened model"):
        _opened(Order(str(model), "torch", True, True, None, "of another"))
