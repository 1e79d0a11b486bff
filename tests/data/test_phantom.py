"""The embedded phantom set: same bytes, clean splits, planted faults that are really there."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tumorscope.core.errors import DataError, UsageError
from tumorscope.core.types import SPLITS, Pixels
from tumorscope.data.phantom import (
    CLASSES,
    PhantomImage,
    PhantomSet,
    PhantomSpec,
    generate,
    load_phantom,
    parse_spec,
    write_phantom,
)
from tumorscope.data.phantom.anatomy import SELLA, cranial_depth
from tumorscope.data.phantom.fields import Points
from tumorscope.data.phantom.lesions import draw_lesion
from tumorscope.data.phantom.scanner import CONTRASTS, PLANES, draw_scanner, offset_through, slice_points
from tumorscope.data.phantom.spec import SPLIT_CYCLE

SMALL = PhantomSpec(patients=16, slices=2, size_px=64, seed=3)
PLANTED = PhantomSpec(
    patients=24,
    slices=2,
    size_px=48,
    seed=5,
    duplicates=0.25,
    mirrored=0.25,
    flipped_labels=0.1,
    shortcut=0.5,
)


@pytest.fixture(scope="module")
def small() -> PhantomSet:
    return generate(SMALL)


@pytest.fixture(scope="module")
def planted() -> PhantomSet:
    return generate(PLANTED)


@pytest.fixture(scope="module")
def clean() -> dict[str, PhantomImage]:
    """The planted set without its faults."""
    spec = PhantomSpec(PLANTED.patients, PLANTED.slices, PLANTED.size_px, PLANTED.seed)
    return {i.path: i for i in generate(spec).items}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom(PLANTED, tmp_path_factory.mktemp("phantom") / "set")


def test_the_same_spec_gives_the_same_pixels_and_another_seed_others(small: PhantomSet) -> None:
    again = generate(SMALL)
    assert all(np.array_equal(a, b) for a, b in zip(small.images, again.images, strict=True))
    assert small.boxes == again.boxes
    other = generate(PhantomSpec(patients=16, slices=2, size_px=64, seed=4))
    assert not any(np.array_equal(a, b) for a, b in zip(small.images, other.images, strict=True))


def test_more_patients_leave_the_first_ones_as_they_are(small: PhantomSet) -> None:
    more = {i.path: i for i in generate(PhantomSpec(patients=18, slices=2, size_px=64, seed=3)).items}
    assert len(more) == len(small.items) + 4
    for item in small.items:
        other = more[item.path]
        assert np.array_equal(item.pixels, other.pixels)
        assert (item.label, item.split, item.patient, item.boxes) == (
            other.label,
            other.split,
            other.patient,
            other.boxes,
        )


def test_the_smallest_set_has_every_class_in_every_split() -> None:
    items = generate(PhantomSpec(patients=12, slices=1, size_px=48)).items
    assert Counter((i.split, i.label) for i in items) == {(s, c): 1 for s in SPLITS for c in CLASSES}


def test_splits_are_60_15_25_in_every_twenty_patients_of_a_class() -> None:
    assert Counter(SPLIT_CYCLE) == {"train": 12, "val": 3, "test": 5}
    for n in range(10, 20):
        assert abs(SPLIT_CYCLE[:n].count("test") / n - 0.25) < 0.1


def test_classes_are_balanced(small: PhantomSet) -> None:
    assert Counter(small.labels) == dict.fromkeys(CLASSES, 8)


def test_a_patient_has_one_split_and_one_class(small: PhantomSet, planted: PhantomSet) -> None:
    for phantom in (small, planted):
        seen: dict[str, set[str]] = {}
        for item in phantom.items:
            seen.setdefault(item.patient, set()).add(item.split)
        assert all(len(splits) == 1 for splits in seen.values())
    labels: dict[str, set[str]] = {}
    for item in small.items:
        labels.setdefault(item.patient, set()).add(item.label)
    assert all(len(v) == 1 for v in labels.values())


def test_slices_of_one_patient_are_neighbours(small: PhantomSet) -> None:
    """Slices of one head correlate more than pictures of two heads, yet are not copies."""
    flat = {i.path: i.pixels.astype(float).ravel() for i in small.items}
    own, other = [], []
    for patient in range(1, 17):
        a, b = flat[f"images/p{patient:03d}_s0.png"], flat[f"images/p{patient:03d}_s1.png"]
        own.append(np.corrcoef(a, b)[0, 1])
        other.append(np.corrcoef(a, flat[f"images/p{patient % 16 + 1:03d}_s1.png"])[0, 1])
    assert np.median(own) > np.median(other) + 0.1
    assert max(own) < 0.9999


def test_boxes_hold_the_tumour_and_touch_it_on_every_side(small: PhantomSet) -> None:
    for item in small.items:
        if item.label == "notumor":
            assert item.boxes == ()
            assert not item.mask.any()
            continue
        (box,) = item.boxes
        assert box.label == item.label
        inside = _box_pixels(item.mask.shape[0], box.cx, box.cy, box.w, box.h)
        assert item.mask.any()
        assert not (item.mask & ~inside).any()
        assert item.mask.sum() > 0.2 * inside.sum()


def test_tumours_are_seen_in_the_pixels() -> None:
    """In pictures with contrast agent, most tumours stand out from the rest of the head."""
    phantom = generate(PhantomSpec(patients=24, slices=1, size_px=64, seed=1))
    brighter = []
    for item in phantom.items:
        if item.mask.any():
            head = item.pixels[item.pixels > 40]
            brighter.append(float(item.pixels[item.mask].mean()) > float(np.median(head)))
    assert np.mean(brighter) > 0.7


def test_tumours_grow_where_they_should() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        glioma, meningioma, pituitary = (draw_lesion(rng, label=c) for c in ("glioma", "meningioma", "pituitary"))
        assert _depth(glioma.centre) > 0.75 * glioma.radius
        assert meningioma.anchor is not None
        gap = abs(meningioma.anchor[0]) if meningioma.midline else _depth(meningioma.anchor)
        assert abs(gap) < 0.06, meningioma.anchor
        assert np.linalg.norm(np.subtract(meningioma.centre, meningioma.anchor)) < 0.8 * meningioma.radius
        assert np.linalg.norm(np.subtract(pituitary.centre, SELLA)) < 0.15


def test_a_slice_goes_through_the_point_it_was_asked_for() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        scanner = draw_scanner(rng)
        centre = (0.2, -0.1, 0.15)
        points = slice_points(scanner, offset=offset_through(scanner, centre), size_px=64)
        squares = [(p - c) ** 2 for p, c in zip(points, centre, strict=True)]
        assert float(np.sum(squares, axis=0).min()) < 0.03**2


def test_every_contrast_and_plane_occurs() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_scanner(rng) for _ in range(400)]
    assert {s.contrast for s in drawn} == set(CONTRASTS)
    assert {s.plane for s in drawn} == set(PLANES)


def test_intensity_histograms_do_not_give_the_class_away() -> None:
    """The pictures must be read: a linear model on 32 grey-level bins stays below 0.55 (chance is 0.25)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    phantom = generate(PhantomSpec(patients=100, slices=2, size_px=64))
    bins = np.stack([np.bincount(i.ravel() >> 3, minlength=32) / i.size for i in phantom.images])
    labels, splits = np.array(phantom.labels), np.array(phantom.splits)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000))
    model.fit(bins[splits == "train"], labels[splits == "train"])
    assert model.score(bins[splits == "test"], labels[splits == "test"]) < 0.55


