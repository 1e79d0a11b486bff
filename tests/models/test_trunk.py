"""A partly frozen network in two halves answers as the whole does, in training and in evaluation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tumorscope.models.freeze import apply_freeze, set_training_mode
from tumorscope.models.registry import build_model
from tumorscope.models.trunk import CutNetwork, cut, trunk_of


def _images(size_px: int, n: int = 4) -> Tensor:
    return torch.randn(n, 1, size_px, size_px, generator=torch.Generator().manual_seed(3))


def _built(name: str, plan: str, **other: Any) -> nn.Module:
    torch.manual_seed(0)
    built = build_model(name, outputs=3, channels=1, size_px=64, dropout=0.4, **other)
    apply_freeze(built, plan)
    return built.module


VIT = {"img_size": 64}
CASES: list[tuple[str, str, tuple[int, ...]]] = [
    ("resnet18", "head", (4, 512)),
    ("resnet18", "last:1", (4, 256, 4, 4)),
    ("tf_efficientnet_lite0", "head", (4, 1280)),
    ("tf_efficientnet_lite0", "last:2", (4, 112, 4, 4)),
    ("mobilenetv2_100", "last:1", (4, 160, 2, 2)),
    ("tinyvgg", "head", (4, 2560)),
    ("cnn28", "last:1", (4, 64, 16, 16)),
    ("vit_tiny_patch16_224", "head", (4, 192)),
    ("vit_tiny_patch16_224", "last:1", (4, 17, 192)),
]


@pytest.mark.parametrize(("name", "plan", "shape"), CASES)
def test_the_halves_answer_as_the_whole(name: str, plan: str, shape: tuple[int, ...]) -> None:
    network = _built(name, plan, **({"options": VIT} if name.startswith("vit") else {}))
    images = _images(64)
    halves = cut(network)
    assert isinstance(halves, CutNetwork)
    activations = trunk_of(halves, images)
    assert activations.shape == shape
    assert not activations.requires_grad
    assert torch.equal(halves.tail(activations), network(images))
    set_training_mode(network)
    answers = []
    gradients = []
    statistics = {k: v.clone() for k, v in network.state_dict().items()}
    for forward in (lambda: network(images), lambda: halves.tail(activations)):
        network.load_state_dict(statistics)
        network.zero_grad()
        torch.manual_seed(5)  # dropout
        logits = forward()
        logits.square().sum().backward()
        answers.append(logits.detach())
        gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    assert torch.allclose(answers[0], answers[1], atol=1e-5)
    assert len(gradients[0]) == len(gradients[1]) > 0
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(*gradients, strict=True))


def test_dropout_is_drawn_in_training_only() -> None:
    network = _built("tf_efficientnet_lite0", "head")
    halves = cut(network)
    assert isinstance(halves, CutNetwork)
    activations = trunk_of(halves, _images(64))
    assert torch.equal(halves.tail(activations), halves.tail(activations))
    network.train()
    assert not torch.equal(halves.tail(activations), halves.tail(activations))


def test_random_modules_in_the_frozen_part_stay_out_of_the_trunk() -> None:
    halves = cut(_built("cnn_bn", "head"))
    assert isinstance(halves, CutNetwork)
    assert trunk_of(halves, _images(64)).shape == (4, 16, 32, 32)  # up to the first dropout


def test_the_mode_of_the_network_stays() -> None:
    for training in (True, False):
        network = _built("resnet18", "head").train(training)
        cut(network)
        assert network.training == training


def test_nothing_frozen_is_said() -> None:
    assert cut(_built("resnet18", "all")) == "nothing of it is frozen"


def test_a_network_that_cannot_be_recorded_is_said() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(2, 2).requires_grad_(False)
            self.last = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            hidden: Tensor = self.first(x)
            answer: Tensor = self.last(hidden if float(hidden.sum()) > 0 else -hidden)
            return answer

    assert "cannot be recorded" in str(cut(Branching()))


def test_two_tensors_at_the_cut_are_said() -> None:
    class Skipping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(2, 2).requires_grad_(False)
            self.second = nn.Linear(2, 2).requires_grad_(False)
            self.last = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.first(x)
            deep = self.second(hidden)
            answer: Tensor = self.last(deep) + self.last(hidden)
            return answer

    assert str(cut(Skipping())).startswith("2 tensors cross")
