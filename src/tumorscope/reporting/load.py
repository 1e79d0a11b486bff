"""A run folder read into one frozen value. Required files raise when missing; optional ones become None.

In: the folder that training and evaluation wrote. Out: `RunFolder`. All text passes through `words.shown`
here, so nothing later meets a control character or half a character.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.errors import DataError
from tumorscope.evaluation.predictions import read_csv
from tumorscope.reporting.contract import AuditFile, DataFile, EvaluationFile, RunFile, Sample, checked
from tumorscope.reporting.words import shown


@dataclass(frozen=True)
class Epoch:
    """One row of `metrics.csv`; figures that were not logged are None."""

    stage: str
    epoch: int
    lr: float | None
    train_loss: float | None
    train_accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None


@dataclass(frozen=True)
class Prediction:
    """One row of `predictions.csv`; `prob` is the probability of the predicted class."""

    path: str
    label: str
    predicted: str
    prob: float


@dataclass(frozen=True)
class Elsewhere:
    """The run's model evaluated on other data."""

    name: str
    data: str
    evaluation: EvaluationFile


@dataclass(frozen=True)
class RunFolder:
    """Everything the report is made from. None: the optional file is not there.

    Attributes:
        run: What was run.
        data: Data, findings and split.
        evaluation: Figures on the test images.
        recipe_text: The recipe as it was resolved.
        epochs: Learning curves.
        predictions: Answers on the test images.
        audit: What the audit of the data found under this split.
        openings: Lines of the ledger, one for each time the test images were used.
        samples: Test images to be shown, in the order of `pictures`.
        pictures: (n, S, S) gray or (n, S, S, 3) RGB, uint8.
        elsewhere: Evaluations on other data, sorted by name.
    """

    run: RunFile
    data: DataFile
    evaluation: EvaluationFile
    recipe_text: str | None
    epochs: tuple[Epoch, ...] | None
    predictions: tuple[Prediction, ...] | None
    audit: AuditFile | None
    openings: tuple[dict[str, Any], ...] | None
    samples: tuple[Sample, ...] | None
    pictures: NDArray[np.uint8] | None
    elsewhere: tuple[Elsewhere, ...]


def load_run(folder: Path) -> RunFolder:
    """Read a run folder.

    Raises:
        DataError: if the folder, `run.json`, `data.json` or `evaluation.json` is missing, or any file is
            damaged. The message names the command that writes the missing file.
    """
    if not folder.is_dir():
        raise DataError(
            "there is no such run folder",
            expected="a folder written by `tumorscope train`",
            where=folder,
            fix="give the folder that `tumorscope train --out` was given",
        )
    samples, pictures = _samples(folder)
    recipe = folder / "recipe.resolved.toml"
    return RunFolder(
        run=checked(RunFile, _required(folder / "run.json", "train"), where=folder / "run.json"),
        data=checked(DataFile, _required(folder / "data.json", "train"), where=folder / "data.json"),
        evaluation=checked(
            EvaluationFile,
            _required(folder / "evaluation.json", "evaluate"),
            where=folder / "evaluation.json",
        ),
        recipe_text=shown(_text(recipe)) if recipe.is_file() else None,
        epochs=_epochs(folder / "metrics.csv"),
        predictions=_predictions(folder / "predictions.csv"),
        audit=_audit(folder / "audit.json"),
        openings=_ledger(folder / "ledger.jsonl"),
        samples=samples,
        pictures=pictures,
        elsewhere=tuple(_elsewhere(p.parent) for p in sorted(folder.glob("evaluations/*/evaluation.json"))),
    )


def readable(value: Any) -> Any:
    """`value` (parsed JSON) with every string, keys too, passed through `words.shown`."""
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, dict):
        return {shown(k): readable(v) for k, v in value.items()}
    if isinstance(value, list):
        return [readable(v) for v in value]
    return value


def parsed(path: Path, *, again: str = "train or evaluate again") -> Any:
    """The JSON in `path`, made readable; `again` says what writes the file anew.

    Raises:
        DataError: if the file is not JSON.
    """
    return _json(_text(path), path, again=again)


def _json(text: str, path: Path, line: int = 0, *, again: str = "train or evaluate again") -> Any:
    try:
        return readable(json.loads(text, parse_constant=lambda _: None))
    except (ValueError, RecursionError) as error:
        place = f"line {line}: " if line else ""
        raise DataError(
            f"{path.name} is not JSON: {place}{error}",
            where=path,
            fix=f"restore the file, or {again} to write it",
        ) from None


