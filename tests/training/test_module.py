"""Optimizers that step in one pass: the same numbers, and not where gradients are clipped."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tumorscope.training.module import make_optimizer
from tumorscope.training.recipe import Stage

NAMES = ("adam", "adamw", "adamax", "rmsprop", "sgd")


def stepped(name: str, *, clips: bool) -> tuple[torch.optim.Optimizer, list[Tensor]]:
    """An optimizer and its parameters after five steps on gradients of a fixed seed."""
    generator = torch.Generator().manual_seed(3)
    parameters = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((7, 5), (5,), ())]
    stage = Stage.model_validate({"epochs": 1, "lr": 1e-2, "optimizer": name, "weight_decay": 1e-2})
    optimizer = make_optimizer(stage, parameters, clips=clips)
    for _ in range(5):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()
    return optimizer, [p.detach() for p in parameters]


@pytest.mark.parametrize("name", NAMES)
def test_one_pass_gives_the_same_weights_as_several(name: str) -> None:
    _, one = stepped(name, clips=False)
    _, several = stepped(name, clips=True)
    for a, b in zip(one, several, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_one_pass_is_taken_where_torch_has_it_and_never_beside_clipping(name: str) -> None:
    fast, _ = stepped(name, clips=False)
    clipping, _ = stepped(name, clips=True)
    assert bool(fast.defaults.get("fused")) is (name in ("adam", "adamw", "sgd"))
    assert not clipping.defaults.get("fused")
