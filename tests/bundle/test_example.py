"""The example that needs numpy, onnxruntime and Pillow alone, run as a user runs it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.scans import scan
from tumorscope.bundle.backends import TOLERANCE
from tumorscope.bundle.bundle import Bundle
from tumorscope.bundle.extras import import_onnx
from tumorscope.bundle.predictor import Predictor
from tumorscope.imaging.decode import decode_file

Exports = dict[tuple[str, str], Path]
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "predict_onnx.py"


def run(model: Path, image: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLE), str(model), str(image)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def picture(folder: Path, kind: str) -> Path:
    rng = np.random.default_rng(1)
    gray = scan("left", rng, 90).crop((0, 0, 90, 71))
    if kind == "gray.png":
        gray.save(folder / kind)
    else:
        pixels = np.stack([np.asarray(gray), rng.integers(0, 255, (71, 90)), np.asarray(gray) // 2], axis=2)
        turned = Image.Exif()
        turned[274] = 6
        Image.fromarray(pixels.astype(np.uint8)).save(folder / kind, exif=turned)
    return folder / kind


@pytest.mark.parametrize("kind", ["gray.png", "colour.jpg"])
@pytest.mark.parametrize("name", ["gray", "colour"])
def test_the_example_answers_like_the_predictor(
    exports: Exports, tmp_path: Path, name: str, kind: str, request: pytest.FixtureRequest
) -> None:
    bundle: Bundle = request.getfixturevalue(name)
    image = picture(tmp_path, kind)
    done = run(exports[name, "onnx"] / "model.onnx", image)
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    (expected,) = Predictor.load(bundle.folder).predict([decode_file(image).pixels])
    assert tuple(answer) == bundle.card.classes
    assert np.abs(np.array(list(answer.values())) - expected).max() <= TOLERANCE


@pytest.mark.parametrize(("fit", "trim"), [("pad", False), ("squash", True)])
def test_other_ways_of_fitting_are_refused(exports: Exports, tmp_path: Path, fit: str, trim: bool) -> None:
    onnx = import_onnx()
    model = onnx.load(str(exports["gray", "onnx"] / "model.onnx"))
    for prop in model.metadata_props:
        if prop.key == "preprocessing":
            prop.value = json.dumps({**json.loads(prop.value), "fit": fit, "trim": trim})
    onnx.save(model, str(tmp_path / "model.onnx"))
    done = run(tmp_path / "model.onnx", picture(tmp_path, "gray.png"))
    assert done.returncode == 1
    assert done.stderr.startswith(f"this example covers fit squash without trim, not fit {fit}, trim {trim}")


def test_the_example_is_short_and_needs_little() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    tree = ast.parse(text)
    imported = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert imported - set(sys.stdlib_module_names) == {"numpy", "PIL", "onnxruntime"}
    assert len([line for line in ast.unparse(tree).splitlines() if line]) <= 25
