"""An exported folder, checked and ready to answer like the bundle it came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from tumorscope.bundle.backends import Backend, OnnxRuntimeBackend, OpenVinoBackend
from tumorscope.bundle.bundle import GATE, open_gate, read_card
from tumorscope.bundle.export import FORMAT, MODEL_FILES
from tumorscope.bundle.gate import Gate
from tumorscope.bundle.predictor import Answers
from tumorscope.core.errors import IntegrityError, UsageError
from tumorscope.core.files import read_json, sha256_file


@dataclass(frozen=True)
class Exported(Answers):
    """A folder that `export_bundle` made, with its hashes checked.

    Attributes:
        folder: Where it lies.
        identity: Of the bundle it came from.
        precision: "float32" or "int8".
        gate: The bundle's input gate; None where it has none.
    """

    folder: Path
    identity: str
    precision: str
    gate: Gate | None = None


def is_export(folder: Path) -> bool:
    """True if `folder` claims to be an export."""
    return (folder / "export.json").is_file()


def load_export(folder: Path) -> Exported:
    """Open an export with as many threads as torch uses.

    Raises:
        UsageError: If the folder is no export.
        IntegrityError: If a file changed, is missing, or is of a later format.
        ResourceError: If the runtime is not installed.
    """
    path = folder / "export.json"
    if not path.is_file():
        raise UsageError(
            "no export here: export.json is missing",
            expected="a folder made by `tumorscope export`",
            where=folder,
            fix="give that folder, or a run or bundle",
        )
    try:
        raw = read_json(path)
        version, kind, files = int(raw["format"]), str(raw["kind"]), dict(raw["files"])
        if version != FORMAT or kind not in MODEL_FILES:
            raise IntegrityError(
                f"export format {version}, kind {kind!r}",
                expected=f"format {FORMAT}, one of {', '.join(MODEL_FILES)}",
                where=path,
                fix="use the tumorscope version that made it",
            )
        if any(Path(name).name != name for name in files):
            raise ValueError("a file name leads out of the folder")
        card = read_card(raw["card"])
        identity, precision = str(raw["bundle"]), str(raw["precision"])
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"export.json cannot be read: {error}", where=path, fix="export again") from error
    for name in {*files, *MODEL_FILES[kind], *((GATE,) if card.gate is not None else ())}:
        found = sha256_file(folder / name) if (folder / name).is_file() else "missing"
        if found != files.get(name):
            raise IntegrityError(
                f"{name} is not the file export.json was written for",
                expected=f"sha256 {str(files.get(name))[:12]}…, found {found[:12]}",
                where=folder / name,
                fix="export again",
            )
    model, threads = folder / MODEL_FILES[kind][0], torch.get_num_threads()
    backend: Backend
    if kind == "onnx":
        backend = OnnxRuntimeBackend(card, model, threads=threads)
    else:
        backend = OpenVinoBackend(card, model, threads=threads)
    gate = open_gate(card, folder / GATE)
    return Exported(backend=backend, folder=folder, identity=identity, precision=precision, gate=gate)
