"""Predict many files into a table: the whole way from words of a command line to rows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rich.console import Console

from tumorscope.core.screen import bar
from tumorscope.predicting.answers import REFUSED, Answer, Answering, answers
from tumorscope.predicting.inputs import LIST, expand
from tumorscope.predicting.model import open_model
from tumorscope.predicting.output import WRITERS, Journal, format_of


@dataclass(frozen=True, slots=True)
class Count:
    """What became of the inputs.

    Attributes:
        rows: Inputs, one row each.
        failed: Rows with an error.
        refused: Those of them that the input gate refused.
        abstained: Rows without an error for which the model names no class.
        resumed: Rows that a stopped call had written before.
    """

    rows: int
    failed: int
    refused: int
    abstained: int
    resumed: int


class _Tally:
    """Counts rows as they pass."""

    def __init__(self, total: int) -> None:
        self.rows = 0
        self.failed = 0
        self.refused = 0
        self.abstained = 0
        self.total = total

    def counted(self, rows: Iterable[Answer], progress: Callable[[int, int], None]) -> Iterator[Answer]:
        """The rows, unchanged."""
        for row in rows:
            self.rows += 1
            self.failed += bool(row.error)
            self.refused += row.error.startswith(REFUSED)
            self.abstained += bool(row.abstained)
            progress(self.rows, self.total)
            yield row

    def count(self, *, resumed: int) -> Count:
        """What was counted."""
        return Count(self.rows, self.failed, self.refused, self.abstained, resumed)


def predict(
    folder: Path,
    words: Sequence[str],
    *,
    out: Path | None = None,
    form: str | None = None,
    backend: str = "auto",
    gate: bool = True,
    abstain: bool = True,
    most: int | None = None,
    stdin: IO[str] | None = None,
    stdout: IO[bytes] | None = None,
    console: Console | None = None,
    answering: Answering | None = None,
) -> Count:
    """Answer for every input, one row each, in order.

    Args:
        folder: Run, bundle or export.
        words: Files, folders, patterns, or "-" for a list on `stdin`.
        out: File to write; a stopped call leaves `OUT.part`, and the same call goes on with it. None for `stdout`.
        form: "csv", "jsonl" or "parquet"; by the name of `out` by default.
        backend: As for `Predictor.load`.
        gate: Refuse pictures unlike the training images, if the bundle has a gate.
        abstain: Name no class where the prediction set does not support one.
        most: Classes in a prediction set at most, for a class to be named; one fewer than there are by default.
        stdin: Where "-" reads.
        stdout: Where rows go without `out`.
        console: Where progress goes.
        answering: What answers for the paths; this process by default.

    Raises:
        UsageError: For inputs that are not there at all, an unknown format, or an output that exists.
        DataError: If the unfinished output holds other inputs.
        IntegrityError: If the model is damaged, or another one wrote the unfinished output.
    """
    console = console or Console(stderr=True)
    listed = (stdin or sys.stdin).read() if LIST in words else ""
    inputs = expand(words, listed=listed)
    if inputs.left_out:
        console.print(
            f"{inputs.left_out:,} files in folders are left out: no images by name, hidden, or broken links",
            highlight=False,
        )
    chosen = format_of(out, form)
    model = open_model(folder, backend=backend, batch=min(len(inputs.paths), 32), gate=gate, abstain=abstain, most=most)
    console.print(f"model {model.answers.card.title}; {model.backend}", highlight=False, markup=False)
    console.print(model.gate_note, highlight=False, markup=False)
    answering = answering or answers
    tally = _Tally(len(inputs.paths))
    with bar(console, "predict") as progress:
        if out is None:
            rows = tally.counted(answering(model, inputs.paths), progress)
            WRITERS[chosen](stdout or sys.stdout.buffer, model.answers.card.classes, rows)
            return tally.count(resumed=0)
        journal = Journal(out, maker=model.maker(), paths=inputs.paths)
        for _ in tally.counted(_kept(journal), progress):
            pass
        for _ in tally.counted(journal.extend(answering(model, inputs.paths[journal.done :])), progress):
            pass
    journal.finish(chosen, model.answers.card.classes)
    return tally.count(resumed=journal.done)


def _kept(journal: Journal) -> Iterator[Answer]:
    return journal.rows() if journal.done else iter(())
