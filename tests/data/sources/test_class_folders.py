from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.data.images import encode, noise, write
from tumorscope.core.errors import DataError
from tumorscope.data.load import load
from tumorscope.data.manifest import Manifest


def codes(manifest: Manifest) -> list[str]:
    return [finding.code for finding in manifest.findings]


def reasons(manifest: Manifest) -> dict[str, str]:
    return {e.path: e.reason for e in manifest.exclusions}


def fill(root: Path, *names: str) -> Path:
    for name in names:
        write(root / name)
    return root


def test_yes_and_no(tmp_path: Path) -> None:
    data = load(fill(tmp_path, "yes/a.png", "no/b.png", "no/deeper/patient 7/c.png"))
    assert data.classes == ("no", "yes")
    assert data.positive == "yes"
    assert data.layout == "class-folders"
    assert data.summary == "2 classes, no official split, 3 images"
    assert [(r.path, r.label, r.split) for r in data.records] == [
        ("no/b.png", "no", None),
        ("no/deeper/patient 7/c.png", "no", None),
        ("yes/a.png", "yes", None),
    ]
    assert data.targets.tolist() == [0, 0, 1]
    assert codes(data) == []


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("Training", None, "Testing"),
        ("train", "val", "test"),
        ("TRAIN", "Valid", "Test_Set"),
        ("trn", None, None),
    ],
)
def test_split_folders(tmp_path: Path, train: str, val: str | None, test: str | None) -> None:
    for part in filter(None, (train, val, test)):
        fill(tmp_path, f"{part}/b/1.png", f"{part}/A/2.png")
    if train == "trn":  # no name of a part: an ordinary folder, and alone
        with pytest.raises(DataError):
            load(tmp_path / "absent")
        assert load(tmp_path).summary.startswith("2 classes, no official split")
        return
    data = load(tmp_path)
    assert data.classes == ("A", "b")
    assert data.has_official_split
    assert "official split" in data.summary
    assert "/".join(filter(None, (train, val, test))) in data.summary
    expected = {"train": train, "val": val, "test": test}
    for record in data.records:
        assert record.split is not None
        assert record.path.split("/")[0] == expected[record.split]


def test_validation_folder_stands_in_for_test(tmp_path: Path) -> None:
    data = load(fill(tmp_path, "Train/a/1.png", "Train/b/2.png", "Val/a/3.png", "Val/b/4.png"))
    assert data.counts() == {"train": {"a": 1, "b": 1}, "test": {"a": 1, "b": 1}}
    assert data.summary == "2 classes in Train/Val, Val is the test part, 4 images"
    assert codes(data) == ["DATA006"]
    assert data.findings[0].severity == "info"


def test_two_folders_for_one_part_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 folders for the test part: Testing, test"):
        load(fill(tmp_path, "train/a/1.png", "train/b/2.png", "test/a/1.png", "Testing/a/1.png"))


def test_eval_beside_test_is_validation(tmp_path: Path) -> None:
    names = [f"{part}/{label}/1.png" for part in ("train", "eval", "test") for label in "ab"]
    assert set(load(fill(tmp_path, *names)).counts()) == {"train", "val", "test"}


def test_other_folders_beside_a_split_are_named(tmp_path: Path) -> None:
    names = [f"{part}/{label}/1.png" for part in ("train", "test") for label in "ab"]
    data = load(fill(tmp_path, *names, "masks/1.png"))
    finding = next(f for f in data.findings if f.code == "DATA007")
    assert finding.paths == ("masks",)
    assert data.inputs == 4


def test_class_spelled_differently_is_merged(tmp_path: Path) -> None:
    data = load(
        fill(tmp_path, "train/Glioma/1.png", "train/no_tumor/2.png", "test/glioma/3.png", "test/No Tumor/4.png")
    )
    assert data.classes == ("Glioma", "no_tumor")
    assert data.counts()["test"] == {"Glioma": 1, "no_tumor": 1}
    finding = next(f for f in data.findings if f.code == "DATA005")
    assert set(finding.paths) == {"Glioma", "glioma", "no_tumor", "No Tumor"}


def test_unicode_spellings_are_one_class(tmp_path: Path) -> None:
    data = load(fill(tmp_path, "train/Mé/1.png", "train/x/2.png", "test/Me\u0301/3.png", "test/x/4.png"))
    assert data.classes == ("Mé", "x")
    assert "DATA005" in codes(data)


def test_empty_class_is_an_error_finding_and_no_class(tmp_path: Path) -> None:
    fill(tmp_path, "a/1.png", "b/2.png").joinpath("c").mkdir()
    write(tmp_path / "d/broken.png", b"")
    data = load(tmp_path)
    assert data.classes == ("a", "b")
    finding = next(f for f in data.findings if f.code == "DATA004")
    assert finding.severity == "error"
    assert finding.paths == ("c", "d")


def test_class_missing_from_one_part(tmp_path: Path) -> None:
    data = load(fill(tmp_path, "train/a/1.png", "train/b/2.png", "test/a/3.png"))
    finding = next(f for f in data.findings if f.code == "DATA009")
    assert "'b' in test" in finding.detail