def _required(path: Path, verb: str) -> Any:
    if path.is_file():
        return parsed(path)
    raise DataError(
        f"{path.name} is missing",
        expected="a run folder with run.json, data.json and evaluation.json",
        where=path.parent,
        fix=f"run `tumorscope {verb}`, which writes {path.name}, or give another folder",
    )


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise DataError(
            f"{path.name} cannot be read: {error.strerror}", where=path, fix="check the file's permissions"
        ) from None


def _rows(path: Path, needed: tuple[str, ...]) -> list[dict[str, str]] | None:
    if not path.is_file():
        return None
    reader = csv.DictReader(io.StringIO(_text(path), newline=""))
    missing = [c for c in needed if c not in (reader.fieldnames or [])]
    if missing:
        raise DataError(
            f"{path.name} has no column {', '.join(missing)}",
            expected=f"the columns {', '.join(needed)}",
            where=path,
            fix=f"train or evaluate again to write {path.name}, or remove it to leave that section out",
        )
    try:
        return [{str(k): v or "" for k, v in row.items()} for row in reader]
    except csv.Error as error:
        raise DataError(
            f"{path.name} is not a table: {error}", where=path, fix=f"restore {path.name} or remove it"
        ) from None


def _number(text: str | None, path: Path) -> float | None:
    if text is None or not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        raise DataError(
            f"{path.name} holds {shown(text)!r} where a number belongs",
            where=path,
            fix=f"restore {path.name}",
        ) from None
    return value if np.isfinite(value) else None


def _epochs(path: Path) -> tuple[Epoch, ...] | None:
    rows = _rows(path, ("epoch",))
    if rows is None:
        return None
    epochs = []
    for row in rows:
        position = _number(row["epoch"], path)
        if position is None:
            continue
        figures = {k: _number(row.get(k), path) for k in Epoch.__annotations__ if k not in {"stage", "epoch"}}
        epochs.append(Epoch(stage=shown(row.get("stage", "")), epoch=int(position), **figures))
    return tuple(epochs)


def _predictions(path: Path) -> tuple[Prediction, ...] | None:
    if not path.is_file():
        return None
    table = read_csv(path)
    return tuple(
        Prediction(
            path=shown(image),
            label=shown(table.classes[target]),
            predicted=shown(table.classes[answer]),
            prob=float(probs[answer]),
        )
        for image, target, answer, probs in zip(
            table.paths, table.targets.tolist(), table.predicted.tolist(), table.probs, strict=True
        )
    )


def _audit(path: Path) -> AuditFile | None:
    return checked(AuditFile, parsed(path), where=path) if path.is_file() else None


def _ledger(path: Path) -> tuple[dict[str, Any], ...] | None:
    if not path.is_file():
        return None
    lines = [(i, line) for i, line in enumerate(_text(path).split("\n"), 1) if line.strip()]
    entries = [(i, _json(line, path, i)) for i, line in lines]
    for i, entry in entries:
        if not isinstance(entry, dict):
            raise DataError(
                f"{path.name} line {i} is not an object",
                where=path,
                fix="restore the ledger: it is only ever added to",
            )
    return tuple(entry for _, entry in entries)


def _elsewhere(folder: Path) -> Elsewhere:
    path = folder / "evaluation.json"
    data = parsed(folder / "data.json") if (folder / "data.json").is_file() else {}
    info = data.get("info", {}) if isinstance(data, dict) else {}
    title = str(info.get("title") or info.get("name") or "") if isinstance(info, dict) else ""
    return Elsewhere(shown(folder.name), title, checked(EvaluationFile, parsed(path), where=path))


def stored_arrays(path: Path, *names: str, again: str) -> tuple[NDArray[Any], ...]:
    """The named arrays of an `.npz`; `again` says what writes the file anew.

    Raises:
        DataError: if the file is damaged or has no such array.
    """
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
            return tuple(archive[name] for name in names)
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path.name} cannot be read: {error}", where=path, fix=f"{again}, or remove it") from None


def _samples(folder: Path) -> tuple[tuple[Sample, ...] | None, NDArray[np.uint8] | None]:
    words, pixels = folder / "samples.json", folder / "samples.npz"
    if not (words.is_file() and pixels.is_file()):
        return None, None
    entries = parsed(words)
    if not isinstance(entries, list):
        raise DataError("samples.json is not a list", where=words, fix="evaluate again to write it")
    samples = tuple(checked(Sample, entry, where=words) for entry in entries)
    (images,) = stored_arrays(pixels, "images", again="evaluate again")
    gray_or_rgb = images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3)
    if images.dtype != np.uint8 or not gray_or_rgb or len(images) != len(samples):
        raise DataError(
            f"samples.npz holds {images.dtype} {images.shape} for {len(samples)} entries in samples.json",
            expected="uint8 (n, S, S) or (n, S, S, 3), one picture an entry",
            where=pixels,
            fix="evaluate again to write both",
        )
    return samples, images
