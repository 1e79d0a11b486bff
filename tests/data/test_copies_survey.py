from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.auditing.leak_data import changed, clean, copy
from tumorscope.core.types import ImageRecord, Pixels
from tumorscope.data.copies import CopyKind, Pair
from tumorscope.data.copies.descriptors import describe
from tumorscope.data.copies.store import ThumbStore
from tumorscope.data.copies.survey import Survey, survey, thumbnails
from tumorscope.data.load import load
from tumorscope.data.manifest import Manifest


@pytest.fixture(autouse=True)
def own_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUMORSCOPE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path: Path) -> Manifest:
    root = clean(tmp_path / "scans", train=5, test=2)
    copy(root, "Training/glioma/00.png", "Training/glioma/again.png")
    changed(root, "Testing/notumor/00.png", "Training/notumor/twin.jpg", "mirrored")
    return load(root)


def kinds(found: Survey, manifest: Manifest) -> set[tuple[str, str, str]]:
    return {
        (manifest.records[p.a].path, manifest.records[p.b].path, p.kind)
        for p in found.pairs
        if p.kind != "patient-likely"
    }


def test_copies_are_found_and_kept(data: Manifest) -> None:
    first = survey(data)
    assert not first.reused
    assert kinds(first, data) == {
        ("Training/glioma/00.png", "Training/glioma/again.png", "exact"),
        ("Testing/notumor/00.png", "Training/notumor/twin.jpg", "near"),
    }
    second = survey(data)
    assert second.reused
    assert second.pairs == first.pairs
    assert np.array_equal(second.thumbs, first.thumbs)


def test_a_damaged_answer_is_made_again(data: Manifest, tmp_path: Path) -> None:
    first = survey(data)
    (file,) = (tmp_path / "cache" / "copies").glob("*.npz")
    for damage in (b"", b"PK\x03\x04 nonsense", file.read_bytes()[:-30]):
        file.write_bytes(damage)
        again = survey(data)
        assert not again.reused
        assert again.pairs == first.pairs


def test_reading_the_data_makes_the_thumbnails(data: Manifest) -> None:
    def no_reader(root: Path, records: Sequence[ImageRecord]) -> Iterator[Pixels]:
        assert not records, "nothing is decoded a second time"
        return iter(())

    thumbs = thumbnails(replace(data, reader=no_reader))
    expected = np.stack([describe(pixels) for pixels in data.pixels()])
    assert np.array_equal(thumbs, expected)


def test_thumbnails_that_are_gone_are_made_again_one_by_one(data: Manifest) -> None:
    expected = thumbnails(data)
    ThumbStore(data.root).path.unlink()
    asked: list[tuple[Any, ...]] = []
    made = thumbnails(data, progress=lambda *step: asked.append(step))
    assert np.array_equal(made, expected)
    assert asked[-1] == ("describe", len(data), len(data))


def test_groups_follow_chains_of_the_kinds_asked_for() -> None:
    pairs = (Pair(0, 1, "exact", 1.0), Pair(1, 2, "near", 0.9), Pair(3, 4, "patient-likely", 0.5))
    found = Survey(np.zeros((5, 64, 64), np.uint8), pairs)
    assert found.copies.tolist() == [0, 0, 0, 1, 2]
    kind: CopyKind = "exact"
    assert found.groups((kind,)).tolist() == [0, 0, 1, 2, 3]
    kind = "patient-likely"
    assert found.groups((kind,)).tolist() == [0, 1, 2, 3, 3]


def test_a_stopped_survey_goes_on_and_gives_the_same(data: Manifest, tmp_path: Path) -> None:
    expected = survey(data).pairs
    (file,) = (tmp_path / "cache" / "copies").glob("*.npz")
    file.unlink()

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "verify":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        survey(data, progress=stop)
    assert list((tmp_path / "cache" / "copies").glob("*.parts/*")), "finished blocks are kept"
    assert survey(data).pairs == expected
    assert not list((tmp_path / "cache" / "copies").glob("*.parts"))
