from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.auditing.materials import Item, look, material, noise, two_classes
from tests.data.images import encode
from tumorscope.auditing.material import Material

Options = Callable[[bool], tuple[str, dict[str, Any]]]


def written(root: Path, options: Options, *, each: int = 30) -> Material:
    """Images written as files of the format and options for their class."""
    items: list[Item] = []
    for i, item in enumerate(two_classes(lambda rng, second: noise(rng, side=32), each=each)):
        kind, settings = options(i % 2 == 1)
        name = f"{i}.{kind.lower()}"
        (root / name).write_bytes(encode(item.pixels, kind, **settings))
        items.append(replace(item, path=name))
    return material(items, root=root)


def test_another_quality_of_one_class_is_a_warning(tmp_path: Path) -> None:
    result = look("CUT006", written(tmp_path, lambda second: ("JPEG", {"quality": 92 if second else 90})))
    assert (result.outcome, result.severity, result.count) == ("finding", "warning", 60)
    assert result.figures["settings_alone"]["low"] > 0.85


def test_another_format_of_one_class_is_a_warning(tmp_path: Path) -> None:
    result = look("CUT006", written(tmp_path, lambda second: ("JPEG" if second else "PNG", {})))
    assert (result.outcome, result.severity) == ("finding", "warning")
    assert "30 files are JPEG" in result.detail


def test_bytes_a_pixel_are_for_information(tmp_path: Path) -> None:
    items = []
    for i, item in enumerate(two_classes(lambda rng, second: noise(rng, side=32), each=30)):
        pixels = item.pixels // 2 if i % 2 else item.pixels
        (tmp_path / f"{i}.jpg").write_bytes(encode(pixels, "JPEG", quality=80))
        items.append(replace(item, path=f"{i}.jpg"))
    result = look("CUT006", material(items, root=tmp_path))
    assert (result.outcome, result.severity) == ("finding", "info")
    assert result.figures["settings_alone"]["value"] == 0.5


def test_one_setting_is_fine(tmp_path: Path) -> None:
    assert look("CUT006", written(tmp_path, lambda second: ("JPEG", {"quality": 90}), each=40)).outcome == "fine"


def test_no_jpeg_is_not_applicable(tmp_path: Path) -> None:
    result = look("CUT006", written(tmp_path, lambda second: ("PNG", {})))
    assert (result.outcome, result.detail) == ("not applicable", "None of 60 files is a JPEG.")


def test_rows_of_an_array_file_are_not_applicable() -> None:
    items = two_classes(lambda rng, second: noise(rng, side=16))
    rows = [replace(item, path=f"set.npz#train/{i}") for i, item in enumerate(items)]
    assert look("CUT006", rows).outcome == "not applicable"


@pytest.mark.parametrize("number", [0, 59])
def test_a_file_that_is_gone_is_said(tmp_path: Path, number: int) -> None:
    data = written(tmp_path, lambda second: ("JPEG", {"quality": 90 if second else 60}))
    (tmp_path / f"{number}.jpeg").unlink()
    result = look("CUT006", data)
    assert result.outcome == "skipped"
    assert f"{number}.jpeg" in result.detail
