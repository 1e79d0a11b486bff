from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.data.copies_pictures import brighter, head, reencoded, resized, turned, volume
from tumorscope.core.types import Pixels
from tumorscope.data.copies.descriptors import describe
from tumorscope.data.copies.find import orientation
from tumorscope.data.copies.search import Candidates, find_candidates, invert
from tumorscope.data.copies.verify import NEAR, in_place, verify

CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "re-encoded": lambda p: reencoded(p, 40),
    "resized": lambda p: resized(p, 180, 140),
    "brighter": brighter,
    "mirrored": lambda p: p[:, ::-1],
    "upside down": lambda p: p[::-1],
    "quarter turn": np.rot90,
    "turned": lambda p: turned(p, 8),
    "cropped": lambda p: p[9:-4, 2:-10],
    "shifted": lambda p: np.roll(p, (7, -9), (0, 1)),
    "mirrored, resized, brighter, re-encoded": lambda p: reencoded(brighter(resized(p[:, ::-1], 80, 90))),
    "cropped, turned, mirrored": lambda p: turned(p[6:-6, 4:-8], -7)[:, ::-1],
}


def score(first: Pixels, second: Pixels) -> float:
    thumbs = np.stack([describe(np.ascontiguousarray(p)) for p in (first, second)])
    found = verify(thumbs, find_candidates(thumbs)).score
    return float(found.max(initial=0.0))


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_copy_is_one_picture(name: str) -> None:
    for seed in (3, 4):
        assert score(head(seed), CHANGES[name](head(seed))) >= NEAR, seed


def test_neighbouring_slices_are_not_one_picture() -> None:
    slices = volume(5, slices=6)
    between = [score(slices[i], slices[i + 1]) for i in range(5)]
    assert max(between) < NEAR
    assert min(between) > 0, "the slices must be alike enough to be compared"


def test_another_head_is_not_one_picture() -> None:
    assert max(score(head(6), head(s)) for s in range(7, 15)) < NEAR


def test_a_picture_without_texture_scores_nothing() -> None:
    ramp = np.tile(np.linspace(0, 255, 64), (64, 1)).astype(np.uint8)
    assert score(ramp, ramp[:, ::-1]) == 0.0


def test_the_map_leads_to_the_same_place() -> None:
    picture = head(8)
    thumbs = np.stack([describe(picture), describe(turned(picture, 6)[:, ::-1])])
    candidates = find_candidates(thumbs)
    found = verify(thumbs, candidates)
    mirrored, degrees = orientation(found.maps)
    assert mirrored.all()
    # b = mirror(turn(a)) = turn back(mirror(a))
    assert degrees[0] == pytest.approx(-6, abs=0.6)
    assert np.abs(found.maps[0, :, 2]).max() < 0.03
    assert not in_place(found.maps).any()
    back = invert(found.maps)
    once = found.maps[0, :, :2] @ np.array([0.3, -0.2]) + found.maps[0, :, 2]
    assert back[0, :, :2] @ once + back[0, :, 2] == pytest.approx([0.3, -0.2], abs=1e-5)


def test_in_place_means_mirroring_and_quarter_turns_only() -> None:
    def place(linear: list[list[float]], shift: list[float]) -> bool:
        return bool(in_place(np.array([[[*linear[0], shift[0]], [*linear[1], shift[1]]]], np.float32))[0])

    assert place([[1, 0], [0, 1]], [0.01, 0])
    assert place([[0, -1.02], [0.98, 0]], [0, 0])
    assert place([[-1, 0.02], [0, 1]], [0, -0.01])
    assert not place([[1, 0], [0, 1]], [0.03, 0])
    assert not place([[1.05, 0], [0, 1]], [0, 0])
    assert not place([[0.6, 0.6], [-0.6, 0.6]], [0, 0])


def test_no_candidates_give_no_scores() -> None:
    empty = Candidates(
        np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 2), np.float32), np.zeros((0, 2, 2, 3), np.float32)
    )
    assert len(verify(np.zeros((0, 64, 64), np.uint8), empty).score) == 0