def test_planted_copies_are_in_training_and_equal(folder: Path, planted: PhantomSet) -> None:
    splits = dict(zip(planted.paths, planted.splits, strict=True))
    n_test = sum(s == "test" for s in planted.splits)
    assert Counter(p.kind for p in planted.truth.pairs) == {
        "byte-copy": round(0.25 * n_test),
        "mirrored": round(0.25 * n_test),
    }
    assert len({p.test for p in planted.truth.pairs}) == len(planted.truth.pairs)
    for pair in planted.truth.pairs:
        assert (splits[pair.test], splits[pair.train]) == ("test", "train")
        a, b = (folder / pair.test).read_bytes(), (folder / pair.train).read_bytes()
        if pair.kind == "byte-copy":
            assert a == b
        else:
            assert b[:2] == b"\xff\xd8"
            mirrored = _read(folder / pair.train)[:, ::-1]
            straight = np.corrcoef(_read(folder / pair.test).ravel(), mirrored.ravel())[0, 1]
            assert straight > 0.97


def test_planted_labels_are_listed_with_their_truth(planted: PhantomSet, clean: dict[str, PhantomImage]) -> None:
    wrong = {i.path: (clean[i.path].label, i.label) for i in planted.items if i.path in clean}
    wrong = {path: pair for path, pair in wrong.items() if pair[0] != pair[1]}
    assert wrong == {f.path: (f.true, f.given) for f in planted.truth.flipped}
    assert len(wrong) == round(0.1 * sum(i.split == "train" for i in clean.values()))
    for item in planted.items:
        assert all(b.label == item.label for b in item.boxes)


def test_the_shortcut_marks_one_class_and_nothing_else(planted: PhantomSet, clean: dict[str, PhantomImage]) -> None:
    changed = {i.path for i in planted.items if i.path in clean and not np.array_equal(i.pixels, clean[i.path].pixels)}
    assert changed == {p for p in planted.truth.shortcut_paths if p in clean}
    assert {clean[p].label for p in changed} == {planted.truth.shortcut_class}
    assert len(changed) == round(0.5 * 12)
    assert all(i.pixels[-12:, -12:].max() > 200 for i in planted.items if i.path in changed)


def test_a_set_without_faults_says_so(small: PhantomSet) -> None:
    assert small.truth.as_dict() == {
        "pairs": (),
        "flipped": (),
        "shortcut_class": None,
        "shortcut_paths": (),
    }


