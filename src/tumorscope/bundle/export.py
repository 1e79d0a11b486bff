"""A bundle as files for other programs: ONNX or OpenVINO IR, checked against torch before anyone gets them.

In: a bundle. Out: a folder with `model.onnx`, or `model.xml` and `model.bin`; `labels.json`; the model card
`README.md`; `gate.npz` if the bundle has an input gate; and, written last, `export.json` with the card and the
SHA-256 of every other file.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

import tumorscope
from tumorscope.bundle.backends import (
    TOLERANCE,
    FileBackend,
    OnnxRuntimeBackend,
    OpenVinoBackend,
    TorchBackend,
    check_images,
    check_parity,
    kept_folder,
    kept_onnx,
)
from tumorscope.bundle.bundle import GATE, Bundle, Card, card_text, load_bundle
from tumorscope.bundle.extras import import_openvino
from tumorscope.bundle.int8 import quantise
from tumorscope.bundle.onnx_model import INPUT, OUTPUTS, USE, facts
from tumorscope.core.errors import UsageError
from tumorscope.core.files import atomic_path, read_json, sha256_file, write_bytes, write_json, write_text
from tumorscope.evaluation.calibration import apply_temperature

FORMAT = 1
ExportFormat: TypeAlias = Literal["onnx", "openvino"]
MODEL_FILES: dict[str, tuple[str, ...]] = {"onnx": ("model.onnx",), "openvino": ("model.xml", "model.bin")}


def export_bundle(
    folder: Path, out: Path, *, kind: ExportFormat = "onnx", calibration: NDArray[np.uint8] | None = None
) -> Path:
    """Write a bundle for another runtime.

    The graph takes (N, C, S, S) uint8 pixels, already resized, and gives `logits` and `probs`, (N, classes) float32.

    Args:
        folder: Bundle or run.
        out: Folder to write into: new, empty, or holding an earlier export, whose files are replaced.
        kind: "onnx", or "openvino" for its IR.
        calibration: (K, C, S, S) uint8 preprocessed images, from training or validation, never from test: the model
            is then computed in 8-bit integers, with ranges found on them. None keeps float32. What that costs in
            accuracy is for `tumorscope.bundle.int8.int8_change` to say.

    Returns:
        `out`.

    Raises:
        UsageError: For another format, a folder that holds something else, or calibration images that do not fit.
        ResourceError: If a package is missing or the network cannot be written in that format.
        IntegrityError: If the bundle is damaged, or the float32 file's probabilities differ from torch's by more
            than 1e-4 on the bundle's probe and on noise; nothing is written then.
    """
    if kind not in MODEL_FILES:
        raise UsageError(
            f"no export format is called {kind!r}",
            expected=f"one of {', '.join(MODEL_FILES)}",
            where="--format",
            fix="--format onnx",
        )
    replaced = _replaceable(out)
    bundle = load_bundle(folder)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export.", dir=out) as name:
        work = Path(name)
        shutil.copyfile(kept_onnx(bundle, kept_folder(bundle)), work / "model.onnx")
        gap = check_parity(_open(bundle.card, _convert(work, kind, bundle)), bundle)
        parity = {"float32_largest_difference": gap, "tolerance": TOLERANCE, "images": len(check_images(bundle))}
        if calibration is not None:
            write_bytes(work / "model.onnx", quantise(work / "model.onnx", calibration, bundle=bundle))
            parity["int8_largest_difference"] = _largest_difference(
                _open(bundle.card, _convert(work, kind, bundle)), bundle
            )
        for file in MODEL_FILES[kind]:
            with atomic_path(out / file) as temporary:
                (work / file).replace(temporary)
    write_json(out / "labels.json", {"classes": list(bundle.card.classes), "positive": bundle.card.positive})
    write_text(out / "README.md", card_text(bundle.card))
    names = [*MODEL_FILES[kind], "labels.json", "README.md"]
    if bundle.gate is not None:
        bundle.gate.save(out / GATE)
        names.append(GATE)
    write_json(
        out / "export.json",
        {
            "format": FORMAT,
            "kind": kind,
            "precision": "float32" if calibration is None else "int8",
            "use": USE,
            "tumorscope": tumorscope.__version__,
            "bundle": bundle.identity,
            "input": {"name": INPUT, "shape": ["N", *bundle.probe.shape[1:]], "dtype": "uint8"},
            "outputs": {name: {"shape": ["N", len(bundle.card.classes)], "dtype": "float32"} for name in OUTPUTS},
            "parity": parity,
            "files": {name: sha256_file(out / name) for name in names},
            "card": bundle.card.to_json(),
        },
    )
    for old in replaced - set(names):
        (out / old).unlink(missing_ok=True)
    return out


def _replaceable(out: Path) -> set[str]:
    """Files of an earlier export in `out`."""
    if not out.exists():
        return set()
    # hidden files may be left from a stopped export, and are not touched
    there = {path.name for path in out.iterdir() if path.name[0] != "."} if out.is_dir() else {out.name}
    try:
        known = {Path(name).name for name in read_json(out / "export.json")["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        known = set()
    if foreign := sorted(there - known - {"export.json"}):
        raise UsageError(
            f"the folder holds other files: {', '.join(foreign[:3])}",
            expected="a new or empty folder, or an earlier export",
            where=out,
            fix="choose another --out",
        )
    return known


def _convert(work: Path, kind: ExportFormat, bundle: Bundle) -> Path:
    """The file to run, made from `work`/model.onnx."""
    if kind == "onnx":
        return work / "model.onnx"
    openvino = import_openvino()
    model = openvino.Core().read_model(str(work / "model.onnx"))
    for name, value in facts(bundle.card, bundle.identity).items():
        model.set_rt_info(value, ["tumorscope", name])
    openvino.save_model(model, str(work / "model.xml"), compress_to_fp16=False)
    return work / "model.xml"


def _open(card: Card, path: Path) -> FileBackend:
    if path.suffix == ".onnx":
        return OnnxRuntimeBackend(card, path, threads=1)
    return OpenVinoBackend(card, path, threads=1)


def _largest_difference(backend: FileBackend, bundle: Bundle) -> float:
    """Largest change of a probability against torch on the bundle's probe."""
    found, expected = (
        apply_temperature(b.logits(bundle.probe), bundle.card.temperature) for b in (backend, TorchBackend(bundle))
    )
    return float(np.abs(found - expected).max())
