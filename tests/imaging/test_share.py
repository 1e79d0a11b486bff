from __future__ import annotations

import numpy as np
import pytest
import torch

from tumorscope.imaging.augment import AugmentSpec
from tumorscope.imaging.loader import BatchLoader, Normalisation
from tumorscope.imaging.share import Share


@pytest.mark.parametrize("of", [1, 2, 3, 7])
@pytest.mark.parametrize("n", [0, 1, 2, 5, 8, 100])
def test_shares_follow_one_another_and_leave_nothing_out(n: int, of: int) -> None:
    parts = [list(range(n))[Share(number, of).part(n)] for number in range(of)]
    assert [i for part in parts for i in part] == list(range(n))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("of", [2, 5])
def test_the_shares_of_a_batch_are_the_batch(of: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (11, 1, 16, 16), dtype=np.uint8)
    regions = np.random.default_rng(1).integers(0, 2, (11, 1, 8, 8), dtype=np.uint8) * np.uint8(255)

    def batches(share: Share) -> list[tuple[torch.Tensor, ...]]:
        return list(
            BatchLoader(
                images,
                np.arange(11),
                rows=range(11),
                batch_size=4,
                normalisation=Normalisation((0.5,), (0.5,)),
                augment=AugmentSpec(flip_horizontal=0.5, rotate_deg=9, contrast=0.3, erase=0.5),
                regions=regions,
                shuffle=True,
                seed=3,
                share=share,
            )
        )

    whole = batches(Share())
    shares = [batches(Share(number, of)) for number in range(of)]
    assert [len(share) for share in shares] == [len(whole)] * of  # of 3 images in the last, some have none
    for k, batch in enumerate(whole):
        for part, value in enumerate(batch):
            torch.testing.assert_close(torch.cat([share[k][part] for share in shares]), value, rtol=0, atol=0)
