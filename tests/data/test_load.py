from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.data.images import write
from tumorscope.core.errors import DataError
from tumorscope.core.types import EXCLUSION_REASONS
from tumorscope.data.load import LAYOUTS, SOURCES, load
from tumorscope.data.sources.codes import CODES


def sample(root: Path, name: str) -> Path:
    """A small set in each layout."""
    root.mkdir(parents=True)
    if name == "class-folders":
        for path in ("train/x/1.png", "train/y/2.png", "test/x/3.png", "test/y/4.png"):
            write(root / path)
    elif name == "yolo-boxes":
        for part in ("train", "test"):
            for number, label in enumerate("xy"):
                write(root / part / label / "images" / "1.png")
                write(root / part / label / "labels" / "1.txt", f"{number} .5 .5 .2 .2".encode())
    elif name == "table":
        for number in range(4):
            write(root / f"{number}.png")
        rows = [f"{n}.png,{'xy'[n % 2]},{'train' if n < 2 else 'test'}" for n in range(4)]
        write(root / "images.csv", "\n".join(["path,label,split", *rows]).encode())
    elif name == "medmnist":
        rng = np.random.default_rng(0)
        images = {f"{s}_images": rng.integers(0, 256, (2, 28, 28), np.uint8) for s in ("train", "val", "test")}
        labels = {f"{s}_labels": np.array([[0], [1]]) for s in ("train", "val", "test")}
        np.savez(root / "breastmnist.npz", **images, **labels)  # type: ignore[arg-type]  # names of arrays
    return root


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_contract_of_every_source(tmp_path: Path, source: object) -> None:
    name = str(getattr(source, "name", ""))
    root = sample(tmp_path / "data", name)
    assert next(s.name for s in SOURCES if s.recognise(root)) == name
    calls: list[tuple[int, int]] = []
    data = load(root, progress=lambda done, total: calls.append((done, total)))
    assert data.layout == name
    assert data.root.is_absolute()
    assert len(data.classes) == 2
    assert data.has_official_split
    assert data.inputs == len(data) + len(data.exclusions)
    assert calls[-1] == (len(data), len(data))
    assert "official split" in data.summary or "split column" in data.summary
    assert "\n" not in data.summary
    assert data.info.name
    assert {f.code for f in data.findings} <= set(CODES)
    for finding in data.findings:
        known = CODES[finding.code]
        assert (finding.title, finding.severity) == (known.title, known.severity)
        assert finding.detail.endswith(".")
    for record, pixels in zip(data.records, data.pixels(), strict=True):
        assert pixels.dtype == np.uint8
        assert pixels.shape[:2] == (record.height_px, record.width_px)
        assert (pixels.ndim == 2) == record.gray
        assert len(record.sha256) == len(record.pixels_sha256) == 64
    assert load(root) == data
    assert load(root, use_index=False) == data
    moved = tmp_path / "elsewhere" / "data"
    shutil.copytree(root, moved)
    assert load(moved).sha256 == data.sha256
    with pytest.raises(DataError, match="positive class 'nothing'"):
        load(root, positive="nothing")
    with pytest.raises(DataError, match="label_names"):
        load(root, label_names={0: "wrong", 1: "names"}) if name != "yolo-boxes" else load(
            write(root / "data.yaml", b"names: [x, y]").parent, label_names={0: "y", 1: "x"}
        )
    assert source.title in LAYOUTS  # type: ignore[attr-defined]  # of folder sources


def test_codes_are_unique_and_complete() -> None:
    from tumorscope.data.sources import codes

    declared = [value for value in vars(codes).values() if isinstance(value, codes.Code)]
    assert sorted(c.code for c in declared) == sorted(CODES)
    assert all(
        code.title.endswith(".") and not any(c.isdigit() for c in code.title.replace("8-bit", "")) for code in declared
    )


def test_unrecognised_folder_says_what_is_there(tmp_path: Path) -> None:
    write(tmp_path / "data/1.png")
    write(tmp_path / "data/2.png")
    write(tmp_path / "data/notes.txt", b"x")
    (tmp_path / "data/empty").mkdir()
    with pytest.raises(DataError) as caught:
        load(tmp_path / "data")
    text = str(caught.value)
    assert "1 folders ('empty') and 3 files (2 .png, 1 .txt)" in text
    assert all(source.title in text for source in SOURCES)
    with pytest.raises(DataError, match=r"a file named '1.png'"):
        load(tmp_path / "data/1.png")


