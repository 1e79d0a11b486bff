from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.copies_pictures import brighter, head, reencoded, resized, turned, volume
from tumorscope.core.errors import DataError
from tumorscope.core.types import Pixels
from tumorscope.data.copies import CopyItems, Pair, describe, find, find_copies, group, search


def made() -> tuple[list[Pixels], dict[tuple[int, int], tuple[str, bool, float]]]:
    """24 heads, 5 neighbouring slices, copies of some; and the pairs to find, with mirroring and turn."""
    pictures = [head(100 + i) for i in range(24)] + list(volume(7, slices=5))
    expected: dict[tuple[int, int], tuple[str, bool, float]] = {}

    def plant(of: int, copy: Pixels, mirrored: bool, degrees: float) -> None:
        expected[of, len(pictures)] = ("near", mirrored, degrees)
        pictures.append(np.ascontiguousarray(copy))

    plant(0, reencoded(pictures[0]), False, 0)
    plant(1, pictures[1][:, ::-1], True, 0)
    plant(2, np.rot90(pictures[2]), False, 90)
    plant(3, pictures[3][::-1], True, 180)
    plant(4, turned(pictures[4], 8), False, 8)
    plant(5, resized(brighter(pictures[5]), 150, 90), False, 0)
    plant(6, reencoded(turned(pictures[6][5:-5, 8:-3][:, ::-1], -6)), True, -6)
    plant(25, pictures[25][:, ::-1], True, 0)
    return pictures, expected


def items(pictures: list[Pixels]) -> CopyItems:
    return CopyItems(np.stack([describe(p) for p in pictures]))


@pytest.fixture(scope="module")
def found() -> list[Pair]:
    return find_copies(items(made()[0]))


def test_planted_copies_are_found_and_nothing_else(found: list[Pair]) -> None:
    expected = made()[1]
    near = {(p.a, p.b): p for p in found if p.kind == "near"}
    assert set(near) == set(expected)
    for where, (_, mirrored, degrees) in expected.items():
        assert near[where].mirrored == mirrored, where
        assert near[where].rotation_deg == pytest.approx(degrees, abs=1.5), where
        assert 0.85 <= near[where].score <= 1


def test_neighbouring_slices_are_told_apart_from_copies(found: list[Pair]) -> None:
    likely = {(p.a, p.b) for p in found if p.kind == "patient-likely"}
    assert {(24, 25), (25, 26), (26, 27), (27, 28)} <= likely
    volume_rows = {24, 25, 26, 27, 28, 36}
    assert all(a in volume_rows and b in volume_rows for a, b in likely)


def test_the_order_of_the_images_does_not_matter(found: list[Pair]) -> None:
    pictures = made()[0]
    order = np.random.default_rng(3).permutation(len(pictures))
    again = find_copies(items([pictures[i] for i in order]))
    back = {(min(order[p.a], order[p.b]), max(order[p.a], order[p.b]), p.kind, p.score) for p in again}
    assert back == {(p.a, p.b, p.kind, p.score) for p in found}


def test_the_same_again_and_with_threads(found: list[Pair]) -> None:
    assert find_copies(items(made()[0]), threads=3) == found
    assert found == sorted(found)


def test_identical_files_and_pixels_are_joined_to_the_first() -> None:
    one, two = head(1), head(2)
    thumbs = np.stack([describe(p) for p in (one, two, one, one, one)])
    pairs = find_copies(CopyItems(thumbs, ["f1", "f2", "f1", "f3", "f4"], ["p1", "p2", "p1", "p1", "p9"]))
    assert [(p.a, p.b, p.kind) for p in pairs] == [(0, 2, "exact"), (0, 3, "pixels"), (0, 4, "near")]
    assert all(p.score == 1 and not p.mirrored and p.rotation_deg == 0 for p in pairs)
    assert group(5, pairs).tolist() == [0, 1, 0, 0, 0]


def test_hashes_tell_what_thumbnails_cannot() -> None:
    blank = np.full((3, 64, 64), 7, np.uint8)
    assert [p.kind for p in find_copies(CopyItems(blank, ["a", "a", "b"]))] == ["exact"]


def test_blank_pictures_are_no_copies_of_each_other() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(100, 103, (64, 64)).astype(np.uint8)
    pictures = [np.zeros((40, 40), np.uint8), np.zeros((80, 60), np.uint8), np.full((50, 50), 255, np.uint8), noise]
    assert find_copies(items([*pictures, noise[:, ::-1].copy(), head(1)])) == []


