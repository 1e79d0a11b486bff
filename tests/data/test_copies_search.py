from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.data.copies_pictures import head, turned
from tumorscope.data.copies import cells, search
from tumorscope.data.copies.all_pairs import best_similarity
from tumorscope.data.copies.descriptors import Thumbs, describe
from tumorscope.data.copies.vectors import (
    all_variants,
    make_base,
    moved_vectors,
    moves,
    small_pictures,
    turned_vectors,
    variants,
)


@pytest.fixture(scope="module")
def thumbs() -> Thumbs:
    """60 heads, then a turned and mirrored copy of each."""
    heads = [head(i, side=72) for i in range(60)]
    copies = [np.ascontiguousarray(np.rot90(turned(p, 5), i % 4)[:, :: 1 - 2 * (i % 2)]) for i, p in enumerate(heads)]
    return np.stack([describe(p) for p in heads + copies])


def pairs(found: search.Candidates) -> set[tuple[int, int]]:
    return set(zip(found.a.tolist(), found.b.tolist(), strict=True))


def test_vectors_are_of_unit_length_or_zero() -> None:
    made = make_base(np.stack([describe(head(1)), np.full((64, 64), 40, np.uint8)]))
    assert made.vectors.shape == (2, 88)
    assert made.vectors.norm(dim=1).numpy() == pytest.approx([1, 0])
    assert bool((made.tangents[1] == 0).all())
    assert len(make_base(np.zeros((0, 64, 64), np.uint8))) == 0


def test_variants_are_upright_then_mirrored() -> None:
    signs = np.sign(np.linalg.det(variants()))
    assert signs.tolist() == [1.0] * 36 + [-1.0] * 36


def test_variants_made_from_nine_moves_are_those_that_sampling_gives(thumbs: Thumbs) -> None:
    small = small_pictures(thumbs[:5])
    made = all_variants(moved_vectors(small))
    assert len(variants()) == len(made) == 8 * len(moves()) == 72
    for matrix, vectors in zip(variants(), made, strict=True):
        assert torch.allclose(vectors, turned_vectors(small, matrix), atol=1e-4)
    assert torch.pdist(made[:, 0]).min() > 0.01, "no two variants of a head are the same"


def test_shared_products_give_the_most_alike_variant(thumbs: Thumbs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tumorscope.data.copies.all_pairs._ROWS", 3)
    monkeypatch.setattr("tumorscope.data.copies.all_pairs._COLUMNS", 50)
    base = make_base(thumbs)
    moved = moved_vectors(small_pictures(thumbs[:7]))
    every = torch.einsum("vrd,nd->rnv", all_variants(moved), base.vectors).amax(2)
    assert torch.allclose(best_similarity(moved, base.vectors), every, atol=1e-5)


def test_threads_do_not_change_the_candidates(thumbs: Thumbs) -> None:
    before = torch.get_num_threads()
    for limit in (search.EXACT_LIMIT, 0):
        one, three = (search.find_candidates(thumbs, exact_limit=limit, threads=t) for t in (1, 3))
        assert np.array_equal(one.similarity, three.similarity)
        assert np.array_equal(one.maps, three.maps)
    assert torch.get_num_threads() == before


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
    monkeypatch.setattr(cells, "MIN_CHUNK", 50)
    monkeypatch.setattr(cells, "BLOCK", 20)
    monkeypatch.setattr(cells, "_PRODUCTS", 300)
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
    base = make_base(thumbs).vectors
    made = cells.make_cells(base)
    assert sorted(made.members.tolist()) == list(range(120))
    assert made.starts[0] == 0
    assert made.starts[-1] == 120
    assert len(made.starts) == len(made.centroids) + 1 == 13
    assert torch.equal(made.vectors, base[made.members])
    assert torch.equal(made.members, cells.make_cells(base).members)
