from __future__ import annotations

import pytest

from tumorscope.data.copies import CopyKind, Pair, group

PAIRS = [
    Pair(1, 4, "exact", 1.0),
    Pair(4, 5, "near", 0.9, mirrored=True),
    Pair(0, 2, "pixels", 1.0),
    Pair(2, 3, "patient-likely", 0.5),
]


def test_chains_make_groups_numbered_by_their_first_image() -> None:
    assert group(7, PAIRS).tolist() == [0, 1, 0, 2, 1, 1, 3]


@pytest.mark.parametrize(
    ("kinds", "groups"),
    [(["exact"], [0, 1, 2, 3, 1, 4, 5]), (["pixels", "patient-likely"], [0, 1, 0, 0, 2, 3, 4])],
)
def test_only_the_asked_kinds_join(kinds: list[CopyKind], groups: list[int]) -> None:
    assert group(7, PAIRS, kinds=kinds).tolist() == groups


def test_no_pairs_and_no_images() -> None:
    assert group(3, []).tolist() == [0, 1, 2]
    assert group(0, []).tolist() == []


def test_the_order_of_pairs_does_not_matter() -> None:
    assert group(7, reversed(PAIRS)).tolist() == group(7, PAIRS).tolist()
