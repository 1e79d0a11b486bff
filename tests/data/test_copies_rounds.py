from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from tumorscope.data.copies import rounds
from tumorscope.data.copies.rounds import best_rank, verify_in_rounds
from tumorscope.data.copies.search import Candidates
from tumorscope.data.copies.verify import Verified

Ends = tuple[int, int]
THUMBS = np.zeros((12, 64, 64), np.uint8)


def candidates(similarity: Mapping[Ends, float]) -> Candidates:
    ends = np.array(sorted(similarity), np.int64)
    alike = np.array([[similarity[a, b], 0.0] for a, b in ends.tolist()], np.float32)
    return Candidates(ends[:, 0], ends[:, 1], alike, np.zeros((len(ends), 2, 2, 3), np.float32))


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[list[Ends]]:
    """Rounds of verified pairs; a pair scores what its similarity says, as if registered out of place."""
    asked: list[list[Ends]] = []

    def verify(thumbs: NDArray[np.uint8], some: Candidates, **_: object) -> Verified:
        assert thumbs is THUMBS
        asked.append(list(zip(some.a.tolist(), some.b.tolist(), strict=True)))
        return Verified(some.similarity[:, 0] - 1, np.zeros((len(some), 2, 3), np.float32))

    monkeypatch.setattr(rounds, "verify", verify)
    return asked


def test_the_rank_is_that_of_the_image_with_fewer_better_ones() -> None:
    some = candidates({(0, 1): 0.9, (0, 2): 0.8, (0, 3): 0.7, (2, 3): 0.95, (1, 3): 0.8})
    assert dict(zip(zip(some.a.tolist(), some.b.tolist(), strict=True), best_rank(some).tolist(), strict=True)) == {
        (0, 1): 0,
        (0, 2): 1,
        (0, 3): 2,
        (1, 3): 1,
        (2, 3): 0,
    }


def test_images_joined_already_are_not_verified(verified: list[list[Ends]]) -> None:
    ring = {(i, j): 1.9 + (0.05 if j == i + 1 else 0.0) for i in range(6) for j in range(i + 1, 6)}
    some, found = verify_in_rounds(THUMBS, candidates(ring))
    assert [pair for once in verified for pair in once] == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]
    assert len(some) == len(found.score) == 5
    assert (found.score > 0.9).all()


def test_different_groups_are_settled_by_three_pairs(verified: list[list[Ends]]) -> None:
    two = {(i, i + 1): 1.95 for i in (0, 1, 2, 6, 7, 8)} | {(i, j): 1.1 for i in range(4) for j in range(6, 10)}
    some, _ = verify_in_rounds(THUMBS, candidates(two))
    between = [pair for pair in zip(some.a.tolist(), some.b.tolist(), strict=True) if pair[0] < 4 <= pair[1]]
    assert len(between) == rounds.TRIES
    assert all(sum(pair in between for pair in once) <= 1 for once in verified)


@pytest.mark.parametrize(("score", "tries"), [(0.8, 4), (0.76, 4), (0.3, 3)])
def test_a_doubtful_pair_settles_nothing(verified: list[list[Ends]], score: float, tries: int) -> None:
    # 0-1-2 and 6-7-8; of the four pairs between them none is near, but only far ones settle that
    within = {(0, 1): 1.98, (1, 2): 1.98, (6, 7): 1.98, (7, 8): 1.98}
    between = dict.fromkeys([(0, 6), (1, 7), (2, 8), (0, 8)], 1 + score)
    some, _ = verify_in_rounds(THUMBS, candidates(within | between))
    assert len(some) == 4 + tries
    assert sum(map(len, verified)) == len(some)


def test_one_pair_clearly_of_one_patient_settles_the_rest(
    verified: list[list[Ends]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "alike", lambda found: found.score >= 0.5)
    within = {(0, 1): 1.98, (6, 7): 1.98}
    some, _ = verify_in_rounds(THUMBS, candidates(within | {(0, 6): 1.6, (1, 7): 1.59, (0, 7): 1.58}))
    assert len(some) == 3
    assert verified[-1] == [(0, 6)]


def test_progress_counts_what_is_left_out(verified: list[list[Ends]]) -> None:
    del verified
    calls: list[tuple[str, int, int]] = []
    ring = {(i, j): 1.9 for i in range(6) for j in range(i + 1, 6)}
    verify_in_rounds(THUMBS, candidates(ring), progress=lambda *call: calls.append(call))
    assert calls[-1] == ("verify", 15, 15)


def test_no_candidates() -> None:
    empty = Candidates(
        np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 2), np.float32), np.zeros((0, 2, 2, 3), np.float32)
    )
    some, found = verify_in_rounds(THUMBS, empty)
    assert len(some) == len(found.score) == 0
