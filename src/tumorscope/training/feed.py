"""What a stage steps over: images through the whole network, or kept activations through what follows its frozen part.

In: a network with `requires_grad` set, the image loaders and a plan. Out: loaders, the function from what they hand
out to logits, and one sentence on how the frozen part is run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from torch import Tensor, nn

from tumorscope.core.screen import bar
from tumorscope.imaging.loader import Batches, BatchLoader
from tumorscope.models.trunk import cut
from tumorscope.training.activations import keep_activations
from tumorscope.training.plan import Plan, compiled
from tumorscope.training.processes import ALONE, Processes
from tumorscope.training.recipe import Stage


@dataclass(frozen=True)
class Feed:
    """What a stage steps over: batches, what takes them to logits, and how the frozen part is run."""

    train: Batches
    val: Batches
    forward: Callable[[Tensor], Tensor]
    frozen: str


def feed_of(
    network: nn.Module,
    stage: Stage,
    train: BatchLoader,
    val: BatchLoader,
    *,
    plan: Plan,
    console: Console,
    processes: Processes = ALONE,
) -> Feed:
    """Images through the whole network, or kept activations of its frozen part through the rest."""
    if stage.trainable == "all":
        return Feed(train, val, compiled(network, train.batch_size) if plan.compile else network, "")
    if train.regions is not None:
        return Feed(train, val, network, "the frozen part runs every epoch: attend moves regions with the images")
    if not stage.kept_views:
        return Feed(train, val, network, "the frozen part runs every epoch: views = 0")
    found = cut(network)
    if isinstance(found, str):
        return Feed(train, val, network, f"the frozen part runs every epoch: {found}")
    network.to(plan.device)
    with bar(console, "frozen part") as progress:
        kept = keep_activations(found, train, views=stage.kept_views, plan=plan, progress=progress, processes=processes)
        checks = keep_activations(found, val, views=1, plan=plan, processes=processes)
    size = kept.views.numel() * kept.views.element_size() / 1e6
    views = "1 plain view" if len(kept.views) == 1 else f"1 plain and {len(kept.views) - 1} augmented views"
    return Feed(kept, checks, found.tail, f"the frozen part ran once, on {views} of each image ({size:,.1f} MB kept)")
