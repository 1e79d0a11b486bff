from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data.images import encode, noise
from tumorscope.auditing.jpeg_header import read_jpeg_header


@pytest.mark.parametrize(
    ("channels", "options", "sampling"),
    [(0, {"quality": 75}, 1), (3, {"quality": 40}, 4), (3, {"quality": 95, "subsampling": 0, "progressive": True}, 1)],
)
def test_header_agrees_with_pillow(tmp_path: Path, channels: int, options: dict[str, Any], sampling: int) -> None:
    data = encode(noise(1, channels=channels), "JPEG", **options)
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    header = read_jpeg_header(path)
    assert header is not None
    with Image.open(io.BytesIO(data)) as image:
        tables: dict[int, list[int]] = vars(image)["quantization"]
    assert {number: sorted(table) for number, table in header.tables.items()} == {
        number: sorted(table) for number, table in tables.items()
    }
    assert (header.sampling, header.progressive) == (sampling, "progressive" in options)


def test_tables_of_an_embedded_preview_do_not_count(tmp_path: Path) -> None:
    preview = encode(noise(1), "JPEG", quality=10)
    data = encode(noise(2), "JPEG", quality=90)
    segment = b"\xff\xe1" + (len(preview) + 2).to_bytes(2, "big") + preview
    (tmp_path / "a.jpg").write_bytes(data)
    (tmp_path / "b.jpg").write_bytes(data[:2] + segment + data[2:])
    assert read_jpeg_header(tmp_path / "a.jpg") == read_jpeg_header(tmp_path / "b.jpg")


def test_other_formats_have_none(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(encode(noise(1), "PNG"))
    (tmp_path / "empty.jpg").write_bytes(b"")
    assert read_jpeg_header(tmp_path / "x.jpg") is None
    assert read_jpeg_header(tmp_path / "empty.jpg") is None


def test_a_file_cut_anywhere_is_read_to_its_end(tmp_path: Path) -> None:
    data = encode(noise(1), "JPEG")
    path = tmp_path / "x.jpg"
    for end in np.linspace(2, len(data) - 1, 60).astype(int).tolist():
        path.write_bytes(data[:end])
        assert read_jpeg_header(path) is not None
