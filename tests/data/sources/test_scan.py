from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.data.images import encode, noise, write
from tumorscope.core.errors import DataError
from tumorscope.core.files import sha256_bytes
from tumorscope.data.load import load
from tumorscope.data.sources import scan
from tumorscope.data.sources.index import index_path
from tumorscope.data.sources.scan import threaded
from tumorscope.imaging.decode import decode_image, pixels_sha256


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for name in ("a/1.png", "a/2.png", "b/3.png"):
        write(root / name)
    write(root / "b/empty.png", b"")
    return root


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files decoded by scans."""
    names: list[str] = []
    original = scan.describe_file

    def counted(file: Path) -> object:
        names.append(file.name)
        return original(file)

    monkeypatch.setattr(scan, "describe_file", counted)
    return names


def test_hashes_are_those_of_the_file_and_its_pixels(data: Path) -> None:
    record = load(data).records[0]
    content = (data / "a/1.png").read_bytes()
    assert record.sha256 == sha256_bytes(content)
    assert record.pixels_sha256 == pixels_sha256(decode_image(content, name="1.png").pixels)
    assert (record.width_px, record.height_px, record.mode, record.gray) == (24, 20, "L", True)


def test_second_load_decodes_nothing_and_says_the_same(data: Path, decoded: list[str]) -> None:
    first = load(data)
    assert sorted(decoded) == ["1.png", "2.png", "3.png", "empty.png"]
    decoded.clear()
    assert load(data) == first
    assert decoded == []
    assert load(data, use_index=False) == first
    assert len(decoded) == 4


def test_changed_file_is_scanned_again(data: Path, decoded: list[str]) -> None:
    first = load(data)
    decoded.clear()
    file = data / "a/2.png"
    before = file.stat()
    content = bytearray(file.read_bytes())
    changed = encode(noise(999))
    file.write_bytes(changed.ljust(len(content), b"\x00")[: len(content)] if len(changed) < len(content) else changed)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # the old time: only the change time tells
    second = load(data)
    assert decoded == ["2.png"]
    assert second.sha256 != first.sha256


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: b"",
        lambda body: body[: len(body) // 2],
        lambda body: body.replace(b'"L"', b'"X"'),
        lambda body: b"\xff\xfe" + body,
        lambda body: sha256_bytes(b"[1]").encode() + b"\n[1]",
        lambda body: _sealed({"version": 1, "content": {"x": [1, 2]}}),
        lambda body: _sealed({"version": 0, "content": {}}),
    ],
)
def test_damaged_index_is_rebuilt(data: Path, decoded: list[str], damage: Callable[[bytes], bytes]) -> None:
    first = load(data)
    place = index_path(data)
    whole = place.read_bytes()
    assert damage(whole) != whole
    place.write_bytes(damage(whole))
    decoded.clear()
    assert load(data) == first
    assert len(decoded) == 4
    assert place.read_bytes() == whole


def _sealed(content: object) -> bytes:
    body = json.dumps(content).encode()
    return sha256_bytes(body).encode() + b"\n" + body


def test_cache_that_cannot_be_written_costs_only_time(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "file", b"")
    monkeypatch.setenv("TUMORSCOPE_CACHE", str(tmp_path / "file"))
    assert len(load(data)) == 3


def test_reader_refuses_changed_and_missing_files(data: Path) -> None:
    manifest = load(data)
    assert len(list(manifest.pixels())) == 3
    write(data / "a/2.png", encode(noise(77)))
    with pytest.raises(DataError, match=r"a/2.png has changed since the data was loaded"):
        list(manifest.pixels())
    assert len(list(manifest.pixels([0, 2]))) == 2
    (data / "a/1.png").unlink()
    with pytest.raises(DataError, match=r"a/1.png cannot be read any more"):
        list(manifest.pixels([0]))


def test_progress_ends_at_the_number_of_files(data: Path) -> None:
    calls: list[tuple[int, int]] = []
    load(data, progress=lambda done, total: calls.append((done, total)))
    assert calls[0] == (0, 4)
    assert calls[-1] == (4, 4)
    calls.clear()
    load(data, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(4, 4)]


def test_threaded_keeps_order_and_holds_few() -> None:
    taken = []

    def items() -> Iterator[int]:
        for i in range(500):
            taken.append(i)
            yield i

    results = threaded(lambda i: i * i, items(), workers=2)
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    assert len(taken) < 30
    assert list(results) == [i * i for i in range(3, 500)]


def test_threaded_passes_errors_on() -> None:
    def fail(i: int) -> int:
        if i == 3:
            raise DataError("three")
        return i

    with pytest.raises(DataError, match="three"):
        list(threaded(fail, range(100)))


def test_a_stopped_scan_goes_on_where_it_was_kept(
    data: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TUMORSCOPE_CACHE", str(tmp_path / "own cache"))
    monkeypatch.setattr(scan, "KEEP_EVERY", 2)
    files = sorted(p for p in data.rglob("*.png"))
    assert len(files) >= 4

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan.scan_files(files, root=data, progress=stop)
    decoded.clear()
    answers = scan.scan_files(files, root=data)
    assert len(answers) == len(files)
    assert set(decoded) == {f.name for f in files[2:]}, "the first two were kept"
    decoded.clear()
    assert [repr(a) for a in scan.scan_files(files, root=data)] == [repr(a) for a in answers]
    assert decoded == []
