from __future__ import annotations

import numpy as np
import pytest
import torch

from tumorscope.imaging import loader as module
from tumorscope.imaging.augment import AugmentSpec
from tumorscope.imaging.loader import BatchLoader, Normalisation

N = 23
IMAGES = (np.arange(N, dtype=np.uint8) * 10)[:, None, None, None] * np.ones((1, 1, 8, 8), np.uint8)
TARGETS = np.arange(N, dtype=np.int64) % 3
HALF = Normalisation((0.5,), (0.5,))


def make(**changes: object) -> BatchLoader:
    arguments: dict[str, object] = {
        "rows": np.arange(3, N),
        "batch_size": 6,
        "normalisation": HALF,
        "seed": 1,
        **changes,
    }
    return BatchLoader(IMAGES, TARGETS, **arguments)  # type: ignore[arg-type]  # mixed keyword values


def test_every_row_once_and_normalised() -> None:
    batches = list(make())
    rows = torch.cat([b[2] for b in batches])
    assert rows.tolist() == list(range(3, N))
    images = torch.cat([b[0] for b in batches])
    expected = (rows.float() * 10 / 255 - 0.5) / 0.5
    torch.testing.assert_close(images[:, 0, 0, 0], expected)
    assert torch.cat([b[1] for b in batches]).tolist() == [r % 3 for r in range(3, N)]


def test_order_depends_on_seed_and_epoch_alone() -> None:
    loader = make(shuffle=True)

    def order(epoch: int) -> list[int]:
        loader.epoch = epoch
        return [int(r) for b in loader for r in b[2]]

    first, second, again = order(0), order(1), order(0)
    assert first == again != second
    assert sorted(first) == list(range(3, N))
    assert first != [int(r) for b in make(shuffle=True, seed=2) for r in b[2]]


def test_memory_mapped_path_equals_resident(monkeypatch: pytest.MonkeyPatch) -> None:
    augment = AugmentSpec(flip_horizontal=0.5, rotate_deg=10, contrast=0.2)
    resident = list(make(shuffle=True, augment=augment))
    monkeypatch.setattr(module, "RESIDENT_BYTES", 0)
    mapped = list(make(shuffle=True, augment=augment))
    for a, b in zip(resident, mapped, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_last_batch_of_one_is_left_out_of_training_only() -> None:
    assert len(make(rows=np.arange(13), shuffle=True)) == 2
    assert len(make(rows=np.arange(13))) == 3
    assert len(make(rows=np.arange(14), shuffle=True)) == 3
    assert len(make(rows=np.arange(1), shuffle=True)) == 1


def test_channels_last() -> None:
    batch = next(iter(make(channels_last=True)))[0]
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_regions_move_with_their_images() -> None:
    images = np.zeros((5, 1, 32, 32), np.uint8)
    regions = np.zeros((5, 1, 8, 8), np.uint8)
    for i in range(5):
        images[i, 0, 4 * i + 4 : 4 * i + 12, 16:24] = 255
        regions[i, 0, i + 1 : i + 3, 4:6] = 255
    spec = AugmentSpec(flip_horizontal=0.5, flip_vertical=0.5, rotate_deg=15)
    loader = BatchLoader(
        images,
        np.zeros(5, np.int64),
        rows=range(5),
        batch_size=5,
        normalisation=Normalisation((0.0,), (1.0,)),
        augment=spec,
        regions=regions,
        shuffle=True,
        seed=3,
    )
    moved = set()
    for loader.epoch in range(4):
        ((batch, _, _, masks),) = loader
        assert masks.shape == (5, 1, 8, 8)
        small = torch.nn.functional.interpolate(batch, (8, 8), mode="area")
        overlap = (small * masks).sum() / small.sum().clamp_min(1e-6)
        assert overlap > 0.7
        moved.add(masks.numpy().tobytes())
    assert len(moved) == 4


def test_without_regions_a_batch_has_three_parts() -> None:
    assert {len(batch) for batch in make()} == {3}
