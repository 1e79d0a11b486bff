"""The last map of a network: the activations that still have a place, just before it pools them away.

In: a network and the layer that its heatmaps are made from. Out: a hook on the map itself. Where a network pools a
later map of the same height and width than that of its named layer (after a last 1 x 1 convolution, as in
MobileNet and EfficientNet), the pooled one is meant: the answer is read from it and from nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Note: TypeAlias = Callable[[Tensor], Tensor | None]
"""Called with a map; what it returns takes the map's place, None leaves it."""
POOL = "global_pool"
"""What timm calls the module that pools the last map."""


def on_last_map(network: nn.Module, layer: str, note: Note) -> tuple[RemovableHandle, ...]:
    """Have `note` called in every forward pass with the network's last map.

    It is called with the output of `layer`, and again with the input of the pooling if that is a map of the same
    height and width: the last call counts.

    Args:
        network: Any network.
        layer: Name of its last spatial module; its output may be anything, `note` has to look.
        note: See `Note`.

    Returns:
        Handles whose `remove()` ends it.
    """
    sides: list[tuple[int, ...]] = []

    def after(_module: nn.Module, _inputs: Any, output: Any) -> Tensor | None:
        sides[:] = [_sides(network, output)] if isinstance(output, Tensor) else []
        return note(output)

    def before(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        pooled = inputs[0] if inputs else None
        if not isinstance(pooled, Tensor) or pooled.ndim != 4 or [_sides(network, pooled)] != sides:
            return None
        found = note(pooled)
        return None if found is None else (found, *inputs[1:])

    pools = [part for name, part in network.named_modules() if name.split(".")[-1] == POOL]
    handles = [network.get_submodule(layer).register_forward_hook(after)]
    return (*handles, *(part.register_forward_pre_hook(before) for part in pools))


def channel_axis(network: nn.Module) -> int:
    """1 for networks whose maps are (B, K, h, w), 3 for those of (B, h, w, K), such as Swin."""
    return 3 if getattr(network, "output_fmt", "NCHW") == "NHWC" else 1


def _sides(network: nn.Module, found: Tensor) -> tuple[int, ...]:
    shape = list(found.shape[1:])
    if len(shape) == 3:
        shape.pop(channel_axis(network) - 1)
    return tuple(shape)
