"""Run the frozen part of a network once: activations at the cut, kept for all epochs of a stage.

In: a cut network and the loaders of a stage. Out: loaders of the same order that hand out activations. Each training
image is kept in a few views, the first plain and the others augmented, drawn ahead; epoch e sees view e modulo
their number. Activations are bf16 or float32 as the plan computes them, and lie in memory or, where they are many,
in a nameless file in the cache folder that goes when the process does. Runs one after another in one process, as in a
sweep, may share them (`sharing`): where the frozen part and the images are equal, it runs once for all of them.
Processes that train together each compute their share, and each keep all of it.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tumorscope.core.errors import ResourceError
from tumorscope.core.files import cache_root
from tumorscope.core.types import Targets
from tumorscope.imaging.loader import Batches, BatchLoader, resident_bytes
from tumorscope.imaging.pages import release
from tumorscope.models.trunk import CutNetwork, trunk_of
from tumorscope.training.plan import Plan
from tumorscope.training.processes import ALONE, Processes

MEMORY_BYTES = 1 << 30
"""Activations up to this size stay in memory."""

Progress = Callable[[int, int], None]


@dataclass
class _Shared:
    """Activations in memory by what they depend on, up to `MEMORY_BYTES`, with the images, which are known by place."""

    kept: dict[str, tuple[Tensor, NDArray[np.uint8]]] = field(default_factory=dict)

    def add(self, key: str, views: Tensor, images: NDArray[np.uint8]) -> None:
        """Keep these, the oldest ones go where they are too many."""
        self.kept[key] = views, images
        while sum(v.numel() * v.element_size() for v, _ in self.kept.values()) > MEMORY_BYTES:
            del self.kept[next(iter(self.kept))]


_shared: ContextVar[_Shared | None] = ContextVar("shared activations", default=None)


@contextmanager
def sharing() -> Iterator[None]:
    """Within the block, runs with the same frozen part and images share its activations."""
    token = _shared.set(_Shared())
    try:
        yield
    finally:
        _shared.reset(token)


def _key(cut: CutNetwork, loader: BatchLoader, *, views: int, plan: Plan) -> str:
    """Hash of all that decides activations: the frozen part with its weights, images, what is drawn, precision."""
    digest = hashlib.sha256()
    for name, tensor in sorted(cut.trunk.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    digest.update(loader.rows.tobytes())
    facts: list[Any] = [getattr(cut.trunk, "code", ""), cut.boundary, id(loader.images), loader.normalisation, views]
    facts += [plan.device, plan.precision, plan.memory_format]
    if views > 1:
        facts += [loader.augment, loader.seed, loader.batch_size]
    digest.update(repr(facts).encode())
    return digest.hexdigest()


class ActivationLoader(Batches):
    """Batches of kept activations.

    Args:
        views: (K, N, ...) activations of the images at `rows`, 4-D ones as (height, width, channels).
        targets: As for `Batches`.
        mapped: The file that `views` lies in, if it does; its pages are given back as they are used.
        order: What `Batches` takes.
    """

    def __init__(
        self, views: Tensor, targets: Targets, *, mapped: NDArray[np.uint8] | None = None, **order: Any
    ) -> None:
        super().__init__(targets, **order)
        self.views = views
        self.mapped = mapped

    def _inputs(self, positions: NDArray[np.int64], mine: slice, generator: torch.Generator) -> tuple[Tensor, ...]:
        del generator  # nothing is drawn any more
        batch = self.views[self.epoch % len(self.views)][torch.from_numpy(positions[mine]).to(self.views.device)]
        batch = batch.to(self.device)
        if self.mapped is not None:
            release(self.mapped)
        if batch.ndim == 4:
            batch = batch.permute(0, 3, 1, 2)
            batch = batch if self.channels_last else batch.contiguous()
        return (batch,)


def keep_activations(
    cut: CutNetwork,
    loader: BatchLoader,
    *,
    views: int,
    plan: Plan,
    progress: Progress | None = None,
    processes: Processes = ALONE,
) -> ActivationLoader:
    """A loader of activations with the order of `loader`.

    Args:
        cut: The network in two halves; left in evaluation mode.
        loader: Images; one that does not shuffle gives one plain view.
        views: Number of views of each image.
        plan: Precision and layout of the trunk's steps.
        progress: Called with (images done, images in all).
        processes: Those that train together; `loader` hands out the share of this one.

    Raises:
        ResourceError: If the disk cannot hold the activations.
    """
    n = len(loader.rows)
    kept: Tensor | None = None
    mapped: NDArray[np.uint8] | None = None
    shared = _shared.get()
    key = "" if shared is None else _key(cut, loader, views=views, plan=plan)
    if shared is not None and key in shared.kept:
        kept = shared.kept[key][0]
        cut.network.eval()
    for view in range(views if kept is None else 0):
        plain = loader.in_order(augmented=view > 0)
        plain.epoch = view
        done = 0
        for images, _, _ in plain:
            size = min(loader.batch_size, n - done)
            with torch.autocast(plan.device, dtype=torch.bfloat16, enabled=plan.precision == "bf16"):
                found = trunk_of(cut, images)
            if found.ndim == 4:
                found = found.permute(0, 2, 3, 1)
            found = processes.put_together(found, size)
            if kept is None:
                kept, mapped = _room((views, n, *found.shape[1:]), found.dtype, loader.device)
            kept[view, done : done + size] = found.to(kept.device)
            if mapped is not None:
                release(mapped)
            done += size
            if progress is not None:
                progress(view * n + done, views * n)
    if kept is None:
        raise AssertionError("a stage without images")
    if shared is not None and mapped is None:
        shared.add(key, kept, loader.images)
    return ActivationLoader(
        kept,
        loader.targets,
        mapped=mapped,
        rows=loader.rows,
        batch_size=loader.batch_size,
        shuffle=loader.shuffle,
        seed=loader.seed,
        device=loader.device,
        channels_last=plan.memory_format == "channels_last",
        share=loader.share,
    )


def _room(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> tuple[Tensor, NDArray[np.uint8] | None]:
    """An empty tensor on an accelerator where half of its free memory holds it, in memory, or in a nameless file.

    The second value is that file, mapped.
    """
    needed = int(np.prod(shape)) * dtype.itemsize
    if device.type == "cuda" and needed <= resident_bytes(device):
        return torch.empty(shape, dtype=dtype, device=device), None
    if needed <= MEMORY_BYTES:
        return torch.empty(shape, dtype=dtype), None
    parent = cache_root()
    parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(parent).free
    if needed > free:
        raise ResourceError(
            f"the activations of the frozen part need {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
            where=parent,
            fix="set views of the stage to a smaller number (0 keeps none), or TUMORSCOPE_CACHE to a larger disk",
        )
    with tempfile.TemporaryFile(dir=parent) as handle:
        room = np.memmap(handle, dtype=np.uint8, mode="w+", shape=(needed,))
    return torch.from_numpy(room).view(dtype).view(shape), room
