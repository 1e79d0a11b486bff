"""Words of a command line become paths: nothing is lost, nothing is invented."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tumorscope.core.errors import UsageError
from tumorscope.predicting.inputs import expand


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "my scans"
    for name in ("b.png", "a.png", "deep/c.jpg", "odd [1].png", ".hidden.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((20, 20), np.uint8)).save(root / name)
    (root / "notes.txt").write_text("x")
    return root


def test_a_folder_is_opened_in_order(folder: Path) -> None:
    found = expand([str(folder)])
    assert sorted(Path(p).relative_to(folder).as_posix() for p in found.paths) == [
        "a.png",
        "b.png",
        "deep/c.jpg",
        "odd [1].png",
    ]
    assert found.left_out == 2
    assert expand([str(folder)]).paths == found.paths


def test_files_patterns_and_lists_keep_the_order_given(folder: Path) -> None:
    a, b = str(folder / "a.png"), str(folder / "b.png")
    assert expand([b, str(folder / "*.png"), "-"], listed=f"{a}\r\n\n{b}\n").paths == (
        b,
        a,
        b,
        str(folder / "odd [1].png"),
        a,
        b,
    )
    assert expand(["-"], listed=f"{a}\0{b}\0").paths == (a, b)
    assert expand([str(folder / "**" / "*.jpg")]).paths == (str(folder / "deep" / "c.jpg"),)


def test_a_name_with_brackets_is_a_file_first(folder: Path) -> None:
    assert expand([str(folder / "odd [1].png")]).paths == (str(folder / "odd [1].png"),)


def test_a_missing_file_stays_a_row(folder: Path) -> None:
    assert expand([str(folder / "gone.png")]).paths == (str(folder / "gone.png"),)


def test_nothing_is_an_error(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for words in ([str(folder / "*.gif")], [str(tmp_path / "empty")], ["-"]):
        with pytest.raises(UsageError):
            expand(words)
