from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.images import encode, noise, write
from tumorscope.core.errors import DataError
from tumorscope.core.types import Box
from tumorscope.data.load import load
from tumorscope.data.manifest import Manifest
from tumorscope.data.sources.data_yaml import read_names


def scan(root: Path, part: str, label: str, name: str, text: str | None) -> None:
    """One image and, unless None, its label file in the layout with class folders."""
    folder = root / part / label if part else root / label
    write(folder / "images" / f"{name}.png")
    (folder / "labels").mkdir(exist_ok=True)
    if text is not None:
        write(folder / "labels" / f"{name}.txt", text.encode())


def found(manifest: Manifest) -> dict[str, tuple[str, ...]]:
    return {f.code: f.paths for f in manifest.findings}


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Two classes, every box right."""
    for part in ("Train", "Val"):
        for number, label in enumerate(("Glioma", "No Tumor")):
            for name in ("1", "2", "3"):
                scan(tmp_path, part, label, f"{label[:1]}{name}", f"{number} 0.5 0.5 0.25 0.2\n")
    return tmp_path


def test_class_folders_with_boxes(classes: Path) -> None:
    data = load(classes)
    assert data.layout == "yolo-boxes"
    assert data.classes == ("Glioma", "No Tumor")
    assert data.summary == "2 classes with boxes in Train/Val, Val is the test part, 12 images"
    assert data.inputs == 12
    assert list(found(data)) == ["DATA006"]
    assert data.records[0].boxes == (Box("Glioma", 0.5, 0.5, 0.25, 0.2),)
    assert data.counts() == {"train": {"Glioma": 3, "No Tumor": 3}, "test": {"Glioma": 3, "No Tumor": 3}}


def test_class_folders_without_parts(tmp_path: Path) -> None:
    scan(tmp_path, "", "a", "1", "0 .5 .5 .2 .2")
    scan(tmp_path, "", "b", "2", "1 .5 .5 .2 .2")
    data = load(tmp_path)
    assert data.layout == "yolo-boxes"
    assert [r.split for r in data.records] == [None, None]


FAULTS = {
    "DATA010": None,
    "DATA011": " \n",
    "DATA013": "1 .5 .5 .2 .2",
    "DATA014": "0 .5 .5 .2 .2\n1 .2 .2 .1 .1",
    "DATA015": "0 .95 .5 .2 .2",
    "DATA016": "0 .5 .5 .2",
    "DATA017": "0 .5 .5 0 .2",
}


@pytest.mark.parametrize("code", FAULTS)
def test_each_disagreement_is_a_finding_and_the_image_stays(classes: Path, code: str) -> None:
    scan(classes, "Train", "Glioma", "odd", FAULTS[code])
    data = load(classes)
    kind, suffix = ("images", "png") if FAULTS[code] is None else ("labels", "txt")
    assert found(data)[code] == (f"Train/Glioma/{kind}/odd.{suffix}",)
    assert set(found(data)) == {"DATA006", code}
    odd = next(r for r in data.records if r.path == "Train/Glioma/images/odd.png")
    assert odd.label == "Glioma"
    assert len(odd.boxes) == {"DATA013": 1, "DATA014": 2, "DATA015": 1}.get(code, 0)
    assert data.inputs == len(data) == 13


@pytest.mark.parametrize(
    "line", ["x .5 .5 .2 .2", "0 a b c d", "0 .5 .5 nan .2", "7 .5 .5 .2 .2", "0 .5 .5 .2 .2 .9", "\ufffd"]
)
def test_malformed_lines_are_left_out_and_the_others_kept(classes: Path, line: str) -> None:
    scan(classes, "Train", "Glioma", "odd", f"0 .5 .5 .2 .2\n{line}\n")
    data = load(classes)
    assert found(data)["DATA016"] == ("Train/Glioma/labels/odd.txt",)
    odd = next(r for r in data.records if r.path.endswith("odd.png"))
    assert odd.boxes == (Box("Glioma", 0.5, 0.5, 0.2, 0.2),)


def test_rounding_at_the_border_is_no_fault(classes: Path) -> None:
    scan(classes, "Train", "Glioma", "edge", "0 0.5 0.5 1.000001 1")
    assert "DATA015" not in found(load(classes))


def test_orphans_and_other_files(classes: Path) -> None:
    write(classes / "Val/Glioma/labels/gone.txt", b"0 .5 .5 .2 .2")
    write(classes / "Val/Glioma/labels/classes.txt", b"Glioma\nNo Tumor")
    write(classes / "Val/Glioma/labels/.ipynb_checkpoints/x.txt", b"0 .5 .5 .2 .2")
    write(classes / "Val/Glioma/beside.png")
    write(classes / "Val/Glioma/images/.hidden.png")
    data = load(classes)
    assert found(data)["DATA012"] == ("Val/Glioma/labels/gone.txt",)
    assert found(data)["DATA010"] == ("Val/Glioma/beside.png",)
    assert [(e.path, e.reason) for e in data.exclusions] == [("Val/Glioma/images/.hidden.png", "hidden")]
    assert data.inputs == 14


def test_class_folder_without_boxes_is_still_read(classes: Path) -> None:
    write(classes / "Train/Other/1.png")
    data = load(classes, label_names={0: "Glioma", 1: "No Tumor"})
    assert data.classes == ("Glioma", "No Tumor", "Other")
    assert found(data)["DATA010"] == ("Train/Other/1.png",)


def test_numbers_that_do_not_follow_the_folders_are_refused(tmp_path: Path) -> None:
    for number, label in enumerate(("zebra", "ant")):
        for name in "123":
            scan(tmp_path, "Train", label, name, f"{number} .5 .5 .2 .2")
    with pytest.raises(DataError, match="class number 0 should be 'ant' by the order of the folders, but 3 of its 3"):
        load(tmp_path)
    data = load(tmp_path, label_names={0: "zebra", 1: "ant"})
    assert all(box.label == record.label for record in data.records for box in record.boxes)
    write(tmp_path / "data.yaml", b"names: [Zebra, ANT]\n")
    data = load(tmp_path)
    assert all(box.label == record.label for record in data.records for box in record.boxes)
    with pytest.raises(DataError, match="label_names"):
        load(tmp_path, label_names={0: "ant", 1: "zebra"})


@pytest.mark.parametrize("style", ["images/train", "train/images"])
def test_detection_layouts(tmp_path: Path, style: str) -> None:
    def place(part: str, kind: str) -> Path:
        return tmp_path / style.replace("train", part).replace("images", kind)

    for part in ("train", "val"):
        write(place(part, "images") / "a.jpg", encode(noise(1), "JPEG"))
        write(place(part, "labels") / "a.txt", b"0 .5 .5 .2 .2\n0 .3 .3 .1 .1")
        write(place(part, "images") / "sub" / "b.png")
        write(place(part, "labels") / "sub" / "b.txt", b"1 .5 .5 .2 .2")
    write(place("train", "images") / "mixed.png")
    write(place("train", "labels") / "mixed.txt", b"0 .5 .5 .2 .2\n1 .3 .3 .1 .1")
    write(place("train", "images") / "background.png")
    write(place("train", "labels") / "background.txt", b"")
    write(place("train", "images") / "unlabelled.png")
    with pytest.raises(DataError, match="class numbers of the boxes have no names"):
        load(tmp_path)
    write(tmp_path / "data.yaml", b"nc: 2\nnames: ['glioma', \"no\"]\n")
    data = load(tmp_path)
    assert data.classes == ("glioma", "no")
    assert data.positive == "glioma"
    assert data.counts() == {"train": {"glioma": 1, "no": 1}, "test": {"glioma": 1, "no": 1}}
    assert data.summary.startswith("2 classes with boxes in train/val, val is the test part, 4 images")
    reasons = {Path(e.path).name: (e.reason, e.detail) for e in data.exclusions}
    assert reasons == {
        "mixed.png": ("no-label", "boxes of several classes: glioma, no"),
        "background.png": ("no-label", "no usable box"),
        "unlabelled.png": ("no-label", "no usable box"),
    }
    assert data.inputs == 7
    assert {"DATA001", "DATA006", "DATA010", "DATA011", "DATA014"} == set(found(data))


def test_flat_detection_layout(tmp_path: Path) -> None:
    write(tmp_path / "images/a.png")
    write(tmp_path / "labels/a.txt", b"0 .5 .5 .2 .2")
    write(tmp_path / "images/b.png")
    write(tmp_path / "labels/b.txt", b"1 .5 .5 .2 .2")
    data = load(tmp_path, label_names={0: "x", 1: "y"})
    assert [(r.label, r.split) for r in data.records] == [("x", None), ("y", None)]


@pytest.mark.parametrize(
    "text",
    [
        "names: [no, 'yes # one']",
        "path: ../x\nnames:\n  - no\n  - 'yes # one'  # comment\nnc: 2",
        'names:\n- no\n- "yes # one"\n',
        "names:\n  0: no\n  1: 'yes # one'\n\ntrain: images/train",
        "names: {0: no, 1: 'yes # one'}",
        "nc: 2\nnames: [no,\n        'yes # one']\nroboflow:\n  version: 2",
    ],
)
def test_names_in_yaml(tmp_path: Path, text: str) -> None:
    assert read_names(write(tmp_path / "data.yaml", text.encode())) == {0: "no", 1: "yes # one"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("nc: 2", "no line `names:`"),
        ("names: glioma", "neither a list nor a mapping"),
        ("names: [a, b", "no closing ]"),
        ("names: [a, a]", "same name"),
        ("names: {1: a, 2: b}", "class numbers are [1, 2]"),
        ("names:\n  x: a", "not `number: name`"),
        ("names: []", "class numbers are []"),
        ("names: [!!python/object a]", "not plain text"),
        ("names: ['']", "empty"),
        ("names: \xff", "cannot be read"),
    ],
)
def test_other_yaml_is_refused(tmp_path: Path, text: str, found: str) -> None:
    with pytest.raises(DataError) as caught:
        read_names(write(tmp_path / "data.yaml", text.encode("latin-1")))
    assert found in str(caught.value)
