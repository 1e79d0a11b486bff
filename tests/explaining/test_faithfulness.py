"""Taking away what matters changes the answer; taking away as much elsewhere does not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.explaining.planted import SIZE, probs_of, spot_model, spots
from tumorscope.explaining.faithfulness import (
    blurred,
    curves,
    moved,
    only_border,
    only_boxes,
    ring,
    without_boxes,
)


def _patch_predictor(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Probability of class 1 is the brightness of one 4x4 patch."""
    share = images[:, 0, 4:8, 4:8].mean(axis=(1, 2)) / 255
    return np.stack([1 - share, share], axis=1)


def _patch_images() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    images = np.zeros((2, 1, 16, 16), dtype=np.uint8)
    images[:, :, 4:8, 4:8] = 255
    heat = np.zeros((2, 16, 16), dtype=np.float32)
    heat[:, 4:8, 4:8] = 1
    return images, heat


def test_curves_by_hand() -> None:
    images, heat = _patch_images()
    calls: list[tuple[int, int]] = []
    found = curves(
        images,
        heat,
        targets=np.array([1, 0]),
        predict=_patch_predictor,
        steps=16,
        progress=lambda done, total: calls.append((done, total)),
    )
    # the patch is a sixteenth of the image: gone or back after the first step; deleted pixels are mean gray, 16
    assert found.shares == pytest.approx(np.linspace(0, 1, 17))
    assert found.deletion[0] == pytest.approx([1.0] + [16 / 255] * 16)
    start = blurred(images[0])[0, 4:8, 4:8].mean() / 255
    assert found.insertion[0] == pytest.approx([start] + [1.0] * 16)
    assert found.deletion[1] == pytest.approx(1 - found.deletion[0])
    assert found.deletion_area[0] == pytest.approx((1 + 16 / 255) / 32 + 16 / 255 * 15 / 16)
    assert found.insertion_area[0] == pytest.approx(1 - (1 - start) / 32)
    assert calls == [(1, 2), (2, 2)]


def test_equal_heat_is_a_random_order_from_the_seed() -> None:
    images, heat = _patch_images()

    def run(seed: int, heats: NDArray[np.float32]) -> NDArray[np.float64]:
        return curves(images, heats, targets=np.array([1, 1]), predict=_patch_predictor, seed=seed).deletion

    flat = np.ones_like(heat)
    assert np.array_equal(run(0, flat), run(0, flat))
    assert not np.array_equal(run(0, flat), run(1, flat))
    # patches fall here and there, not in rows from the top
    assert 0.2 < run(0, flat)[:, 10].mean() < 0.8
    assert run(0, heat)[:, 2].max() < 0.1


def test_removing_the_boxes_changes_the_models_answer_and_moving_them_does_not() -> None:
    rows, built = spots(40), spot_model()
    masks = rows.masks(np.arange(40))

    def accuracy(images: NDArray[np.uint8]) -> float:
        return float((probs_of(built, images).argmax(axis=1) == rows.targets).mean())

    # each image has both spots: without its own, the other class's wins
    assert accuracy(without_boxes(rows.images, masks)) == 0
    assert accuracy(only_boxes(rows.images, masks)) == 1
    # the same boxes elsewhere take the other spot away at most
    elsewhere, _fit = moved(rows.boxes, np.full_like(rows.images, 90), rng=np.random.default_rng(0))
    before = probs_of(built, rows.images)[np.arange(40), rows.targets]
    after = probs_of(built, without_boxes(rows.images, elsewhere))[np.arange(40), rows.targets]
    assert (after >= before - 0.01).all()


def test_what_is_kept_is_kept_and_the_rest_is_flat() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (2, 3, 20, 20)).astype(np.uint8)
    masks = np.zeros((2, 20, 20), dtype=bool)
    masks[:, 5:9, 6:12] = True
    given = images.copy()
    for found, kept in (
        (without_boxes(images, masks), ~masks[0]),
        (only_boxes(images, masks), masks[0]),
        (only_border(images, share=0.1), np.pad(np.zeros((16, 16), dtype=bool), 2, constant_values=True)),
    ):
        assert found.shape == images.shape
        assert found.dtype == np.uint8
        assert np.array_equal(found[:, :, kept], images[:, :, kept])
        assert (np.ptp(found[:, :, ~kept], axis=2) == 0).all()
        assert not np.array_equal(found, images)
    assert np.array_equal(images, given)
    # no box: nothing taken away, and all of it
    none = np.zeros_like(masks)
    assert np.array_equal(without_boxes(images, none), images)
    assert np.ptp(only_boxes(images, none)[0, 0]) == 0


def test_the_fill_is_the_mean_of_a_ring() -> None:
    images = np.full((1, 1, 64, 64), 10, dtype=np.uint8)
    masks = np.zeros((1, 64, 64), dtype=bool)
    masks[0, 20:30, 20:30] = True
    images[0, 0, 18:32, 18:32] = 90
    images[0, 0, 20:30, 20:30] = 250
    assert ring(masks[0]).sum() == 14 * 14 - 10 * 10
    assert (without_boxes(images, masks)[0, 0, 20:30, 20:30] == 90).all()


def test_moved_boxes_keep_their_size_and_leave_their_place() -> None:
    rows = spots(10)
    boxes = [*rows.boxes, np.zeros((0, 4)), np.array([[0.0, 0, SIZE, SIZE]])]
    images = np.full((12, 1, SIZE, SIZE), 90, dtype=np.uint8)
    masks, fit = moved(boxes, images, rng=np.random.default_rng(3))
    home = rows.masks(np.arange(10))
    assert masks.sum(axis=(1, 2)).tolist() == [36] * 10 + [0, SIZE * SIZE]
    assert not (masks[:10] & home).any()
    assert fit.tolist() == [True] * 10 + [False, False]  # none to move, and one that fills the image


def test_boxes_move_on_the_scan_only() -> None:
    images = np.zeros((20, 1, 64, 64), dtype=np.uint8)
    images[:, :, :, :32] = 90
    box = np.array([[4.0, 4, 14, 14]])
    masks, fit = moved([box] * 20, images, rng=np.random.default_rng(0))
    assert fit.all()
    assert (images[:, 0][masks] > 0).mean() >= 0.9
    # a scan no larger than the box leaves no place
    images[:] = 0
    images[:, :, 4:14, 4:14] = 90
    assert not moved([box] * 20, images, rng=np.random.default_rng(0))[1].any()
