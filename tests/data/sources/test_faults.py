"""Every fault an input can have, in one list: each input is used or excluded with its documented reason."""

from __future__ import annotations

import os
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.data.images import encode, noise, write
from tumorscope.core.errors import DataError
from tumorscope.core.types import EXCLUSION_REASONS
from tumorscope.data.load import load

GOOD = encode(noise(1))
COLOUR = noise(2, channels=3)
ALPHA = noise(3, channels=4)
DEEP = np.linspace(0, 65535, 480).astype(np.uint16).reshape(20, 24)


def huge() -> bytes:
    """PNG header of 20,000 x 20,000 pixels without the pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", 20000, 20000, 8, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    data = b"IDAT" + zlib.compress(bytes(1000))
    return start + struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))


def damaged() -> bytes:
    data = bytearray(GOOD)
    data[len(data) // 2] ^= 255
    return bytes(data)


def animated() -> bytes:
    return encode(COLOUR, "GIF", save_all=True, append_images=[Image.fromarray(255 - COLOUR)])


FILES: dict[str, tuple[str, bytes, str]] = {
    "unreadable": ("a.png", damaged(), "unreadable"),
    "no image": ("a.png", b"this is text", "not-an-image"),
    "zero bytes": ("a.png", b"", "empty-file"),
    "truncated": ("a.png", GOOD[: len(GOOD) // 2], "truncated"),
    "truncated jpeg": ("a.jpg", encode(COLOUR, "JPEG")[:-80], "truncated"),
    "wrong extension": ("a.jpg", GOOD, ""),
    "no extension": ("a", GOOD, ""),
    "16 bits": ("a.png", encode(DEEP), ""),
    "float": ("a.tif", encode(DEEP.astype(np.float32), "TIFF"), ""),
    "not finite": ("a.tif", encode(np.full((20, 20), np.nan, np.float32), "TIFF"), "not-finite"),
    "cmyk": ("a.jpg", encode(Image.fromarray(COLOUR).convert("CMYK"), "JPEG"), ""),
    "palette": ("a.png", encode(Image.fromarray(COLOUR).quantize(8)), ""),
    "rgba": ("a.png", encode(ALPHA), ""),
    "transparent": ("a.png", encode(np.dstack([COLOUR, np.zeros((20, 24), np.uint8)])), ""),
    "animated": ("a.gif", animated(), "multi-frame"),
    "one pixel": ("a.png", encode(np.zeros((1, 1), np.uint8)), "too-small"),
    "huge": ("a.png", huge(), "too-large"),
    "note": ("a.txt", b"glioma", "not-a-scan"),
    "hidden": (".a.png", GOOD, "hidden"),
    "blank in the name": ("a b .png", GOOD, ""),
    "unicode in the name": ("größe 腫瘍.png", GOOD, ""),
    "newline in the name": ("a\nb.png", GOOD, ""),
    "undecodable name": (os.fsdecode(b"a\xff\xfe.png"), GOOD, ""),
}


@pytest.mark.parametrize("fault", FILES)
def test_each_fault_has_its_outcome(tmp_path: Path, fault: str) -> None:
    name, content, reason = FILES[fault]
    write(tmp_path / "glioma" / name, content)
    write(tmp_path / "glioma" / "good.png")
    write(tmp_path / "healthy" / "good.png")
    data = load(tmp_path)
    assert data.inputs == 3 == len(data) + len(data.exclusions)
    assert [(e.path, e.reason) for e in data.exclusions] == ([(f"glioma/{name}", reason)] if reason else [])
    assert all(e.detail and e.reason in EXCLUSION_REASONS for e in data.exclusions)
    assert ("DATA001" in {f.code for f in data.findings}) == bool(reason)
    assert [p.dtype for p in data.pixels()] == [np.uint8] * len(data)
    again = load(tmp_path)
    assert again == data


def test_findings_name_conversions_and_extensions(tmp_path: Path) -> None:
    write(tmp_path / "a/deep.png", encode(DEEP))
    write(tmp_path / "b/wrong.jpg", GOOD)
    found = {f.code: f for f in load(tmp_path).findings}
    assert found["DATA003"].paths == ("a/deep.png",)
    assert "1 depth" in found["DATA003"].detail
    assert found["DATA002"].paths == ("b/wrong.jpg",)
    assert "1 .jpg but the bytes are PNG" in found["DATA002"].detail


CONTENTS = st.sampled_from([content for _, content, _ in FILES.values()])
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\x00"), min_size=1, max_size=12).filter(
    lambda name: name not in {".", ".."} and len(name.encode()) < 60
)
EXTENSIONS = st.sampled_from(["", ".png", ".JPG", ".txt", ".dcm", ".tiff"])
TREES = st.dictionaries(
    st.tuples(st.sampled_from(["x", "y", "x/deep", "y/.hidden"]), NAMES, EXTENSIONS), CONTENTS, max_size=7
)


@given(TREES, st.lists(st.sampled_from(["..", ".", "nothing", "deep", "../y"]), max_size=2))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_input_is_used_or_excluded(tree: dict[tuple[str, str, str], bytes], links: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root / "x" / "good.png")
        write(root / "y" / "good.png")
        for (place, name, extension), content in tree.items():
            target = root / place / (name + extension)
            if not target.is_dir():
                write(target, content)
        for number, link in enumerate(links):
            (root / "x" / f"link{number}").symlink_to(link)
        try:
            data = load(root)
        except DataError as error:
            assert "again" in str(error) or "split folders" in str(error)  # noqa: PT017 (nested classes)
            return
        listed = [r.path for r in data.records] + [e.path for e in data.exclusions]
        assert data.inputs == len(listed) == len(set(listed))
        on_disk = {
            os.path.relpath(os.path.join(where, name), root)
            for where, _, names in os.walk(root)
            for name in names
            if not os.path.islink(os.path.join(where, name))
        }
        assert on_disk <= set(listed)
        assert all(e.reason in EXCLUSION_REASONS for e in data.exclusions)
