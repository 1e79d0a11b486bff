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
from tumorscope.bundle.gate import described, fit_gate
from tumorscope.bundle.predictor import Predictor
from tumorscope.core.errors import IntegrityError, UsageError
from tumorscope.evaluation.conformal import Conformal
from tumorscope.imaging.decode import decode_file
from tumorscope.imaging.preprocess import preprocess
from tumorscope.predicting import predict as module
from tumorscope.predicting.answers import answers
from tumorscope.predicting.model import open_model
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
    words = [str(folder), str(folder / "gone.png")]
    count = predict(model, words, out=out, backend="torch", abstain=False, console=QUIET)
    assert (count.rows, count.failed, count.refused, count.abstained, count.resumed) == (71, 3, 0, 0, 0)
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
    (tmp_path / "out.csv.part").write_text('{"journal": 2, "model": "of another"}\n')
    for bundle in (model, other):
        with pytest.raises(IntegrityError, match="another model"):
            predict(bundle, [str(folder)], out=tmp_path / "out.csv", backend="torch", console=QUIET)


def test_a_class_is_named_only_where_the_set_supports_it(model: Path, folder: Path, tmp_path: Path) -> None:
    out, named = tmp_path / "out.csv", tmp_path / "named.csv"
    # the third class is ruled out below 0.4, so that sets are full, empty, and without the most probable class
    bundle = load_bundle(model)
    names = bundle.card.classes
    sets = Conformal(names, 0.9, (0.3, 0.34, 0.4), (20, 20, 20))
    strict = tmp_path / "strict"
    save_bundle(strict, bundle.model, replace(bundle.card, prediction_sets=sets.to_json()), bundle.probe)
    count = predict(strict, [str(folder)], out=out, backend="torch", console=QUIET)
    predict(strict, [str(folder)], out=named, backend="torch", abstain=False, console=QUIET)
    rows, plain = _rows(out.read_text()), _rows(named.read_text())
    seen = set()
    for row, other in zip(rows, plain, strict=True):
        if row["error"]:
            assert row["abstained"] == ""
            continue
        assert other["predicted"] == max(names, key=lambda n: float(row[f"prob_{n}"]))
        assert other["abstained"] == ""
        assert {k: row[k] for k in row if k not in ("predicted", "abstained")} == {
            k: other[k] for k in other if k not in ("predicted", "abstained")
        }
        members = row["set"].split("|") if row["set"] else []
        supported = 0 < len(members) < len(names) and other["predicted"] in members
        assert (row["predicted"] == other["predicted"]) is supported
        assert (row["predicted"] == "") is bool(row["abstained"])
        seen.add(supported)
    assert seen == {True, False}
    assert count.abstained == sum(bool(row["abstained"]) for row in rows)
    few = tmp_path / "few.csv"
    predict(strict, [str(folder)], out=few, backend="torch", most=1, console=QUIET)
    assert all(len(row["set"].split("|")) == 1 for row in _rows(few.read_text()) if row["predicted"])
    with pytest.raises(UsageError, match="at most 0"):
        predict(strict, [str(folder)], out=tmp_path / "x.csv", most=0, backend="torch", console=QUIET)


@pytest.fixture(scope="module")
def gated(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle with a gate for pictures of pure noise."""
    bundle = load_bundle(model)
    rng = np.random.default_rng(1)
    train, validation = (
        described(
            [
                (p, preprocess(p, bundle.card.preprocessing)[0])
                for p in rng.integers(0, 256, (n, 40, 36), dtype=np.uint8)
            ],
            np.zeros(n, dtype=np.int64),
        )
        for n in (300, 400)
    )
    gate = fit_gate(train, validation, classes=["x"], groups=np.arange(300))
    assert gate is not None
    (region,) = gate.regions
    gate = replace(gate, regions=(replace(region, limits=(2 * region.limits[0], 2 * region.limits[1])),))
    target = tmp_path_factory.mktemp("gated") / "bundle"
    save_bundle(target, bundle.model, bundle.card, bundle.probe, gate=gate)
    return target


def test_the_gate_refuses_a_page_and_says_why(gated: Path, folder: Path, tmp_path: Path) -> None:
    Image.new("L", (300, 200), 255).save(folder / "page.png")
    screen = io.StringIO()
    out = tmp_path / "out.csv"
    console = Console(file=screen, width=200)
    count = predict(gated, [str(folder)], out=out, backend="torch", console=console)
    assert (count.failed, count.refused) == (3, 1)
    assert "input gate: pictures unlike the training images are refused" in screen.getvalue()
    rows = {Path(row["path"]).name: row for row in _rows(out.read_text())}
    assert rows["page.png"]["error"].startswith("refused: even areas, as in drawings")
    assert {rows["page.png"][k] for k in rows["page.png"] if k not in ("path", "error")} == {""}
    assert rows["000.png"]["error"] == ""


def test_the_gate_can_be_switched_off_and_the_screen_says_so(
    gated: Path, model: Path, folder: Path, tmp_path: Path
) -> None:
    Image.new("L", (300, 200), 255).save(folder / "page.png")
    for source, gate, said in ((gated, False, "input gate switched off"), (model, True, "made without one")):
        screen = io.StringIO()
        out = tmp_path / f"{gate}.csv"
        count = predict(
            source, [str(folder)], out=out, gate=gate, backend="torch", console=Console(file=screen, width=200)
        )
        assert (count.failed, count.refused) == (2, 0)
        assert said in screen.getvalue()


def test_other_options_do_not_go_on_with_an_output(gated: Path, folder: Path, tmp_path: Path) -> None:
    other = open_model(gated, backend="torch", gate=False).maker()
    (tmp_path / "out.csv.part").write_text(json.dumps({"journal": 2, **other}) + "\n")
    with pytest.raises(IntegrityError, match="other options"):
        predict(gated, [str(folder)], out=tmp_path / "out.csv", backend="torch", console=QUIET)
    assert (
        predict(gated, [str(folder)], out=tmp_path / "out.csv", gate=False, backend="torch", console=QUIET).rows == 70
    )


def test_an_export_refuses_the_same_pictures(gated: Path, folder: Path, tmp_path: Path) -> None:
    Image.new("L", (300, 200), 255).save(folder / "page.png")
    exported = export_bundle(gated, tmp_path / "onnx")
    count = predict(exported, [str(folder)], out=tmp_path / "out.csv", console=QUIET)
    assert (count.failed, count.refused) == (3, 1)


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