def test_many_copies_in_two_styles_are_one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    # each image keeps 2 candidates, all of its own style: only the second look joins the styles
    monkeypatch.setattr(search, "CANDIDATES", 2)
    monkeypatch.setattr(find, "CANDIDATES", 2)
    rng = np.random.default_rng(0)
    plain, other = head(1), brighter(head(1)[:, ::-1], 0.6, 1.3, 0)

    def noisy(pixels: Pixels) -> Pixels:
        return np.clip(pixels + rng.normal(0, 1, pixels.shape), 0, 255).astype(np.uint8)

    pictures = [noisy(p) for p in (plain, other) for _ in range(8)] + [head(s) for s in range(2, 6)]
    pairs = find_copies(items(pictures))
    assert group(20, pairs).tolist() == [0] * 16 + [1, 2, 3, 4]
    assert len({(p.a, p.b) for p in pairs}) == len(pairs)


def test_pairs_span_a_group_without_listing_every_combination() -> None:
    rng = np.random.default_rng(0)
    noisy = [np.clip(head(1) + rng.normal(0, 2, (112, 112)), 0, 255).astype(np.uint8) for _ in range(12)]
    calls: list[tuple[str, int, int]] = []
    pairs = find_copies(items([*noisy, head(2)]), progress=lambda *call: calls.append(call))
    assert group(13, pairs).tolist() == [0] * 12 + [1]
    assert 11 <= len(pairs) < 12 * 11 / 2
    done = [(i, total) for stage, i, total in calls if stage == "verify"]
    assert done == sorted(done)
    assert done[-1][0] == done[-1][1]


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_images_have_no_pairs(n: int) -> None:
    assert find_copies(CopyItems(np.zeros((n, 64, 64), np.uint8))) == []


def test_tiny_images() -> None:
    tiny = [resized(head(200 + i), 28, 28) for i in range(16)]
    copies = [np.ascontiguousarray(tiny[0][:, ::-1]), resized(tiny[1], 56, 56), brighter(tiny[2]), np.rot90(tiny[3])]
    near = {(p.a, p.b) for p in find_copies(items(tiny + copies)) if p.kind == "near"}
    assert near == {(0, 16), (1, 17), (2, 18), (3, 19)}


def test_images_that_are_not_square() -> None:
    wide = [resized(head(300 + i), 160, 100) for i in range(8)]
    near = {
        (p.a, p.b): p for p in find_copies(items([*wide, np.rot90(wide[2]), turned(wide[5], 5)])) if p.kind == "near"
    }
    assert set(near) == {(2, 8), (5, 9)}
    assert near[2, 8].rotation_deg == pytest.approx(90, abs=0.5)


def test_wrong_items_are_refused() -> None:
    with pytest.raises(DataError, match="2 sha256 for 3"):
        CopyItems(np.zeros((3, 64, 64), np.uint8), ["a", "b"])
    with pytest.raises(DataError, match="pixels_sha256"):
        CopyItems(np.zeros((3, 64, 64), np.uint8), (), ["a"])
    with pytest.raises(DataError, match="thumbnails of float64"):
        CopyItems(np.zeros((3, 64, 64)))  # type: ignore[arg-type]  # the fault to be refused
    with pytest.raises(DataError, match="shape"):
        CopyItems(np.zeros((3, 32, 32), np.uint8))


@pytest.mark.real
def test_real_slices_and_their_changed_copies(real_data: Path) -> None:
    folder = real_data / "brain-mri-4class" / "Training" / "pituitary"
    files = sorted(folder.glob("*.jpg"))[100:160]
    pictures, seen = [], set()
    for file in files:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        if digest not in seen:
            seen.add(digest)
            pictures.append(np.asarray(Image.open(file).convert("L")))
    n = len(pictures)
    before = group(n, find_copies(items(pictures)), kinds=["near"])
    copies = [reencoded(turned(p[8:-12, 15:-4][:, ::-1], 4), 60) for p in pictures[:30]]
    pairs = find_copies(items(pictures + copies))
    after = group(n + 30, pairs, kinds=["near"])
    assert sum(after[i] == after[i + n] for i in range(30)) >= 29
    own = [p for p in pairs if p.kind == "near" and p.b - p.a == n]
    assert len(own) >= 25
    assert all(p.mirrored and abs(p.rotation_deg - 4) < 2 for p in own)
    for p in pairs:
        if p.kind == "near":
            assert before[p.a % n] == before[p.b % n]
