"""The last map is the one the answer is pooled from, found in networks of several families."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tumorscope.models.last_map import channel_axis, on_last_map
from tumorscope.models.registry import build_model


@pytest.mark.parametrize(
    ("name", "channels", "calls"),
    [
        ("mobilenetv2_050", 1280, 2),  # a 1 x 1 convolution follows the named block
        ("resnet18", 512, 2),  # the same map twice
        ("vgg11", 512, 1),  # pools what no longer has a place
        ("cnn_bn", 128, 1),  # pools nothing
    ],
)
def test_the_pooled_map_is_found(name: str, channels: int, calls: int) -> None:
    built = build_model(name, outputs=3, channels=1, size_px=64)
    seen: list[Tensor] = []
    handles = on_last_map(built.module.eval(), built.cam_layer, seen.append)
    with torch.no_grad():
        built.module(torch.zeros(1, 1, 64, 64))
        assert len(seen) == calls
        assert seen[-1].shape[channel_axis(built.module)] == channels
        assert seen[-1].shape[2] > 1
        for handle in handles:
            handle.remove()
        built.module(torch.zeros(1, 1, 64, 64))
    assert len(seen) == calls


def test_what_is_returned_takes_its_place() -> None:
    built = build_model("mobilenetv2_050", outputs=3, channels=1, size_px=64)
    network = built.module.eval()
    with torch.no_grad():
        before = network(torch.ones(1, 1, 64, 64))
        handles = on_last_map(network, built.cam_layer, lambda found: found * 0 if found.shape[1] == 1280 else None)
        after = network(torch.ones(1, 1, 64, 64))
        for handle in handles:
            handle.remove()
        assert torch.allclose(after, network.get_parameter("classifier.bias"))
        assert torch.equal(network(torch.ones(1, 1, 64, 64)), before)