def test_nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="did you mean breastmnist"):
        load("brestmnist")
    with pytest.raises(DataError, match="did you mean phantom"):
        load("fantom")
    with pytest.raises(DataError, match="an empty path"):
        load("")
    with pytest.raises(DataError, match="nothing at"):
        load(tmp_path / "no such folder")


def test_home_is_expanded_and_text_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    sample(tmp_path / "data", "class-folders")
    assert len(load("~/data")) == 4
    monkeypatch.chdir(tmp_path)
    data = load("data")
    monkeypatch.chdir("/")
    assert len(list(data.pixels())) == 4


def test_folder_before_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sample(tmp_path / "breastmnist", "class-folders")
    assert load("breastmnist").layout == "class-folders"


def test_fetched_name_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUMORSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    sample(tmp_path / "cache" / "datasets", "medmnist")
    assert load("breastmnist").classes == ("malignant", "normal, benign")


def test_import_is_light() -> None:
    heavy = ("torch", "pyarrow", "scipy", "ssl")
    code = f"import sys, tumorscope.data.load; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.real
def test_brain_mri_4class(real_data: Path) -> None:
    data = load(real_data / "brain-mri-4class")
    assert data.summary == "4 classes in Training/Testing, official split, 7,019 images, 1 excluded"
    assert data.classes == ("glioma", "meningioma", "notumor", "pituitary")
    assert (len(data), data.inputs) == (7019, 7020)
    assert data.exclusions[0].path == "Testing/meningioma/.ipynb_checkpoints/Te-me_0011-checkpoint.jpg"
    assert data.exclusions[0].reason == "hidden"
    assert {s: sum(c.values()) for s, c in data.counts().items()} == {"train": 5708, "test": 1311}
    train = {r.sha256 for r in data.records if r.split == "train"}
    assert sum(r.sha256 in train for r in data.records if r.split == "test") == 216


@pytest.mark.real
def test_brain_mri_yesno(real_data: Path) -> None:
    data = load(real_data / "brain-mri-yesno")
    assert data.counts() == {"all": {"no": 98, "yes": 155}}
    assert data.positive == "yes"
    assert data.exclusions == ()
    assert len({r.sha256 for r in data.records}) == 228
    assert Counter(r.mode for r in data.records) == {"RGB": 217, "L": 30, "RGBA": 5, "P": 1}
    assert {f.code: f.count for f in data.findings} == {"DATA002": 6, "DATA003": 1}


@pytest.mark.real
def test_brain_mri_boxes(real_data: Path) -> None:
    data = load(real_data / "brain-mri-boxes")
    assert {s: sum(c.values()) for s, c in data.counts().items()} == {"train": 4737, "test": 512}
    assert data.inputs == len(data) == 5249
    found = {f.code: f.count for f in data.findings}
    assert found == {
        "DATA002": 4,
        "DATA006": 1,
        "DATA010": 2,  # Val/No Tumor images without labels
        "DATA011": 1,  # empty label file
        "DATA012": 2,  # labels without images
        "DATA013": 15,  # every box of another class than the folder
        "DATA014": 257,  # several classes in one file
    }
    train = {r.sha256 for r in data.records if r.split == "train"}
    assert sum(r.sha256 in train for r in data.records if r.split == "test") == 219


@pytest.mark.real
def test_breastmnist(real_data: Path) -> None:
    data = load(real_data / "breastmnist")
    assert {s: sum(c.values()) for s, c in data.counts().items()} == {"train": 546, "val": 78, "test": 156}
    assert data.counts()["test"] == {"malignant": 42, "normal, benign": 114}
    assert data.positive == "malignant"
    assert [f.code for f in data.findings] == ["DATA020"]
    assert all(e.reason in EXCLUSION_REASONS for e in data.exclusions)
    with pytest.raises(DataError, match="contradict BreastMNIST"):
        load(real_data / "breastmnist", label_names={0: "benign", 1: "malignant"})


def test_phantom_is_reached_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = load(sample(tmp_path / "data", "table"))
    asked: list[str] = []

    def load_phantom(spec: str, *, progress: object) -> object:
        asked.append(spec)
        return made

    monkeypatch.setattr("tumorscope.data.phantom.load_phantom", load_phantom)
    assert load("phantom") == made
    assert load("phantom:seed=3", positive="y").positive == "y"
    assert asked == ["phantom", "phantom:seed=3"]
    with pytest.raises(DataError, match="label_names"):
        load("phantom", label_names={0: "x"})
    with pytest.raises(DataError, match="positive class 'z'"):
        load("phantom", positive="z")
