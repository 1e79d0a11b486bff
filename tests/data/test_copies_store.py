from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tumorscope.core.types import Pixels
from tumorscope.data.copies.store import ThumbStore


def thumb(seed: int) -> tuple[str, Pixels]:
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64), dtype=np.uint8)
    return hashlib.sha256(pixels.tobytes()).hexdigest(), pixels


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUMORSCOPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "scans"


def read(place: Path, names: list[str]) -> tuple[list[bool], Pixels]:
    out = np.zeros((len(names), 64, 64), np.uint8)
    return ThumbStore(place).find(names, out).tolist(), out


def test_what_is_added_is_found_again_in_any_order(place: Path) -> None:
    store = ThumbStore(place)
    made = [thumb(i) for i in range(600)]  # more than one batch
    for name, pixels in made:
        store.add(name, pixels)
    store.flush()
    chosen = [made[i] for i in (599, 0, 300)]
    found, out = read(place, [name for name, _ in chosen])
    assert found == [True] * 3
    assert np.array_equal(out, np.stack([pixels for _, pixels in chosen]))
    assert read(place, [thumb(700)[0]])[0] == [False]
    assert read(place.with_name("other"), [made[0][0]])[0] == [False], "every data folder has a store of its own"


def test_a_torn_write_loses_nothing_else(place: Path) -> None:
    first, second = thumb(1), thumb(2)
    store = ThumbStore(place)
    store.add(*first)
    store.flush()
    with store.path.open("ab") as handle:
        handle.write(b"half a row")
    again = ThumbStore(place)
    again.add(*second)
    again.flush()
    found, out = read(place, [first[0], second[0]])
    assert found == [True, True]
    assert np.array_equal(out[1], second[1])


def test_a_changed_byte_is_noticed(place: Path) -> None:
    first, second = thumb(1), thumb(2)
    store = ThumbStore(place)
    store.add(*first)
    store.add(*second)
    store.flush()
    data = bytearray(store.path.read_bytes())
    data[1000] ^= 1
    store.path.write_bytes(bytes(data))
    found, out = read(place, [first[0], second[0]])
    assert found == [False, True]
    assert not out[0].any()


def test_a_place_that_cannot_be_written_costs_time_only(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = place.with_name("file")
    blocked.write_text("no folder")
    monkeypatch.setenv("TUMORSCOPE_CACHE", str(blocked / "below"))
    store = ThumbStore(place)
    store.add(*thumb(1))
    store.flush()
    assert read(place, [thumb(1)[0]])[0] == [False]
