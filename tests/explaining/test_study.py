"""A run's heatmaps scored on its own test images and on other data; single images explained."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from torch import Tensor
from typer.testing import CliRunner

from tumorscope.bundle.predictor import Predictor
from tumorscope.cli import app
from tumorscope.core.errors import DataError, UsageError
from tumorscope.core.files import sha256_bytes
from tumorscope.core.types import ImageRecord, Pixels
from tumorscope.data.load import load
from tumorscope.data.manifest import Manifest
from tumorscope.data.split import load_split
from tumorscope.explaining import explain as explain_module
from tumorscope.explaining import removal as removal_module
from tumorscope.explaining import study as study_module
from tumorscope.explaining.asking import Subject
from tumorscope.explaining.explain import explain
from tumorscope.explaining.methods import heatmaps
from tumorscope.explaining.study import study
from tumorscope.explaining.values import paired
from tumorscope.imaging.decode import Decoded, decode_file
from tumorscope.imaging.loader import Normalisation
from tumorscope.training.recipe import Recipe, parse_recipe
from tumorscope.training.run import train

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def data() -> Manifest:
    return load("phantom:patients=24,slices=1,size_px=48,seed=2,duplicates=0.3")


def _recipe(control: str = "none") -> Recipe:
    return parse_recipe(
        {
            "name": "tiny",
            "title": "Tiny",
            "image": {"size_px": 48},
            "model": {"name": "cnn_bn", "mean": [0.2], "std": [0.9]},
            "train": {
                "batch_size": 8,
                "precision": "fp32",
                "memory_format": "contiguous",
                "threads": 1,
                "compile": False,
                "control": control,
            },
            "stage": {"all": {"epochs": 1, "lr": 1e-3}},
        },
        where="test",
    )


@pytest.fixture(scope="module")
def run(data: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "a"
    return train(_recipe(), data, out=out, command="c", accept_leaks=True, console=QUIET).folder


@pytest.fixture(scope="module")
def shuffled(data: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "b"
    recipe = _recipe("permuted-labels")
    return train(recipe, data, out=out, command="c", accept_leaks=True, console=QUIET).folder


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal_module, "CURVE_IMAGES", 2)


def test_own_data_means_test_images_without_copies(run: Path, data: Manifest, tmp_path: Path) -> None:
    content = study(run, data, out=tmp_path / "x", command="the command", methods=["grad-cam"])
    assert content["data"]["left_out"]["have a copy in training or validation"] > 0
    test = {row.split(",")[0] for row in (run / "images.csv").read_text().splitlines() if ",test," in row}
    assert content["data"]["n"] == len(test) - content["data"]["left_out"]["have a copy in training or validation"]
    shown = {entry["path"] for entry in content["gallery"]}
    assert shown < test
    labels = {entry["label"] for entry in content["gallery"]}
    assert "notumor" not in labels
    assert json.loads((tmp_path / "x" / "explanations.json").read_text()) == json.loads(json.dumps(content))
    with np.load(tmp_path / "x" / "gallery.npz") as arrays:
        assert arrays["images"].shape == arrays["heats"].shape == (len(content["gallery"]), 192, 192)
    energies = [entry["energy"] for entry in content["gallery"]]
    assert energies[:12] == sorted(energies[:12])
    names = [row["name"] for row in content["removal"]["rows"]]
    assert {"whole image", "box removed", "only the box"} <= set(names)
    assert content["removal"]["rows"][0]["change"] is None
    border = content["removal"]["border"]
    assert border["n"] == content["data"]["n"] == sum(border["answers"].values()) == sum(border["present"].values())
    assert content["shuffled"] is None
    assert content["score"]["best_by"] == "validation images"
    assert set(content["curves"]["methods"]) == {"grad-cam", "random order"}
    assert set(content["curves"]["methods"]["grad-cam"]["gaps"]) == {"random order", "another image's map"}
    assert "mean-box" in content["score"]["sources"]


def test_values_give_the_estimates_and_pair_two_studies(run: Path, data: Manifest, tmp_path: Path) -> None:
    content = study(run, data, out=tmp_path / "x", command="c", methods=["grad-cam", "hires-cam"])
    study(run, data, out=tmp_path / "y", command="c", methods=["grad-cam"])
    with (tmp_path / "x" / "values.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    for name, row in content["score"]["sources"].items():
        values = [float(r["value"]) for r in rows if (r["name"], r["measure"]) == (name, "energy")]
        assert len(values) == content["data"]["with_boxes"]
        assert np.mean(values) == pytest.approx(row["overall"]["energy"]["value"], abs=1e-5)
    removed = {row["name"]: row for row in content["removal"]["rows"]}["box removed"]
    right = [float(r["value"]) for r in rows if r["name"] == "box removed"]
    assert np.mean(right) == pytest.approx(removed["accuracy"]["value"])
    tables = [tmp_path / name / "values.csv" for name in ("x", "y")]
    gap, n = paired(*tables, name="grad-cam", measure="energy")
    assert (gap.value, n) == (0, content["data"]["with_boxes"])
    with pytest.raises(DataError, match="of which 0 are the same"):
        paired(*tables, name="hires-cam", measure="energy")


def test_the_command_scores_and_writes_the_page(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "my heat"
    words = ["explain", str(run), "--score", "--data", "phantom:patients=24,slices=1,size_px=48,seed=2,duplicates=0.3"]
    found = CliRunner().invoke(app, [*words, "--method", "grad-cam", "--out", str(out)])
    assert found.exit_code == 0, found.output
    assert {p.name for p in out.iterdir()} == {"explanations.json", "explanations.html", "gallery.npz", "values.csv"}
    content = json.loads((out / "explanations.json").read_text())
    energy = content["score"]["sources"]["grad-cam"]["overall"]["energy"]["value"]
    assert f"{energy:.3f}" in found.stdout
    assert "box removed" in found.stdout
    assert "the border alone" in found.stdout
    refused = CliRunner().invoke(app, [*words, "--class", "glioma"])
    assert isinstance(refused.exception, UsageError)


def test_heat_is_made_of_the_input_that_answers_are_made_of(run: Path, data: Manifest) -> None:
    predictor = Predictor.load(run)
    subject = Subject.of(predictor.bundle)
    assert subject.built.normalisation == predictor.bundle.card.normalisation == Normalisation((0.2,), (0.9,))
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 48, 48), dtype=np.uint8)
    seen: list[Tensor] = []
    handle = subject.built.module.register_forward_hook(lambda _m, _i, output: seen.append(output.detach()))
    heatmaps(subject, images, method="grad-cam", targets=np.array([0, 1, 2]))
    handle.remove()
    assert np.allclose(seen[0].numpy(), predictor.logits(images), atol=1e-4)


def test_a_model_of_shuffled_labels_is_one_more_control(
    run: Path, shuffled: Path, data: Manifest, tmp_path: Path
) -> None:
    content = study(run, data, out=tmp_path / "x", command="c", methods=["grad-cam"], shuffled=shuffled)
    source = content["score"]["sources"]["grad-cam@shuffled labels"]
    assert (source["kind"], source["method"]) == ("model", "grad-cam")
    assert "grad-cam@shuffled labels" in content["score"]["gaps"]["grad-cam"]
    controls = {"uniform", "centre", "edges", "brightness", "mean-box"}
    assert set(content["score"]["gaps"]["grad-cam@shuffled labels"]) == controls
    assert content["shuffled"] == {"differences": []}
    longer = shutil.copytree(shuffled, tmp_path / "longer")
    text = (longer / "recipe.resolved.toml").read_text()
    (longer / "recipe.resolved.toml").write_text(text.replace("epochs = 1", "epochs = 2"))
    content = study(run, data, out=tmp_path / "z", command="c", methods=["grad-cam"], shuffled=longer)
    assert content["shuffled"] == {"differences": ["stage.all.epochs = 2 instead of 1"]}
    facts = json.loads((longer / "run.json").read_text())
    facts["hashes"]["split"] = "0" * 64
    (longer / "run.json").write_text(json.dumps(facts))
    with pytest.raises(UsageError, match="has another split"):
        study(run, data, out=tmp_path / "y", command="c", methods=["grad-cam"], shuffled=longer)
    with pytest.raises(UsageError, match="were not shuffled: control = 'none'"):
        study(run, data, out=tmp_path / "y", command="c", methods=["grad-cam"], shuffled=run)
    with pytest.raises(UsageError, match="control = 'not known'"):
        study(run, data, out=tmp_path / "y", command="c", methods=["grad-cam"], shuffled=tmp_path)


def test_slow_methods_take_a_part_and_say_so(
    run: Path, data: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("SLOW_BOXED", 4), ("SLOW_FREE", 1), ("THRESHOLD_IMAGES_SLOW", 2)):
        monkeypatch.setattr(study_module, name, value)
    monkeypatch.setattr(removal_module, "CURVE_IMAGES_SLOW", 2)
    content = study(run, data, out=tmp_path / "x", command="c", methods=["grad-cam", "occlusion"])
    assert (content["data"]["n"], content["data"]["with_boxes"]) == (5, 4)
    (reason,) = [r for r in content["data"]["left_out"] if r.startswith("not drawn")]
    assert content["data"]["left_out"][reason] > 0
    assert content["score"]["sources"]["occlusion@random-weights"]["title"].endswith("one draw")
    assert content["removal"]["n"] == 4
    assert content["curves"]["n"] == 2


def test_same_data_same_content(run: Path, data: Manifest, tmp_path: Path) -> None:
    first, second = (study(run, data, out=tmp_path / n, command="c", methods=["grad-cam"]) for n in ("a", "b"))
    assert first == second
    assert (tmp_path / "a" / "gallery.npz").read_bytes() == (tmp_path / "b" / "gallery.npz").read_bytes()


def test_boxes_stay_on_their_pictures(run: Path, data: Manifest, tmp_path: Path) -> None:
    content = study(run, data, out=tmp_path / "x", command="c", methods=["grad-cam"])
    boxes = {r.path: r.boxes for r in data.records}
    for entry in content["gallery"]:
        (box,), (shown,) = boxes[entry["path"]], entry["boxes"]
        assert (shown["cx"], shown["cy"], shown["w"], shown["h"]) == pytest.approx(
            (box.cx, box.cy, box.w, box.h), abs=1e-6
        )


def test_other_data_leaves_out_what_training_held(run: Path, tmp_path: Path) -> None:
    stranger = load("phantom:patients=16,slices=1,size_px=48,seed=9")
    content = study(run, stranger, out=tmp_path / "x", command="c", methods=["grad-cam"])
    assert content["data"]["n"] == len(stranger)
    assert "Other data" in content["data"]["what"]
    same = load("phantom:patients=24,slices=1,size_px=48,seed=2")  # the run's data without its planted copies
    seen = {line.split(",")[-2] for line in (run / "images.csv").read_text().splitlines() if ",test," not in line}
    fresh = [r for r in same.records if r.sha256 not in seen]
    content = study(run, same, out=tmp_path / "y", command="c", methods=["grad-cam"])
    assert 0 < content["data"]["n"] <= len(fresh) < len(same)
    assert {entry["path"] for entry in content["gallery"]} <= {r.path for r in fresh}


def brighter(data: Manifest, rows: list[int], *, beside: Manifest) -> Manifest:
    """Images of `data`, one gray level brighter, so that no hash tells, followed by those of another set."""

    def changed(i: int) -> ImageRecord:
        new = sha256_bytes(f"brighter {i}".encode())
        return replace(data.records[i], path=f"again/{i}.png", sha256=new, pixels_sha256=new)

    def read(root: Path, records: Sequence[ImageRecord]) -> Iterator[Pixels]:
        places = {r.path: i for i, r in enumerate(beside.records)}
        for record in records:
            if record.path in places:
                yield from beside.pixels([places[record.path]])
            else:
                (pixels,) = data.pixels([int(Path(record.path).stem)])
                yield np.minimum(pixels, 254) + np.uint8(1)

    records = (*(changed(i) for i in rows), *beside.records)
    return replace(beside, records=records, exclusions=(), inputs=len(records), reader=read)


def test_near_copies_of_training_images_are_left_out(run: Path, data: Manifest, tmp_path: Path) -> None:
    trained = load_split(run / "split.json", data).rows(data, "train")[:6].tolist()
    again = brighter(data, trained, beside=load("phantom:patients=16,slices=1,size_px=48,seed=9"))
    plain = study(run, again, out=tmp_path / "x", command="c", methods=["grad-cam"])
    assert plain["data"]["n"] == len(again)
    content = study(run, again, out=tmp_path / "y", command="c", methods=["grad-cam"], trained_on=data)
    left = content["data"]["left_out"]["copies or likely patients of the run's training images"]
    assert left >= 6
    assert content["data"]["n"] == len(again) - left
    assert not {entry["path"] for entry in content["gallery"]} & {r.path for r in again.records[:6]}
    with pytest.raises(UsageError, match="what the run was trained on"):
        study(run, data, out=tmp_path / "z", command="c", methods=["grad-cam"], trained_on=data)


def test_without_boxes_there_is_nothing_to_score(run: Path, data: Manifest, tmp_path: Path) -> None:
    bare = replace(data, records=tuple(replace(r, boxes=()) for r in data.records))
    with pytest.raises(DataError, match="has a box round a lesion"):
        study(run, bare, out=tmp_path / "y", command="c", methods=["grad-cam"])


def test_an_image_is_explained_with_its_check(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "scan 1.png"
    picture = np.random.default_rng(0).integers(0, 256, (60, 90), dtype=np.uint8)
    Image.fromarray(picture).save(path)
    predictor = Predictor.load(run)
    (one,) = explain(predictor, [path], target="glioma")
    assert one.heat.shape == (60, 90)
    assert one.heat.dtype == np.float32
    assert one.target == "glioma"
    assert one.likeness is not None
    assert -1 <= one.likeness <= 1
    assert f"{one.likeness:+.2f}" in one.sentence
    one.save(tmp_path / "a.npy")
    assert np.array_equal(np.load(tmp_path / "a.npy"), one.heat)
    beside = json.loads((tmp_path / "a.json").read_text())
    assert (beside["method"], beside["class"], beside["likeness_to_random_weights"]) == (
        one.method,
        "glioma",
        one.likeness,
    )
    assert "not the place of a lesion" in beside["caution"]
    with Image.open(one.save(tmp_path / "a.png")) as saved:
        assert saved.width == 360
        assert saved.height > 60 + 3 * 16
        assert "not the place of a lesion" in saved.text["Description"]  # type: ignore[attr-defined]  # PNG only
        assert "Sanity check" in saved.text  # type: ignore[attr-defined]  # Pillow's PNG has it
    plain = Image.open(one.save(tmp_path / "b.png", opacity=0.0))
    assert np.array_equal(np.asarray(plain.convert("L"))[:60, :90], picture)
    with pytest.raises(UsageError, match="cannot write a heatmap"):
        one.save(tmp_path / "a.txt")


def test_several_methods_of_one_decoding(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    for i, path in enumerate(paths):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (48, 48), dtype=np.uint8)).save(path)
    decoded: list[Path] = []

    def decode(path: Path) -> Decoded:
        decoded.append(path)
        return decode_file(path)

    monkeypatch.setattr(explain_module, "decode_file", decode)
    told: list[tuple[str, int, int]] = []
    predictor = Predictor.load(run)
    found = list(explain(predictor, paths, methods=["grad-cam", "occlusion"], progress=lambda *step: told.append(step)))
    assert decoded == paths
    assert [(one.path, one.method) for one in found] == [(p, m) for p in paths for m in ("grad-cam", "occlusion")]
    (first,) = explain(predictor, paths[:1], methods=["occlusion"])
    assert np.array_equal(first.heat, found[1].heat)
    steps = [done for what, done, _total in told if what == "0.png, occlusion"]
    assert len(steps) > 4
    assert steps == sorted(steps)
    assert ("0.png, occlusion", 200, 200) in told


def test_a_flat_map_is_not_checked(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "flat.png"
    Image.fromarray(np.zeros((48, 48), dtype=np.uint8)).save(path)
    monkeypatch.setattr(explain_module, "heatmaps", lambda *_a, **_k: np.zeros((1, 48, 48), dtype=np.float32))
    (one,) = explain(Predictor.load(run), [path])
    assert one.likeness is None
    assert "not checked: the map has no heat" in one.sentence
    assert one.account()["likeness_to_random_weights"] is None


def test_bad_questions(run: Path, tmp_path: Path) -> None:
    predictor = Predictor.load(run)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match="no class 'cyst'"):
        list(explain(predictor, [tmp_path / "a.png"], target="cyst"))
    with pytest.raises(DataError, match="cannot be read"):
        list(explain(predictor, [tmp_path / "a.png"]))
    with pytest.raises(UsageError):
        list(explain(predictor, [tmp_path / "a.png"], methods=["tea-leaves"]))
