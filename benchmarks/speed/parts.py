"""Where an epoch's time goes, for the baseline's loop and for ours: images, the network, the optimizer, validation.

    python -m benchmarks.speed.parts baseline|ours NAME --data DATA

Each part of an epoch is run by itself, on the same images, after one warm step: all batches are made first, then the
network goes forward and backward on every one, the optimizer stepping in between under its own clock, then validation
with its own loading. Counted beside them: the page faults of the network's part. A third row of the page is ours with
freed memory going back to the system, as an allocator does by itself (`GIVEN_BACK`). What an epoch takes beyond their
sum (the training frame, checkpoints, logs) is for the page to tell. Needs an idle machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.speed import ours, seed_loop
from benchmarks.speed.works import Job, job
from tumorscope.training.module import make_optimizer
from tumorscope.training.plan import Wishes, prepare, threads_set

GIVEN_BACK = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=7"}
"""A setting of glibc's malloc at its own default: it changes nothing, but where a user has set one ours sets none."""
Batches = list[tuple[Tensor, Tensor]]
Loss = Callable[[Tensor, Tensor], Tensor]


def timed(
    network: nn.Module, loss: Loss, optimizer: torch.optim.Optimizer, train: Iterable[Any], val: Iterable[Any]
) -> dict[str, float]:
    """Seconds of each part of an epoch, and the page faults of the network's.

    Args:
        network: Asked with images, answers logits.
        loss: Of logits and targets, forward pass not included.
        optimizer: Of the network.
        train: Makes (images, targets, ...) anew each time it is iterated over.
        val: The same for validation.
    """
    found: dict[str, float] = {}
    start = time.perf_counter()
    batches: Batches = [(images, targets) for images, targets, *_ in train]
    found["images"] = time.perf_counter() - start
    network.train()
    _step(network, loss, *batches[0])
    stepping, taken = 0.0, faults()
    start = time.perf_counter()
    for images, targets in batches:
        _step(network, loss, images, targets)
        begun = time.perf_counter()
        optimizer.step()
        optimizer.zero_grad()
        stepping += time.perf_counter() - begun
    found |= {"network": time.perf_counter() - start - stepping, "optimizer": stepping, "faults": faults() - taken}
    network.eval()
    start = time.perf_counter()
    with torch.no_grad():
        for images, targets, *_ in val:
            loss(network(images), targets).item()
    found["validation"] = time.perf_counter() - start
    return found


def faults() -> int:
    """Pages that this process has had to fetch from the system so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _step(network: nn.Module, loss: Loss, images: Tensor, targets: Tensor) -> None:
    torch.autograd.backward(loss(network(images), targets))


def baseline(work: Job) -> dict[str, float]:
    """The student systems' way, decoding and changing images in its own process."""
    changed, plain = seed_loop.transforms_of(work, mirrored=False)
    kind = seed_loop.kind_of(work)
    train = DataLoader(kind(work, work.train, changed), work.work.batch_size, shuffle=True)
    val = DataLoader(kind(work, work.val, plain), work.work.batch_size)
    model = seed_loop.network(work, None)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=work.work.lr)
    return timed(model, nn.CrossEntropyLoss(), optimizer, train, val)


def fast(work: Job) -> dict[str, float]:
    """Ours, by the plan that a run would measure."""
    recipe = ours.recipe_of(work, 0)
    with tempfile.TemporaryDirectory() as name:
        plan = ours.plan_of(work, recipe, Path(name) / "plan", Wishes())
        built = ours.build(work, 0, None)
        train, val = ours.loaders(work, built, Path(name) / "run", 0)
        network = prepare(built.module, plan.memory_format)
        (stage,) = recipe.stage.values()
        optimizer = make_optimizer(stage, list(network.parameters()))
        layout = torch.channels_last if plan.memory_format == "channels_last" else torch.contiguous_format

        class Asked(nn.Module):
            """The network as a plan asks it."""

            def __init__(self) -> None:
                super().__init__()
                self.network = network

            def forward(self, images: Tensor) -> Tensor:
                with torch.autocast("cpu", torch.bfloat16, enabled=plan.precision == "bf16"):
                    logits: Tensor = self.network(images.to(memory_format=layout))
                return logits.float()

        with threads_set(plan.threads):
            return timed(Asked(), nn.functional.cross_entropy, optimizer, train, val)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=["baseline", "ours"])
    parser.add_argument("name")
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    work = job(arguments.name, arguments.data)
    found = baseline(work) if arguments.side == "baseline" else fast(work)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
