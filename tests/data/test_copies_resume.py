from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.copies_pictures import head, reencoded
from tumorscope.data.copies import CopyItems, all_pairs, describe, find_copies, search, verify
from tumorscope.data.copies.hits import Hits
from tumorscope.data.copies.pieces import Pieces
from tumorscope.data.copies.search import Candidates
from tumorscope.data.copies.verify import Verified


class Stopped(Exception):
    """What stands for Ctrl-C."""


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "BLOCK", 10)
    monkeypatch.setattr(all_pairs, "BLOCK", 10)
    monkeypatch.setattr(verify, "_CHUNK", 40)


@pytest.fixture(scope="module")
def items() -> CopyItems:
    heads = [head(i, side=72) for i in range(30)]
    return CopyItems(np.stack([describe(p) for p in heads + [reencoded(p, 60) for p in heads[:12]]]))


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts the blocks searched and the pairs verified from now on."""
    done = {"blocks": 0, "pairs": 0}
    search_all, verify_chunk = all_pairs.search_all, verify._verify_chunk

    def searched(*args: Any) -> Hits:
        done["blocks"] += 1
        return search_all(*args)

    def verified(thumbs: np.ndarray, candidates: Candidates) -> Verified:
        done["pairs"] += len(candidates)
        return verify_chunk(thumbs, candidates)

    monkeypatch.setattr(search, "search_all", searched)
    monkeypatch.setattr(verify, "_verify_chunk", verified)
    return done


def stop_at(stage: str, share: float) -> Callable[[str, int, int], None]:
    def progress(at: str, done: int, total: int) -> None:
        if at == stage and done >= share * total:
            raise Stopped

    return progress


@pytest.mark.parametrize(("stage", "threads"), [("search", 1), ("verify", 1), ("verify", 2)])
def test_a_stopped_search_goes_on_and_ends_the_same(
    items: CopyItems, work: dict[str, int], tmp_path: Path, stage: str, threads: int
) -> None:
    whole = find_copies(items)
    everything = dict(work)
    with pytest.raises(Stopped):
        find_copies(items, threads=threads, keep=tmp_path / "k", progress=stop_at(stage, 0.5))
    work.update(blocks=0, pairs=0)
    assert find_copies(items, threads=threads, keep=tmp_path / "k") == whole
    assert work["blocks"] < 0.7 * everything["blocks"]
    if stage == "verify":
        assert work["blocks"] == 0
        assert work["pairs"] < 0.7 * everything["pairs"]
    assert not (tmp_path / "k").exists()


def test_stopping_drops_what_has_not_begun(items: CopyItems, work: dict[str, int]) -> None:
    with pytest.raises(Stopped):
        find_copies(items, threads=2, progress=stop_at("search", 0.1))
    assert work["blocks"] <= 4
    assert work["pairs"] == 0


def test_damaged_and_foreign_pieces_are_made_again(items: CopyItems, work: dict[str, int], tmp_path: Path) -> None:
    whole = find_copies(items)
    other = CopyItems(np.ascontiguousarray(items.thumbs[:, ::-1]))
    for which in (items, other):
        with pytest.raises(Stopped):
            find_copies(which, keep=tmp_path, progress=stop_at("verify", 0.5))
    pieces = sorted(tmp_path.iterdir())
    for number, path in enumerate(pieces):
        data = bytearray(path.read_bytes())
        data[len(data) // 3] ^= 0xFF
        path.write_bytes([b"", bytes(data[: len(data) // 2]), bytes(data), b"no archive"][number % 4])
    before = dict(work)
    assert find_copies(items, keep=tmp_path) == whole
    assert work["blocks"] - before["blocks"] == 5, "no damaged block was used"
    assert not tmp_path.exists()


def test_a_piece_in_the_place_of_another_is_not_used(tmp_path: Path) -> None:
    pieces, other = Pieces(tmp_path, "one"), Pieces(tmp_path, "two")
    key, foreign = pieces.key("search", 1, np.arange(3)), other.key("search", 1, np.arange(3))
    assert len({key, foreign, pieces.key("search", 2, np.arange(3)), pieces.key("search", 1, np.arange(4))}) == 4
    other.save(foreign, {"x": np.ones(2)})
    next(tmp_path.iterdir()).rename(tmp_path / f"piece-{key[:24]}.npz")
    assert pieces.load(key) is None
    pieces.save(key, {"x": np.full(2, 5.0)})
    kept = pieces.load(key)
    assert kept is not None
    assert {name: array.tolist() for name, array in kept.items()} == {"x": [5, 5]}


def test_clearing_leaves_what_is_not_a_piece(tmp_path: Path) -> None:
    pieces = Pieces(tmp_path, "one")
    pieces.save(pieces.key("search", 1), {"x": np.ones(2)})
    (tmp_path / ".piece-0123.npz.abcdef").write_bytes(b"cut off while it was written")
    (tmp_path / "notes.txt").write_text("mine")
    pieces.clear()
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_that_cannot_be_written_to_only_keeps_nothing(items: CopyItems, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    few = CopyItems(items.thumbs[:6])
    assert find_copies(few, keep=tmp_path / "file") == find_copies(few)