def test_hidden_and_other_files(tmp_path: Path) -> None:
    fill(
        tmp_path,
        "a/1.png",
        "b/2.png",
        "b/.ipynb_checkpoints/2-checkpoint.png",
        "b/__MACOSX/._2.png",
        ".cache/x/3.png",
        "stray.png",
    )
    write(tmp_path / "a/.DS_Store", b"x")
    write(tmp_path / "a/Thumbs.db", b"x")
    write(tmp_path / "a/notes.TXT", b"x")
    write(tmp_path / "README.md", b"x")
    write(tmp_path / "a/noextension", encode(noise(5)))
    data = load(tmp_path)
    assert reasons(data) == {
        "b/.ipynb_checkpoints/2-checkpoint.png": "hidden",
        "b/__MACOSX/._2.png": "hidden",
        ".cache/x/3.png": "hidden",
        "stray.png": "no-label",
        "a/.DS_Store": "hidden",
        "a/Thumbs.db": "not-a-scan",
        "a/notes.TXT": "not-a-scan",
    }
    assert data.inputs == 10
    assert len(data) == 3
    assert data.summary.endswith("3 images, 7 excluded")
    finding = next(f for f in data.findings if f.code == "DATA001")
    assert finding.count == 7
    assert "4 hidden, 2 not-a-scan, 1 no-label" in finding.detail


def test_nested_copies_and_splits_below_classes_are_refused(tmp_path: Path) -> None:
    fill(tmp_path / "one", "yes/1.png", "no/2.png", "copy/yes/1.png", "copy/no/2.png")
    with pytest.raises(DataError, match="holds the class folders no, yes again"):
        load(tmp_path / "one")
    fill(tmp_path / "two", "yes/train/1.png", "no/train/2.png", "yes/test/1.png", "no/test/2.png")
    with pytest.raises(DataError, match="holds split folders"):
        load(tmp_path / "two")


def test_wrapping_folder_is_opened(tmp_path: Path) -> None:
    fill(tmp_path, "archive/set/yes/1.png", "archive/set/no/2.png")
    data = load(tmp_path)
    assert data.root == tmp_path / "archive" / "set"
    assert len(data) == 2


def test_links(tmp_path: Path) -> None:
    root = fill(tmp_path / "data", "a/1.png", "b/2.png", "b/deep/3.png")
    elsewhere = write(tmp_path / "elsewhere" / "4.png")
    (root / "a/to-file.png").symlink_to(elsewhere)
    (root / "a/inside.png").symlink_to(root / "b/2.png")
    (root / "a/broken.png").symlink_to(tmp_path / "nothing.png")
    (root / "a/self.png").symlink_to("self.png")
    (root / "b/up").symlink_to(root)
    (root / "b/deep/here").symlink_to(".")
    (root / "b/again").symlink_to(root / "b/deep")
    (root / "b/folder").symlink_to(tmp_path / "elsewhere")
    (root / "loop").symlink_to(tmp_path)
    os.mkfifo(root / "a/pipe.png")
    data = load(root)
    assert [r.path for r in data.records] == [
        "a/1.png",
        "a/inside.png",
        "a/to-file.png",
        "b/2.png",
        "b/deep/3.png",
        "b/folder/4.png",
    ]
    assert reasons(data) == {
        "a/broken.png": "symlink-broken",
        "a/pipe.png": "unreadable",
        "a/self.png": "symlink-loop",
        "b/again": "symlink-loop",
        "b/deep/here": "symlink-loop",
        "b/up": "symlink-loop",
        "loop": "symlink-loop",
    }
    outside = next(f for f in data.findings if f.code == "DATA008")
    assert outside.paths == ("a/to-file.png", "b/folder/4.png")


def test_folders_linked_to_each_other_end(tmp_path: Path) -> None:
    root = fill(tmp_path, "a/1.png", "b/2.png", "c/3.png")
    for one in "abc":
        for other in "abc":
            (root / one / f"to-{other}").symlink_to(root / other)
    data = load(root)
    assert len(data) == 9  # each folder is read once in each class
    assert data.inputs == len(data) + len(data.exclusions)


def test_class_folder_may_be_a_link(tmp_path: Path) -> None:
    fill(tmp_path, "real/one/1.png", "data/b/2.png")
    (tmp_path / "data/a").symlink_to(tmp_path / "real/one")
    assert [r.path for r in load(tmp_path / "data").records] == ["a/1.png", "b/2.png"]


@pytest.mark.parametrize(
    "name",
    [
        "with blank .png",
        "línea\nsegunda.png",
        "腫瘍.png",
        "tab\tquote'\".png",
        os.fsdecode(b"bad\xff.png"),
        "#%&.png",
    ],
)
def test_unusual_file_names(tmp_path: Path, name: str) -> None:
    data = load(fill(tmp_path, f"a/{name}", "b/2.png"))
    assert data.records[0].path == f"a/{name}"
    assert len(list(data.pixels())) == 2
    assert len(data.sha256) == 64
    assert load(tmp_path).sha256 == data.sha256


def test_positive_can_be_chosen_and_must_fit(tmp_path: Path) -> None:
    fill(tmp_path, "cats/1.png", "dogs/2.png")
    assert load(tmp_path).positive is None
    assert load(tmp_path, positive="dogs").positive == "dogs"
    with pytest.raises(DataError, match="'cat' is not among"):
        load(tmp_path, positive="cat")
    write(tmp_path / "birds/3.png")
    with pytest.raises(DataError, match="given for 3 classes"):
        load(tmp_path, positive="dogs")
    with pytest.raises(DataError, match="label_names"):
        load(tmp_path, label_names={0: "cats"})


def test_no_usable_image_is_an_error_with_reasons(tmp_path: Path) -> None:
    write(tmp_path / "a/1.png", b"")
    write(tmp_path / "b/2.png", b"text")
    with pytest.raises(DataError, match=r"no usable image among 2 inputs.*empty-file"):
        load(tmp_path)


def test_same_folder_elsewhere_has_the_same_identity(tmp_path: Path) -> None:
    fill(tmp_path / "one", "a/1.png", "b/2.png")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert load(tmp_path / "one").sha256 == load(tmp_path / "two").sha256
