from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.bundle.bundles import mixed
from tumorscope.bundle import export
from tumorscope.bundle.backends import TOLERANCE, FileBackend
from tumorscope.bundle.bundle import Bundle
from tumorscope.bundle.export import MODEL_FILES, ExportFormat, export_bundle
from tumorscope.bundle.exported import load_export
from tumorscope.bundle.extras import import_onnx, import_openvino
from tumorscope.bundle.onnx_model import onnx_bytes
from tumorscope.bundle.predictor import Predictor
from tumorscope.core.errors import IntegrityError, ResourceError, UsageError
from tumorscope.core.files import read_json, sha256_file, write_json

KINDS: tuple[ExportFormat, ...] = ("onnx", "openvino")


Exports = dict[tuple[str, str], Path]


def metadata(folder: Path, kind: str) -> dict[str, Any]:
    if kind == "onnx":
        props = import_onnx().load(str(folder / "model.onnx")).metadata_props
        return {prop.key: json.loads(prop.value) for prop in props}
    model = import_openvino().Core().read_model(str(folder / "model.xml"))
    return {name: json.loads(value) for name, value in model.get_rt_info(["tumorscope"]).value.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["gray", "colour"])
def test_an_export_answers_like_its_bundle(
    exports: Exports, name: str, kind: str, request: pytest.FixtureRequest
) -> None:
    bundle: Bundle = request.getfixturevalue(name)
    exported, predictor = load_export(exports[name, kind]), Predictor.load(bundle.folder)
    images = mixed(bundle, n=70)
    expected = predictor.probs(predictor.logits(images))
    assert np.abs(exported.probs(exported.logits(images)) - expected).max() <= TOLERANCE
    assert isinstance(exported.backend, FileBackend)
    assert np.abs(exported.backend.run(images[:3], "probs") - expected[:3]).max() <= TOLERANCE
    assert exported.card == bundle.card
    assert (exported.identity, exported.precision) == (bundle.identity, "float32")


@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_describes_itself(exports: Exports, gray: Bundle, kind: str) -> None:
    folder = exports["gray", kind]
    names = {*MODEL_FILES[kind], "labels.json", "README.md"}
    assert {path.name for path in folder.iterdir()} == names | {"export.json"}
    record = read_json(folder / "export.json")
    assert record["files"] == {name: sha256_file(folder / name) for name in names}
    assert record["parity"]["float32_largest_difference"] <= TOLERANCE
    assert (record["kind"], record["precision"], record["bundle"]) == (kind, "float32", gray.identity)
    assert read_json(folder / "labels.json") == {"classes": ["malignant", "normal, benign"], "positive": "malignant"}
    found = metadata(folder, kind)
    assert found["classes"] == ["malignant", "normal, benign"]
    assert found["preprocessing"] == {"size_px": 80, "channels": 1, "fit": "squash", "trim": False}
    assert (found["positive"], found["temperature"], found["threshold"]) == ("malignant", 1.3, 0.4)
    assert found["bundle"] == gray.identity
    assert found["hashes"] == gray.card.hashes
    assert found["use"].startswith("research use only")


@pytest.mark.parametrize("kind", KINDS)
def test_no_file_names_a_folder_of_this_machine(exports: Exports, kind: str) -> None:
    for path in exports["colour", kind].iterdir():
        data = path.read_bytes()
        for trace in (b"site-packages", b"/torch/", b"/timm/", b".export.", str(path.parent.parent).encode()):
            assert trace not in data, f"{path.name}: {trace!r}"


def test_equal_bundles_give_equal_bytes(exports: Exports, gray: Bundle) -> None:
    assert onnx_bytes(gray) == (exports["gray", "onnx"] / "model.onnx").read_bytes()


def test_any_batch_is_taken(exports: Exports) -> None:
    graph = import_onnx().load(str(exports["gray", "onnx"] / "model.onnx")).graph
    for value in (*graph.input, *graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
    assert [value.name for value in (*graph.input, *graph.output)] == ["images", "logits", "probs"]


def copy_of(folder: Path, target: Path) -> Path:
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


@pytest.mark.parametrize("name", ["model.xml", "model.bin", "labels.json", "README.md"])
def test_a_changed_byte_is_refused(exports: Exports, tmp_path: Path, name: str) -> None:
    folder = copy_of(exports["gray", "openvino"], tmp_path / "copy")
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(IntegrityError, match=f"{name} is not the file"):
        load_export(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw.update(format=2), "export format 2"),
        (lambda raw: raw.update(kind="tflite"), "kind 'tflite'"),
        (lambda raw: raw.pop("card"), "cannot be read"),
        (lambda raw: raw["files"].pop("model.onnx"), r"model\.onnx is not the file"),
        (lambda raw: raw["files"].update({"../model.onnx": "0"}), "leads out of the folder"),
    ],
)
def test_a_changed_record_is_refused(
    exports: Exports, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    folder = copy_of(exports["gray", "onnx"], tmp_path / "copy")
    raw = read_json(folder / "export.json")
    change(raw)
    write_json(folder / "export.json", raw)
    with pytest.raises(IntegrityError, match=message):
        load_export(folder)


def test_what_is_no_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no export here"):
        load_export(tmp_path)


def test_an_earlier_export_is_replaced_and_nothing_else(exports: Exports, gray: Bundle, tmp_path: Path) -> None:
    folder = copy_of(exports["gray", "openvino"], tmp_path / "copy")
    (folder / ".export.left").mkdir()  # as from a process that was killed
    export_bundle(gray.folder, folder, kind="onnx")
    (folder / ".export.left").rmdir()
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "labels.json", "README.md", "export.json"}
    load_export(folder)
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds other files: thesis\.txt"):
        export_bundle(gray.folder, folder, kind="onnx")


@pytest.fixture(scope="module")
def other_graph(gray: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network with another normalisation."""
    normalisation = replace(gray.card.normalisation, mean=(0.45,))
    other = onnx_bytes(replace(gray, card=replace(gray.card, normalisation=normalisation)))
    path = tmp_path_factory.mktemp("other") / "model.onnx"
    path.write_bytes(other)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_with_other_answers_is_refused(
    gray: Bundle, tmp_path: Path, kind: ExportFormat, other_graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "kept_onnx", lambda bundle, folder: other_graph)
    with pytest.raises(IntegrityError, match="other answers than torch"):
        export_bundle(gray.folder, tmp_path / "out", kind=kind)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_unknown_kind_is_refused(gray: Bundle, tmp_path: Path) -> None:
    kind: Any = "tflite"
    with pytest.raises(UsageError, match="no export format is called 'tflite'"):
        export_bundle(gray.folder, tmp_path / "out", kind=kind)


@pytest.mark.usefixtures("one_cache")
def test_a_missing_package_names_the_extra(gray: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ResourceError, match=r"pip install 'tumorscope\[export\]'"):
        export_bundle(gray.folder, tmp_path / "out")


def test_a_network_that_onnx_cannot_hold_is_said(gray: Bundle) -> None:
    import torch

    class Odd(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean(dim=(1, 2, 3))[:, None] if images.sum() > 0 else images[:, 0, 0, :1]

    odd = replace(gray, model=replace(gray.model, module=Odd()))
    with pytest.raises(ResourceError, match="cnn_bn cannot be written as ONNX"):
        onnx_bytes(odd)
