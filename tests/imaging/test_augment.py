from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tumorscope.imaging.augment import AugmentSpec, apply, draw

EVERYTHING = AugmentSpec(
    flip_horizontal=0.5,
    flip_vertical=0.5,
    rotate_deg=20,
    translate=0.1,
    scale=(0.8, 1.2),
    brightness=0.2,
    contrast=0.3,
    erase=0.5,
)


def images(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, 1, 24, 24, generator=torch.Generator().manual_seed(seed))


def test_a_batch_equals_one_by_one() -> None:
    batch = images(9)
    params = draw(EVERYTHING, 9, torch.Generator().manual_seed(3))
    together = apply(batch, params)
    single = torch.cat([apply(batch[i : i + 1], params.some(slice(i, i + 1))) for i in range(9)])
    torch.testing.assert_close(together, single)
    assert not torch.allclose(together, batch)


def test_same_seed_same_change() -> None:
    first, second, other = (apply(images(4), draw(EVERYTHING, 4, torch.Generator().manual_seed(s))) for s in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_nothing_asked_nothing_changed() -> None:
    spec = AugmentSpec()
    assert not spec.active
    batch = images(3)
    assert torch.equal(apply(batch, draw(spec, 3, torch.Generator())), batch)


@pytest.mark.parametrize(
    ("spec", "flipped"),
    [(AugmentSpec(flip_horizontal=1.0), 3), (AugmentSpec(flip_vertical=1.0), 2)],
)
def test_flips_are_exact(spec: AugmentSpec, flipped: int) -> None:
    batch = images(2)
    changed = apply(batch, draw(spec, 2, torch.Generator()))
    torch.testing.assert_close(changed, batch.flip(flipped), atol=1e-5, rtol=0)


def test_zoom_and_rotation_move_a_known_point() -> None:
    batch = torch.zeros(1, 1, 65, 65)
    batch[0, 0, 32, 48] = 1.0  # right of the centre
    zoomed = apply(batch, draw(AugmentSpec(scale=(1.5, 1.5)), 1, torch.Generator()))
    row, column = divmod(int(zoomed.flatten().argmax()), 65)
    assert (row, column) == (32, 56)
    generator = torch.Generator().manual_seed(0)
    params = draw(AugmentSpec(rotate_deg=90), 1, generator)
    turned = apply(batch, params)
    row, column = divmod(int(turned.flatten().argmax()), 65)
    assert abs(((row - 32) ** 2 + (column - 32) ** 2) ** 0.5 - 16) < 1.5
    assert (row, column) != (32, 48)


def test_stays_in_range_and_erases_to_the_mean() -> None:
    batch = images(50)
    changed = apply(batch, draw(EVERYTHING, 50, torch.Generator().manual_seed(0)))
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 1
    erased = apply(batch, draw(AugmentSpec(erase=1.0), 50, torch.Generator().manual_seed(0)))
    share = (erased != batch).float().mean(dim=(1, 2, 3))
    assert float(share.min()) > 0.005
    assert float(share.max()) < 0.25
