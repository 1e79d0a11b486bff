"""From words of a command line to a table: rows match inputs, answers match the predictor, a stop loses nothing."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from tests.bundle.bundles import save
from tumorscope import api
from tumorscope.bundle.bundle import load_bundle, save_bundle
from tumorscope.bundle.export import export_bundle
from tumorscope.bundle.predictor import Predictor
from tumorscope.core.errors import IntegrityError, UsageError
from tumorscope.evaluation.conformal import Conformal
from tumorscope.imaging.decode import decode_file
from tumorscope.predicting import predict as module
from tumorscope.predicting.answers import answers
from tumorscope.predicting.predict import predict

QUIET = Console(quiet=True)
ARCHITECTURE: dict[str, Any] = {
    "name": "cnn28",
    "outputs": 3,
    "channels": 1,
    "size_px": 28,
    "dropout": 0.0,
    "options": {},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose card has prediction sets that rule out what is under 0.3."""
    plain = load_bundle(save(tmp_path_factory.mktemp("plain") / "bundle", ARCHITECTURE))
    sets = Conformal(plain.card.classes, 0.9, (0.3,) * len(plain.card.classes), (20,) * len(plain.card.classes))
    folder = tmp_path_factory.mktemp("model") / "bundle"
    save_bundle(folder, plain.model, replace(plain.card, prediction_sets=sets.to_json()), plain.probe)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "my scans"
    root.mkdir()
    rng = np.random.default_rng(0)
    for number in range(70):  # more than one batch
        Image.fromarray(rng.integers(0, 256, (40, 36), dtype=np.uint8)).save(root / f"{number:03}.png")
    (root / "010.png").write_bytes(b"no picture")
    (root / "011.png").write_bytes((root / "012.png").read_bytes()[:200])
    return root


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_rows_match_inputs_and_answers_match_the_predictor(model: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    count = predict(model, [str(folder), str(folder / "gone.png")], out=out, backend="torch", console=QUIET)
    assert (count.rows, count.failed, count.resumed) == (71, 3, 0)
    rows = _rows(out.read_text())
    paths = [Path(row["path"]) for row in rows]
    assert paths == [*sorted(folder.iterdir()), folder / "gone.png"]
    predictor = Predictor.load(model)
    names = predictor.card.classes
    for row, path in zip(rows, paths, strict=True):
        if path.name in ("010.png", "011.png", "gone.png"):
            assert row["error"]
            assert {row[k] for k in row if k not in ("path", "error")} == {""}
            continue
        (probs,) = predictor.predict([decode_file(path).pixels])
        assert [float(row[f"prob_{name}"]) for name in names] == pytest.approx(probs.tolist(), abs=1e-5)
        assert row["predicted"] == names[int(probs.argmax())]
        assert row["set"].split("|") == [n for n, p in zip(names, probs, strict=True) if p >= 0.3] or row["set"] == ""
        assert row["error"] == ""
    reasons = {path.name: row["error"].split(":")[0] for row, path in zip(rows, paths, strict=True) if row["error"]}
    assert reasons == {"010.png": "not-an-image", "011.png": "truncated", "gone.png": "missing-file"}


def test_standard_input_and_output(model: Path, folder: Path) -> None:
    listed = io.StringIO(f"{folder / '001.png'}\n{folder / '010.png'}\n")
    out = io.BytesIO()
    count = predict(model, ["-"], stdin=listed, stdout=out, form="jsonl", backend="torch", console=QUIET)
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert (count.rows, count.failed) == (2, 1)
    assert first["path"].endswith("001.png")
    assert second["predicted"] is None


def test_a_stopped_call_goes_on_where_it_was(
    model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole.csv"
    predict(model, [str(folder)], out=whole, backend="torch", console=QUIET)
    seen: list[str] = []

    def stops(model_: Any, paths: Any, **kwargs: Any) -> Iterator[Any]:
        for number, row in enumerate(answers(model_, paths, **kwargs)):
            if number == 67 and not seen:
                raise KeyboardInterrupt
            yield row

    out = tmp_path / "out.csv"
    monkeypatch.setattr(module, "answers", stops)
    with pytest.raises(KeyboardInterrupt):
        predict(model, [str(folder)], out=out, backend="torch", console=QUIET)
    assert not out.exists()
    seen.append("stopped once")
    count = predict(model, [str(folder)], out=out, backend="torch", console=QUIET)
    assert (count.rows, count.failed, count.resumed) == (70, 2, 64)
    assert out.read_bytes() == whole.read_bytes()


def test_another_model_does_not_go_on(model: Path, folder: Path, tmp_path: Path) -> None:
    other = save(tmp_path / "other", ARCHITECTURE)
    (tmp_path / "out.csv.part").write_text('{"journal": 1, "model": "of another"}\n')
    for bundle in (model, other):
        with pytest.raises(IntegrityError, match="another model"):
            predict(bundle, [str(folder)], out=tmp_path / "out.csv", backend="torch", console=QUIET)


def test_an_export_predicts_too(model: Path, folder: Path, tmp_path: Path) -> None:
    exported = export_bundle(model, tmp_path / "onnx")
    tables = []
    for number, source in enumerate((model, exported)):
        out = tmp_path / f"{number}.csv"
        predict(source, [str(folder)], out=out, backend="torch", console=QUIET)
        tables.append(_rows(out.read_text()))
    for ours, theirs in zip(*tables, strict=True):
        assert (ours["path"], ours["predicted"], ours["set"]) == (theirs["path"], theirs["predicted"], theirs["set"])
        for name in (k for k in ours if k.startswith("prob_") and ours[k]):
            assert float(ours[name]) == pytest.approx(float(theirs[name]), abs=1e-4)


def test_a_packaged_bundle_is_the_same_bundle(model: Path, tmp_path: Path) -> None:
    packaged = api.package(model, tmp_path / "for you")
    assert api.card(packaged)["identity"] == api.card(model)["identity"]
    with pytest.raises(UsageError, match="not empty"):
        api.package(model, packaged)
    shutil.rmtree(packaged)
    (tmp_path / "for you").mkdir()
    assert api.package(model, tmp_path / "for you").is_dir()
