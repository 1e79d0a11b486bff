"""The neighbours of an image compared once more, allowing for small moves, and the best of them kept.

In: vectors of query images in all variants, and positions of their neighbours. Out: `Hits`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tumorscope.data.copies.vectors import MIN_SIMILARITY, Base

if TYPE_CHECKING:
    import torch

_ROWS = 16


@dataclass(frozen=True)
class Hits:
    """(M,) queries and answers, (M, 2) best similarity upright and mirrored, (M, 2) variants that gave it."""

    query: NDArray[np.int64]
    answer: NDArray[np.int64]
    similarity: NDArray[np.float32]
    variant: NDArray[np.int8]

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The columns by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def unite(parts: list[Hits]) -> Hits:
    """All hits in one."""
    nothing = np.zeros(0, np.int64)
    return Hits(
        np.concatenate([nothing, *(p.query for p in parts)]),
        np.concatenate([nothing, *(p.answer for p in parts)]),
        np.concatenate([np.zeros((0, 2), np.float32), *(p.similarity for p in parts)]),
        np.concatenate([np.zeros((0, 2), np.int8), *(p.variant for p in parts)]),
    )


def best_hits(first: int, queries: torch.Tensor, answers: torch.Tensor, base: Base, k: int) -> Hits:
    """The best `k` hits of every query of a block.

    Args:
        first: Position of the block's first image.
        queries: (72, R, 88) vectors of the block.
        answers: (R, K) int64 positions of neighbours; negative for none.
        base: What is known of all images.
        k: Hits to keep of each query.
    """
    import torch

    parts = []
    for start in range(0, len(answers), _ROWS):
        known = answers[start : start + _ROWS]
        block = queries[:, start : start + _ROWS]
        at = known.clamp_min(0)
        by_variant = torch.einsum("vrd,rkd->rkv", block, base.vectors[at])
        half = by_variant.shape[2] // 2
        similarity, variant = by_variant.reshape(*known.shape, 2, half).max(3)
        variant = variant + torch.tensor([0, half])
        rows = torch.arange(len(known))[:, None]
        turned = block[variant, rows[:, :, None]]
        moved = torch.einsum("rkhd,rktd->rkht", turned, base.tangents[at].float()).norm(dim=3)
        possible = (similarity.amax(2) >= MIN_SIMILARITY) & (known >= 0) & (known != rows + first + start)
        order = torch.where(possible, moved.amax(2), -1.0).topk(min(k, known.shape[1]), dim=1).indices
        kept = possible.gather(1, order)
        parts.append(
            Hits(
                (rows + first + start).expand_as(order)[kept].numpy(),
                known.gather(1, order)[kept].numpy(),
                similarity[rows, order][kept].numpy(),
                variant[rows, order][kept].to(torch.int8).numpy(),
            )
        )
    return unite(parts)
