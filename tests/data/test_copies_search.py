from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.data.copies_pictures import head, turned
from tumorscope.data.copies import cells, search
from tumorscope.data.copies.descriptors import Thumbs, describe
from tumorscope.data.copies.vectors import variants, vectors


@pytest.fixture(scope="module")
def thumbs() -> Thumbs:
    """60 heads, then a turned and mirrored copy of each."""
    heads = [head(i, side=72) for i in range(60)]
    copies = [np.ascontiguousarray(np.rot90(turned(p, 5), i % 4)[:, :: 1 - 2 * (i % 2)]) for i, p in enumerate(heads)]
    return np.stack([describe(p) for p in heads + copies])


def pairs(found: search.Candidates) -> set[tuple[int, int]]:
    return set(zip(found.a.tolist(), found.b.tolist(), strict=True))


def test_vectors_are_of_unit_length_or_zero() -> None:
    made = vectors(np.stack([describe(head(1)), np.full((64, 64), 40, np.uint8)]))
    assert made.shape == (2, 88)
    assert np.linalg.norm(made, axis=1) == pytest.approx([1, 0])
    assert vectors(np.zeros((0, 64, 64), np.uint8)).shape == (0, 88)


def test_variants_are_upright_then_mirrored() -> None:
    signs = np.sign(np.linalg.det(variants()))
    assert signs.tolist() == [1.0] * 36 + [-1.0] * 36


def test_every_turned_copy_is_a_candidate(thumbs: Thumbs) -> None:
    calls: list[tuple[str, int, int]] = []
    found = search.find_candidates(thumbs, progress=lambda *c: calls.append(c))
    assert {(i, i + 60) for i in range(60)} <= pairs(found)
    assert (found.a < found.b).all()
    assert len(pairs(found)) == len(found.a)
    assert (found.similarity[:, 0] >= found.similarity[:, 1]).all()
    assert calls[-1] == ("search", 120, 120)


def test_guesses_are_one_upright_and_one_mirrored(thumbs: Thumbs) -> None:
    found = search.find_candidates(thumbs)
    signs = np.sign(np.linalg.det(found.maps[:, :, :, :2]))
    assert (signs.sum(1) == 0).all()
    own = [(a, b) in {(i, i + 60) for i in range(60)} for a, b in zip(found.a, found.b, strict=True)]
    mirrored = found.a[own] % 2 == 1
    assert (signs[own][:, 0] < 0).tolist() == mirrored.tolist()


def test_cells_find_what_all_pairs_find(thumbs: Thumbs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "CELL_SIZE", 10)
    monkeypatch.setattr(cells, "_CHUNK", 50)
    found = search.find_candidates(thumbs, exact_limit=0)
    own = {(i, i + 60) for i in range(60)}
    assert len(own & pairs(found)) >= 59
    everything = search.find_candidates(thumbs)
    value = dict(zip(zip(everything.a, everything.b, strict=True), everything.similarity[:, 0], strict=True))
    shared = [
        (value[a, b], s[0]) for a, b, s in zip(found.a, found.b, found.similarity, strict=True) if (a, b) in value
    ]
    assert len(shared) > 60
    # a pair found from one side only may be a little less alike than from its better side
    assert max(abs(one - other) for one, other in shared) < 0.2
    assert sum(abs(one - other) < 1e-4 for one, other in shared) > 0.7 * len(shared)


def test_one_cell_or_few_images_work(thumbs: Thumbs) -> None:
    for n in (0, 1, 2, 5):
        assert pairs(search.find_candidates(thumbs[:n], exact_limit=0)) <= {(i, j) for j in range(n) for i in range(j)}
        assert pairs(search.find_candidates(thumbs[:n])) == pairs(search.find_candidates(thumbs[:n], exact_limit=0))


def test_cells_hold_every_image_once(thumbs: Thumbs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "CELL_SIZE", 10)
    base = torch.from_numpy(vectors(thumbs))
    made = cells.make_cells(base)
    assert sorted(made.members.tolist()) == list(range(120))
    assert made.starts[0] == 0
    assert made.starts[-1] == 120
    assert len(made.starts) == len(made.centroids) + 1 == 13
    assert torch.equal(made.members, cells.make_cells(base).members)
