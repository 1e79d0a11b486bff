from __future__ import annotations

import importlib.util
import pickle
import runpy
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.data.images import write
from tumorscope.core.errors import DataError
from tumorscope.core.types import SPLITS
from tumorscope.data.load import load
from tumorscope.data.medmnist_catalogue import catalogue
from tumorscope.data.sources import medmnist, npz
from tumorscope.imaging.decode import pixels_sha256

Arrays = dict[str, NDArray[Any]]


def arrays(*, counts: tuple[int, int, int] = (6, 3, 4), size: int = 28, channels: int = 0, classes: int = 2) -> Arrays:
    rng = np.random.default_rng(8)
    found: Arrays = {}
    for split, count in zip(SPLITS, counts, strict=True):
        shape = (count, size, size, channels) if channels else (count, size, size)
        found[f"{split}_images"] = rng.integers(0, 256, shape, dtype=np.uint8)
        found[f"{split}_labels"] = (np.arange(count) % classes).astype(np.uint8)[:, None]
    return found


def save(path: Path, content: Arrays, *, packed: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (np.savez_compressed if packed else np.savez)(path, **content)  # type: ignore[arg-type]  # names of arrays
    return path


def test_catalogue_is_that_of_the_package() -> None:
    package = importlib.util.find_spec("medmnist")
    assert package is not None
    assert package.origin is not None
    info = runpy.run_path(str(Path(package.origin).with_name("info.py")))  # without importing torch
    flat = {flag: row for flag, row in info["INFO"].items() if not flag.endswith("3d")}
    assert set(catalogue()) == set(flat)
    for flag, row in flat.items():
        entry = catalogue()[flag]
        assert entry.title == row["python_class"]
        assert entry.task == row["task"]
        assert entry.channels == row["n_channels"]
        assert dict(enumerate(entry.labels)) == {int(k): v for k, v in row["label"].items()}
        assert entry.licence == row["license"]
        assert dict(entry.images) == row["n_samples"]
        for size in (28, 64, 128, 224):
            ending = "" if size == 28 else f"_{size}"
            assert entry.md5[size] == row[f"MD5{ending}"]
            assert entry.url(size) == row[f"url{ending}"]
        assert entry.one_label == (flag != "chestmnist")
        assert (entry.positive is not None) == (row["task"] == "binary-class")
        assert entry.positive is None or entry.positive in entry.labels
        assert entry.modality


def test_breastmnist_is_ultrasound_and_zero_is_malignant(tmp_path: Path) -> None:
    content = arrays()
    data = load(save(tmp_path / "breastmnist.npz", content))
    assert data.classes == ("malignant", "normal, benign")
    assert data.positive == "malignant"
    assert data.info.modality == "breast ultrasound"
    assert data.info.licence == "CC BY 4.0"
    assert data.summary == "BreastMNIST (breast ultrasound) 28x28, 2 classes, official split, 13 images"
    assert [r.label for r in data.records[:2]] == ["malignant", "normal, benign"]
    assert data.targets.tolist() == [int(v) for s in SPLITS for v in content[f"{s}_labels"].ravel()]
    assert data.records[0].path == "breastmnist.npz#train/0"
    assert data.records[-1].path == "breastmnist.npz#test/3"
    assert data.records[0].split == "train"
    assert {f.code for f in data.findings} == {"DATA020", "DATA021"}
    assert data.has_official_split


@pytest.mark.parametrize("labels", [{0: "benign", 1: "malignant"}, {0: "malignant", 1: "benign"}, {0: "malignant"}])
def test_wrong_label_names_are_an_error(tmp_path: Path, labels: dict[int, str]) -> None:
    path = save(tmp_path / "breastmnist.npz", arrays())
    with pytest.raises(DataError, match=r"contradict BreastMNIST\n.*\{0: 'malignant', 1: 'normal, benign'\}"):
        load(path, label_names=labels)
    assert load(path, label_names={0: "malignant", 1: "normal, benign"}).positive == "malignant"


def test_wrong_positive_is_an_error(tmp_path: Path) -> None:
    path = save(tmp_path / "breastmnist.npz", arrays())
    assert load(path, positive="malignant").positive == "malignant"
    with pytest.raises(DataError, match="contradicts BreastMNIST"):
        load(path, positive="normal, benign")
    several = save(tmp_path / "bloodmnist.npz", arrays(channels=3, classes=8))
    assert load(several).positive is None
    with pytest.raises(DataError, match="given for 8 classes"):
        load(several, positive="platelet")


def test_pixels_come_back_in_any_order(tmp_path: Path) -> None:
    content = arrays()
    data = load(save(tmp_path / "breastmnist.npz", content))
    whole = list(data.pixels())
    np.testing.assert_array_equal(np.stack(whole[:6]), content["train_images"])
    np.testing.assert_array_equal(
        np.stack(list(data.pixels([12, 0, 7, 7, 1]))), np.stack([whole[i] for i in (12, 0, 7, 7, 1)])
    )
    assert data.records[3].sha256 == data.records[3].pixels_sha256 == pixels_sha256(content["train_images"][3])


@pytest.mark.parametrize("packed", [True, False])
def test_large_arrays_are_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    content = arrays(channels=3, classes=8, size=64)
    data = load(save(tmp_path / "bloodmnist_64.npz", content, packed=packed))
    monkeypatch.setattr(npz, "SMALL_BYTES", 0)

    def never(*_: object) -> None:
        raise AssertionError("read whole")

    monkeypatch.setattr(npz, "whole", never)
    expected = np.concatenate([content[f"{s}_images"] for s in SPLITS])
    np.testing.assert_array_equal(np.stack(list(data.pixels())), expected)
    np.testing.assert_array_equal(np.stack(list(data.pixels([5, 2, 3, 12, 0]))), expected[[5, 2, 3, 12, 0]])
    assert data.records[0].width_px == 64
    assert data.records[0].mode == "RGB"


def test_colourless_picture_in_a_colour_set_is_gray(tmp_path: Path) -> None:
    content = arrays(channels=3, classes=8)
    content["train_images"][2] = content["train_images"][2][..., :1]
    data = load(save(tmp_path / "bloodmnist.npz", content))
    assert [r.gray for r in data.records[:4]] == [False, False, True, False]
    assert next(iter(data.pixels([2]))).shape == (28, 28)
    assert data.records[2].pixels_sha256 == pixels_sha256(content["train_images"][2][..., 0])


def test_flat_labels_and_one_channel(tmp_path: Path) -> None:
    content = arrays(channels=1)
    content["train_labels"] = content["train_labels"].ravel().astype(np.float64)
    data = load(save(tmp_path / "pneumoniamnist.npz", content))
    assert data.positive == "pneumonia"
    assert next(iter(data.pixels([0]))).shape == (28, 28)


def test_folder_with_the_file(tmp_path: Path) -> None:
    save(tmp_path / "breastmnist.npz", arrays())
    assert load(tmp_path).layout == "medmnist"
    save(tmp_path / "breastmnist_64.npz", arrays(size=64))
    with pytest.raises(DataError, match=r"2 array files: breastmnist.npz, breastmnist_64.npz"):
        load(tmp_path)
    assert load(tmp_path / "breastmnist_64.npz").records[0].width_px == 64


def test_unknown_file_needs_label_names(tmp_path: Path) -> None:
    path = save(tmp_path / "ours.npz", arrays())
    with pytest.raises(DataError, match=r"not in the catalogue; its labels are the numbers \[0, 1\]"):
        load(path)
    data = load(path, label_names={1: "tumor", 0: "healthy"})
    assert data.classes == ("healthy", "tumor")
    assert data.positive == "tumor"
    assert data.findings == ()
    with pytest.raises(DataError, match="not in the catalogue"):
        load(path, label_names={1: "tumor", 2: "healthy"})


def change(key: str, value: Any) -> Any:
    return lambda content: content.__setitem__(key, value)


def nan_labels(content: Arrays) -> None:
    content["val_labels"] = content["val_labels"].astype(float)
    content["val_labels"][1] = np.nan


def out_of_range(content: Arrays) -> None:
    content["test_labels"] = content["test_labels"].astype(np.int64)
    content["test_labels"][2] = -100


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda c: c.pop("val_labels"), "arrays val_labels are missing"),
        (change("train_images", np.zeros((6, 28, 28), np.float32)), "train_images is float32"),
        (change("train_images", np.zeros((6, 28, 28, 2), np.uint8)), "train_images has shape (6, 28, 28, 2)"),
        (change("train_images", np.zeros((6, 28, 28, 28, 1), np.uint8)), "has shape (6, 28, 28, 28, 1)"),
        (change("train_images", np.zeros((6, 8, 8), np.uint8)), "has shape (6, 8, 8)"),
        (change("train_images", np.asfortranarray(np.zeros((6, 28, 28), np.uint8))), "in column order"),
        (change("test_labels", np.zeros((5, 1), np.uint8)), "test_labels has shape (5, 1)"),
        (change("test_labels", np.zeros((4, 14), np.uint8)), "14 labels an image"),
        (change("test_labels", np.array(["a"] * 4)), "test_labels is <U1"),
        (change("test_labels", np.array([object()] * 4, dtype=object)), "holds Python objects"),
        (nan_labels, "1 values of val_labels are no whole numbers, first row 1: nan"),
        (out_of_range, "1 values of test_labels are no class, first row 2: -100"),
        (change("train_labels", np.full((6, 1), 2, np.uint8)), "6 values of train_labels are no class"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path: Path, fault: Any, message: str) -> None:
    content = arrays()
    fault(content)
    if any(value.dtype == object for value in content.values()):
        np.savez(tmp_path / "breastmnist.npz", allow_pickle=True, **content)
    else:
        save(tmp_path / "breastmnist.npz", content)
    with pytest.raises(DataError) as caught:
        load(tmp_path / "breastmnist.npz")
    assert message in str(caught.value)


