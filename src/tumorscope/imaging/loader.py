"""Batches for training and inference from a pixel cache: one gather, one copy to the device, no workers.

In: a cache and the rows to use. Out: (images, targets, rows) with images (B, C, S, S) float32 normalised. The
order and the augmentation of an epoch depend on the seed and the epoch number alone, so a resumed run sees what
an uninterrupted one would have seen. Where several processes train together, each takes its share of every batch:
what is random is drawn for the whole batch, so that an image looks the same whoever takes it.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tumorscope.core.types import Targets
from tumorscope.imaging.augment import AugmentSpec, apply, draw, move
from tumorscope.imaging.pages import release
from tumorscope.imaging.share import Share

RESIDENT_BYTES = 512 << 20
"""Sets up to this size are kept whole in memory; larger ones are read from the cache file batch by batch."""


def resident_bytes(device: torch.device) -> int:
    """How large a set is kept whole on a device: half of what is free on an accelerator."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] // 2)
    return RESIDENT_BYTES


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Per-channel mean and standard deviation on the 0..1 scale."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def apply(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float32 in 0..1 to zero mean, unit deviation."""
        mean = torch.tensor(self.mean, dtype=images.dtype, device=images.device)[:, None, None]
        std = torch.tensor(self.std, dtype=images.dtype, device=images.device)[:, None, None]
        return (images - mean) / std


def to_unit(images: Tensor) -> Tensor:
    """uint8 0..255 to float32 0..1."""
    return images.to(torch.float32).mul_(1 / 255)


class Batches(ABC):
    """Order and targets of epochs of batches; what a batch holds is for the kinds of batches to say.

    Set `epoch` before each pass, and `channels_last` for batches in that memory layout.

    Args:
        targets: (N,) int64 class positions of all N images.
        rows: Which of the N to use, in the order of the pass when `shuffle` is off.
        batch_size: Images a batch.
        shuffle: New order every epoch.
        seed: Root of order and augmentation.
        device: Where batches go.
        channels_last: Hand out batches in that memory layout.
        share: Hand out this share of each batch, which may be empty; the whole by default.
    """

    def __init__(
        self,
        targets: Targets,
        *,
        rows: Sequence[int] | NDArray[np.int64],
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        device: torch.device | str = "cpu",
        channels_last: bool = False,
        share: Share | None = None,
    ) -> None:
        self.targets = targets
        self.rows = np.asarray(rows, dtype=np.int64)
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.device = torch.device(device)
        self.channels_last = channels_last
        self.share = share or Share()
        self.epoch = 0
        self._targets = torch.from_numpy(np.array(targets, dtype=np.int64))

    def __len__(self) -> int:
        whole, rest = divmod(len(self.rows), self.batch_size)
        # a last batch of one image would break batch normalisation in training
        return whole + (rest > (1 if self.shuffle and whole else 0))

    @abstractmethod
    def _inputs(self, positions: NDArray[np.int64], mine: slice, generator: torch.Generator) -> tuple[Tensor, ...]:
        """What the network takes for `mine` of the images at `positions` of `rows`; then what else a batch carries.

        Random values come from the epoch's generator, for all of `positions`.
        """

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        generator = torch.Generator().manual_seed(
            int(np.random.SeedSequence([self.seed, self.epoch]).generate_state(1, np.uint64)[0] >> 1)
        )
        n = len(self.rows)
        order = torch.randperm(n, generator=generator).numpy() if self.shuffle else np.arange(n)
        for batch in range(len(self)):
            positions = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            mine = self.share.part(len(positions))
            inputs, *more = self._inputs(positions, mine, generator)
            rows = torch.from_numpy(self.rows[positions[mine]])
            yield inputs, self._targets[rows].to(self.device), rows, *more


class BatchLoader(Batches):
    """Batches of normalised images, augmented for training.

    Args:
        images: (N, C, S, S) uint8, memory-mapped or in memory.
        targets: As for `Batches`, like the other arguments below that are not named here.
        normalisation: Applied last.
        augment: Applied to training batches; None for validation and test.
        regions: (N, 1, R, R) uint8 masks, 255 inside a region of interest; moved with the images, and handed out as
            the fourth part of a batch, (B, 1, R, R) float32 in 0..1.
        order: What `Batches` takes: rows, batch_size, shuffle, seed, device, channels_last, share.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        targets: Targets,
        *,
        normalisation: Normalisation,
        augment: AugmentSpec | None = None,
        regions: NDArray[np.uint8] | None = None,
        **order: Any,
    ) -> None:
        super().__init__(targets, **order)
        self.images = images
        self.normalisation = normalisation
        self.regions = regions
        self.augment = augment if augment is not None and augment.active else None
        self._resident: Tensor | None = None
        if self.rows.size and images[0].size * self.rows.size <= resident_bytes(self.device):
            self._resident = torch.from_numpy(np.ascontiguousarray(images[self.rows])).to(self.device)

    def _gather(self, positions: NDArray[np.int64]) -> Tensor:
        if self._resident is not None:
            return self._resident[torch.from_numpy(positions).to(self.device)]
        rows = self.rows[positions]
        order = np.argsort(rows, kind="stable")
        batch = np.empty((len(rows), *self.images.shape[1:]), dtype=np.uint8)
        batch[order] = self.images[rows[order]]
        release(self.images)
        return torch.from_numpy(batch).to(self.device)

    def _inputs(self, positions: NDArray[np.int64], mine: slice, generator: torch.Generator) -> tuple[Tensor, ...]:
        images = to_unit(self._gather(positions[mine]))
        more = []
        if self.regions is not None:
            more.append(to_unit(torch.from_numpy(self.regions[self.rows[positions[mine]]]).to(self.device)))
        drawn = None if self.augment is None else draw(self.augment, len(positions), generator)
        if drawn is not None and len(images):
            drawn = drawn.some(mine)
            images = apply(images, drawn)
            more = [move(region, drawn, outside="zeros") for region in more]
        images = self.normalisation.apply(images)
        return images.contiguous(memory_format=torch.channels_last) if self.channels_last else images, *more

    def in_order(self, *, augmented: bool) -> BatchLoader:
        """The same images, not shuffled; with `augmented`, changed at random as this loader does."""
        twin = copy.copy(self)
        twin.shuffle = False
        twin.augment = self.augment if augmented else None
        return twin
