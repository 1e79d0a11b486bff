"""Class activation maps: one forward pass and a backward pass of the layers after the map, for a whole batch.

In: normalised images and the class asked about for each. Out: (B, S, S) heat. The network is cut at the map: what
comes before runs without a record, so a map costs little more than the answer itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tumorscope.core.errors import UsageError
from tumorscope.explaining.asking import Progress, Subject, prepared, undisturbed
from tumorscope.models.last_map import channel_axis, on_last_map
from tumorscope.models.registry import BuiltModel

FINE = 8
"""Pixels of the input to a place of the finer map, at most: 28 x 28 places at 224 px."""


def cam_applies(built: BuiltModel) -> str | None:
    """Why no class activation map can be made, or None."""
    if built.cam_layer not in {name for name, _ in built.module.named_modules() if name}:
        return "the network names no layer to make maps from"
    if getattr(built.module, "num_prefix_tokens", None) is not None:
        return "its last layer gives tokens, most of which the class token leaves without a gradient, not a map"
    return None


def stages(built: BuiltModel) -> list[str]:
    """Names of the modules that end its stages, first to last: timm's feature table or `blocks`, then `cam_layer`."""
    names = {name for name, _ in built.module.named_modules()}
    table = getattr(built.module, "feature_info", None) or ()
    listed = [str(row["module"]) for row in table]
    own = [f"blocks.{i}" for i in range(len(built.groups))]
    return [name for name in dict.fromkeys((*(listed or own), built.cam_layer)) if name in names]


def grad_cam(subject: Subject, images: Tensor, *, targets: Tensor, progress: Progress | None = None) -> Tensor:
    """Grad-CAM (Selvaraju et al. 2017): channels weighted by their mean gradient, summed, positive part.

    Made of the last map. Where one linear layer follows its pooling, this is the exact share of each place in the
    answer (Zhou et al. 2016).
    """
    activations, gradients = activations_and_gradients(subject, images, targets=targets)
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    return _finished((weights * activations).sum(dim=1), images, progress)


def layer_cam(subject: Subject, images: Tensor, *, targets: Tensor, progress: Progress | None = None) -> Tensor:
    """Layer-CAM (Jiang et al. 2021): each activation weighted by its own positive gradient, summed, positive part."""
    activations, gradients = activations_and_gradients(subject, images, targets=targets)
    return _finished((gradients.relu() * activations).sum(dim=1), images, progress)


def hires_cam(subject: Subject, images: Tensor, *, targets: Tensor, progress: Progress | None = None) -> Tensor:
    """HiResCAM (Draelos and Carin 2020): activations times their own gradients, summed, positive part.

    Made of the last stage with a place for every 8 x 8 pixels of the input. Grad-CAM means little there: one weight
    for a channel cannot hold for every place of a map that the network still works on.
    """
    activations, gradients = activations_and_gradients(subject, images, targets=targets, fine=True)
    return _finished((gradients * activations).sum(dim=1), images, progress)


def activations_and_gradients(
    subject: Subject, images: Tensor, *, targets: Tensor, fine: bool = False
) -> tuple[Tensor, Tensor]:
    """A map of the network and the gradient of the target's score there, both (B, K, h, w) float32.

    Args:
        subject: The network.
        images: (B, C, S, S) float32, normalised.
        targets: (B,) int64 class positions.
        fine: The last stage with S / 8 places a side, or the finest there is, and not the last map.

    Raises:
        UsageError: If the layer gives no map.
    """
    network = subject.built.module
    kept: list[Tensor] = []

    def cut(output: Any) -> Tensor:
        if not isinstance(output, Tensor) or output.ndim != 4:
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise UsageError(
                f"layer {subject.built.cam_layer!r} gives {shape}, not a map",
                expected="(B, K, h, w) activations",
                where="class activation map",
                fix="use integrated-gradients or occlusion",
            )
        leaf = output.detach().requires_grad_(True)
        kept[:] = [leaf]
        return leaf.clone()  # what follows may work in place

    with undisturbed(network), _cutting(subject.built, cut, images.shape[-1] if fine else None):
        raw = network(prepared(network, images))
        if not kept:
            raise UsageError(
                f"no stage of the network has a place for every {FINE} x {FINE} pixels",
                expected="a stage with a finer map",
                where="HiResCAM",
                fix="use grad-cam",
            )
        (activations,) = kept
        (gradients,) = torch.autograd.grad(subject.scores(raw, targets).sum(), activations)
    activations = activations.detach()
    if channel_axis(network) == 3:
        activations, gradients = activations.permute(0, 3, 1, 2), gradients.permute(0, 3, 1, 2)
    return activations.float(), gradients.float()


@contextmanager
def _cutting(built: BuiltModel, cut: Callable[[Any], Tensor], size_px: int | None) -> Iterator[None]:
    """A block in which the network is cut: at its last map, or at the last of its finer stages for `size_px`."""
    network = built.module
    if size_px is None:
        handles = list(on_last_map(network, built.cam_layer, cut))
    else:
        names = stages(built)
        axis = 1 if channel_axis(network) == 3 else 2

        def cut_if_fine(_module: nn.Module, _inputs: Any, output: Any) -> Tensor | None:
            small = isinstance(output, Tensor) and output.ndim == 4 and output.shape[axis] * FINE < size_px
            return None if small else cut(output)

        handles = [network.get_submodule(name).register_forward_hook(cut_if_fine) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def spread_out(heat: Tensor, size_px: int) -> Tensor:
    """(B, h, w) heat on the (S, S) input, bilinear; half-pixel centres keep it in place."""
    return F.interpolate(heat[:, None], size=(size_px, size_px), mode="bilinear", align_corners=False)[:, 0]


def _finished(heat: Tensor, images: Tensor, progress: Progress | None) -> Tensor:
    if progress is not None:
        progress(len(images), len(images))
    return spread_out(heat.relu(), images.shape[-1])