def test_the_folder_has_the_same_bytes_every_time(folder: Path, tmp_path: Path) -> None:
    again = write_phantom(PLANTED, tmp_path / "again")
    names = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    assert Counter(n.suffix for n in names) == {".png": 48 + 4, ".jpg": 4, ".csv": 1, ".json": 1}
    assert all((folder / n).read_bytes() == (again / n).read_bytes() for n in names)


def test_the_table_and_the_truth_say_what_was_generated(folder: Path, planted: PhantomSet) -> None:
    rows = list(csv.DictReader(io.StringIO((folder / "images.csv").read_text())))
    assert [r["path"] for r in rows] == list(planted.paths)
    assert [r["split"] for r in rows] == list(planted.splits)
    boxes = [json.loads(r["boxes"]) if r["boxes"] else [] for r in rows]
    assert boxes == [[[b.label, b.cx, b.cy, b.w, b.h] for b in item.boxes] for item in planted.items]
    truth = json.loads((folder / "truth.json").read_text())
    assert truth["pairs"] == [{"test": p.test, "train": p.train, "kind": p.kind} for p in planted.truth.pairs]
    assert truth["spec"]["patients"] == 24
    png = next(i for i in planted.items if i.path.endswith(".png"))
    assert np.array_equal(_read(folder / png.path), png.pixels)


def test_writing_leaves_what_is_there_alone(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="something already"):
        write_phantom(SMALL, tmp_path / "set")
    assert [p.name for p in tmp_path.rglob("*")] == ["set", "mine.txt"]


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(pixels: Pixels, *, path: str) -> bytes:
        raise OSError("disk full")

    monkeypatch.setattr("tumorscope.data.phantom.store.encode", broken)
    with pytest.raises(OSError, match="disk full"):
        write_phantom(PhantomSpec(patients=12, slices=1, size_px=48), tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_loading_generates_once_and_gives_a_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUMORSCOPE_CACHE", str(tmp_path))
    text = "phantom:patients=12,slices=2,size_px=48,duplicates=0.5"
    seen: list[tuple[int, int]] = []
    manifest = load_phantom(text, progress=lambda done, total: seen.append((done, total)))
    assert (12, 12) in seen
    assert (manifest.layout, manifest.positive, manifest.classes) == ("phantom", None, CLASSES)
    assert manifest.has_official_split
    assert len(manifest) == 24 + 4
    assert not manifest.exclusions
    assert manifest.info.licence == "generated, Apache-2.0"
    assert manifest.info.modality == "synthetic head MRI"
    assert {len(r.boxes) for r in manifest.records if r.label != "notumor"} == {1}
    stamp = (manifest.root / "images.csv").stat().st_mtime_ns
    again = load_phantom(text)
    assert again.sha256 == manifest.sha256
    assert (manifest.root / "images.csv").stat().st_mtime_ns == stamp
    pixels = next(iter(manifest.pixels([0])))
    assert pixels.shape == (48, 48)
    assert pixels.dtype == np.uint8


def test_specs_are_read() -> None:
    assert parse_spec("phantom") == parse_spec("phantom:") == PhantomSpec()
    assert parse_spec(" phantom: patients=40, seed=1 ,flipped_labels=0.05") == PhantomSpec(
        patients=40, seed=1, flipped_labels=0.05
    )
    hashes = {parse_spec(t).sha256 for t in ("phantom", "phantom:seed=1", "phantom:duplicates=0.1")}
    assert len(hashes) == 3
    assert parse_spec("phantom:duplicates=1").sha256 == parse_spec("phantom:duplicates=1.0").sha256


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("phantom:patient=40", "did you mean 'patients'?"),
        ("phantom:flipped=0.1", "did you mean 'flipped_labels'?"),
        ("phantom:patients=many", "whole number"),
        ("phantom:patients=40.5", "whole number"),
        ("phantom:patients=4", "from 12 to"),
        ("phantom:seed=-1", "from 0 to"),
        ("phantom:size_px=0", "from 48 to 512"),
        ("phantom:duplicates=1.5", "a share from 0.0 to 1.0"),
        ("phantom:duplicates=nan", "a share"),
        ("phantom:flipped_labels=0.9", "0.5"),
        ("phantom:duplicates=0.6,mirrored=0.6", "more than 1"),
        ("phantom:seed", "without a value"),
        ("phantom:seed=1,seed=2", "given twice"),
        ("phantoms:seed=1", "not a phantom"),
    ],
)
def test_wrong_specs_name_what_is_wrong(text: str, part: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_spec(text)
    assert part in str(caught.value)


def test_a_flag_is_no_number() -> None:
    with pytest.raises(UsageError, match="patients is True"):
        PhantomSpec(patients=True)


def _depth(at: tuple[float, float, float]) -> float:
    x, y, z = (np.array([v], np.float32) for v in at)
    return float(cranial_depth(Points(x, y, z))[0])


def _read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)


def _box_pixels(size: int, cx: float, cy: float, w: float, h: float) -> NDArray[np.bool_]:
    mask = np.zeros((size, size), dtype=bool)
    top, bottom = round((cy - h / 2) * size), round((cy + h / 2) * size)
    left, right = round((cx - w / 2) * size), round((cx + w / 2) * size)
    mask[top:bottom, left:right] = True
    return mask
