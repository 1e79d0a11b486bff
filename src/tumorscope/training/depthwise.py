"""Depthwise convolutions in float32 within bf16 training on a CPU.

In: a network. Out: the same network; under bf16 autocast on a CPU its depthwise convolutions compute in float32 and
hand on bf16. Their bf16 backward pass runs without matrix instructions: in a training step of EfficientNet-Lite0
(batch 32, 224 px, two cores) convolution backward took 1.05 s of 1.70 s in bf16 and 0.36 s in float32
(docs/decisions/0008). They are a small part of the arithmetic, so nothing else has to give up bf16.
"""

from __future__ import annotations

import types

import torch
from torch import Tensor, nn


def _forward(self: nn.Conv2d, images: Tensor) -> Tensor:
    plain = type(self).forward
    if images.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return plain(self, images)
    with torch.autocast("cpu", enabled=False):
        return plain(self, images.float()).to(torch.get_autocast_dtype("cpu"))


def is_depthwise(module: nn.Module) -> bool:
    """True for a convolution with one filter (or a few) for each input channel."""
    return isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1


def keep_depthwise_fp32(network: nn.Module) -> nn.Module:
    """Make depthwise convolutions of `network` compute in float32 under CPU autocast; it is changed in place.

    Weights, names and the forward pass without autocast stay as they are; copies of the network keep the rule.
    """
    for module in network.modules():
        if is_depthwise(module):
            module.forward = types.MethodType(_forward, module)
    return network