def test_pickle_inside_is_never_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    path = save(tmp_path / "breastmnist.npz", {k: v for k, v in arrays().items() if k != "train_labels"})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("train_labels.npy", pickle.dumps(Evil()))
    with pytest.raises(DataError, match="the array file is damaged"):
        load(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [("chestmnist", "up to 14 labels an image"), ("nodulemnist3d", "a set of volumes")],
)
def test_sets_of_another_kind_are_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(save(tmp_path / f"{name}.npz", arrays()))


def test_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the array file is damaged"):
        load(write(tmp_path / "a" / "breastmnist.npz", b"no zip"))
    path = save(tmp_path / "b" / "breastmnist.npz", arrays(), packed=False)
    content = bytearray(path.read_bytes())
    place = content.index(arrays()["val_images"].tobytes())
    content[place + 9] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="the array file is damaged: Bad CRC"):
        load(path)


def test_reader_refuses_a_changed_file(tmp_path: Path) -> None:
    content = arrays()
    path = save(tmp_path / "breastmnist.npz", content)
    data = load(path)
    content["train_images"][4, 0, 0] ^= 1
    save(path, content)
    reader = data.pixels()
    assert [next(reader).shape for _ in range(4)] == [(28, 28)] * 4
    with pytest.raises(DataError, match=r"breastmnist.npz#train/4 has changed"):
        next(reader)
    save(path, arrays(counts=(2, 2, 2)))
    with pytest.raises(DataError, match="train_images has no row 5"):
        list(data.pixels([5]))
    save(path, {"other": content["train_images"]})
    with pytest.raises(DataError, match="damaged"):
        list(data.pixels([0]))


def test_second_load_reads_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "breastmnist.npz", arrays())
    calls: list[tuple[int, int]] = []
    first = load(path, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (13, 13)

    def never(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(medmnist, "rows", never)
    assert load(path) == first
    with pytest.raises(AssertionError, match="read again"):
        load(path, use_index=False)


def test_missing_class_is_told_and_keeps_its_number(tmp_path: Path) -> None:
    content = arrays()
    for split in SPLITS:
        content[f"{split}_labels"][:] = 1
    data = load(save(tmp_path / "breastmnist.npz", content))
    assert data.classes == ("malignant", "normal, benign")
    assert set(data.targets.tolist()) == {1}
    assert "DATA004" in {f.code for f in data.findings}
