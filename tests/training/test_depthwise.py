"""Depthwise convolutions compute in float32 under CPU autocast, and nowhere else anything changes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from tumorscope.training.depthwise import is_depthwise, keep_depthwise_fp32


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.Conv2d(8, 8, 5, padding=2, groups=8),
        nn.Conv2d(8, 4, 1),
        nn.Flatten(),
        nn.LazyLinear(3),
    )


def _images() -> Tensor:
    return torch.randn(4, 1, 12, 12, generator=torch.Generator().manual_seed(1))


def _seen(network: nn.Module) -> dict[str, tuple[torch.dtype, torch.dtype]]:
    """Type that each convolution computes in, and that it hands on."""
    seen: dict[str, tuple[torch.dtype, torch.dtype]] = {}
    plain = nn.Conv2d._conv_forward

    def watched(self: nn.Conv2d, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        result: Tensor = plain(self, images, weight, bias)
        seen["depthwise" if is_depthwise(self) else f"1 of {self.groups}, {self.out_channels}"] = (
            result.dtype,
            images.dtype,
        )
        return result

    with pytest.MonkeyPatch.context() as patch, torch.autocast("cpu", dtype=torch.bfloat16):
        patch.setattr(nn.Conv2d, "_conv_forward", watched)
        network(_images())
    return seen


def test_only_depthwise_convolutions_are_kept_in_float32() -> None:
    network = _network()
    network(_images())
    assert _seen(network)["depthwise"][0] == torch.bfloat16
    keep_depthwise_fp32(network)
    seen = _seen(network)
    assert seen.pop("depthwise") == (torch.float32, torch.float32)
    assert {computed for computed, _ in seen.values()} == {torch.bfloat16}


def test_without_autocast_nothing_changes() -> None:
    network = _network()
    before = network(_images())
    names = list(network.state_dict())
    keep_depthwise_fp32(network)
    assert torch.equal(network(_images()), before)
    assert list(network.state_dict()) == names


def test_a_copy_uses_its_own_weights() -> None:
    network = keep_depthwise_fp32(_network())
    network(_images())
    twin = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
        assert not twin(_images()).any()
        assert network(_images()).any()


def test_gradients_are_those_of_float32_within_bf16_rounding() -> None:
    def gradient(network: nn.Module, enabled: bool) -> Tensor:
        network.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            logits = network(_images())
        logits.float().square().mean().backward()
        gradients = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
        return torch.cat(gradients)

    network = _network()
    network(_images())
    exact = gradient(network, False)
    kept = gradient(keep_depthwise_fp32(network), True)
    assert not torch.equal(kept, exact)
    assert (kept - exact).norm() < 0.02 * exact.norm()


def test_what_counts_as_depthwise() -> None:
    assert is_depthwise(nn.Conv2d(8, 16, 3, groups=8))
    assert not is_depthwise(nn.Conv2d(8, 8, 3, groups=4))
    assert not is_depthwise(nn.Conv2d(1, 8, 3))
    assert not is_depthwise(nn.Linear(2, 2))
