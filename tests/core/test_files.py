from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from tumorscope.core.files import atomic_path, canonical_json, read_json, save_npz, sha256_file, write_json, write_text


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.txt", "old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_json_is_plain_and_canonical(tmp_path: Path) -> None:
    value = {"b": np.float64(1.5), "a": (np.int64(2), float("nan")), "p": Path("x")}
    assert canonical_json(value) == '{"a":[2,null],"b":1.5,"p":"x"}'
    assert read_json(write_json(tmp_path / "v.json", value)) == {"a": [2, None], "b": 1.5, "p": "x"}


def test_hash_and_npz_depend_on_content_alone(tmp_path: Path) -> None:
    first, second = io.BytesIO(), io.BytesIO()
    for handle in (first, second):
        save_npz(handle, a=np.arange(5), b=np.ones((2, 2)))
    assert first.getvalue() == second.getvalue()
    first.seek(0)
    with np.load(first) as stored:
        assert stored["a"].tolist() == [0, 1, 2, 3, 4]
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    assert sha256_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_names_that_are_no_utf8_survive_json(tmp_path: Path) -> None:
    name = b"scan \xff.png".decode("utf-8", "surrogateescape")
    path = write_json(tmp_path / "v.json", {name: [name, "ü"]})
    assert read_json(path) == {name: [name, "ü"]}
    path.read_bytes().decode("utf-8")  # valid UTF-8 for every other reader
