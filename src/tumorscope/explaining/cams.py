"""Class activation maps: one forward pass and a backward pass of the layers after the map, for a whole batch.

In: normalised images and the class asked about for each. Out: (B, S, S) heat. The network is cut at its `cam_layer`:
what comes before runs without a record, so a map costs little more than the answer itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tumorscope.core.errors import UsageError
from tumorscope.explaining.asking import Progress, prepared, target_scores, undisturbed
from tumorscope.models.registry import BuiltModel


def cam_applies(built: BuiltModel) -> str | None:
    """Why no class activation map can be made, or None."""
    if built.cam_layer not in {name for name, _ in built.module.named_modules() if name}:
        return "the network names no layer to make maps from"
    if getattr(built.module, "num_prefix_tokens", None) is not None:
        return "its last layer gives tokens, most of which the class token leaves without a gradient, not a map"
    return None


def grad_cam(
    built: BuiltModel,
    images: Tensor,
    *,
    targets: Tensor,
    classes: int,
    positive: int | None,
    progress: Progress | None = None,
) -> Tensor:
    """Grad-CAM (Selvaraju et al. 2017): channels weighted by their mean gradient, summed, positive part."""
    activations, gradients = activations_and_gradients(
        built, images, targets=targets, classes=classes, positive=positive
    )
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    heat = spread_out((weights * activations).sum(dim=1).relu(), images.shape[-1])
    _report(progress, len(images))
    return heat


def layer_cam(
    built: BuiltModel,
    images: Tensor,
    *,
    targets: Tensor,
    classes: int,
    positive: int | None,
    progress: Progress | None = None,
) -> Tensor:
    """Layer-CAM (Jiang et al. 2021): each activation weighted by its own positive gradient, summed, positive part."""
    activations, gradients = activations_and_gradients(
        built, images, targets=targets, classes=classes, positive=positive
    )
    heat = spread_out((gradients.relu() * activations).sum(dim=1).relu(), images.shape[-1])
    _report(progress, len(images))
    return heat


def activations_and_gradients(
    built: BuiltModel, images: Tensor, *, targets: Tensor, classes: int, positive: int | None
) -> tuple[Tensor, Tensor]:
    """Output of `cam_layer` and the gradient of the target's score there, both (B, K, h, w) float32.

    Raises:
        UsageError: If the layer gives no map.
    """
    network = built.module
    kept: list[Tensor] = []

    def cut(_module: nn.Module, _inputs: Any, output: Any) -> Tensor:
        if not isinstance(output, Tensor) or output.ndim != 4:
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise UsageError(
                f"layer {built.cam_layer!r} gives {shape}, not a map",
                expected="(B, K, h, w) activations",
                where="class activation map",
                fix="use integrated-gradients or occlusion",
            )
        leaf = output.detach().requires_grad_(True)
        kept.append(leaf)
        return leaf.clone()  # what follows may work in place

    with undisturbed(network):
        handle = network.get_submodule(built.cam_layer).register_forward_hook(cut)
        try:
            raw = network(prepared(network, images))
        finally:
            handle.remove()
        scores = target_scores(raw, targets, classes=classes, positive=positive)
        activations = kept[-1]
        (gradients,) = torch.autograd.grad(scores.sum(), activations)
    activations = activations.detach()
    if getattr(network, "output_fmt", "NCHW") == "NHWC":
        activations, gradients = activations.permute(0, 3, 1, 2), gradients.permute(0, 3, 1, 2)
    return activations.float(), gradients.float()


def spread_out(heat: Tensor, size_px: int) -> Tensor:
    """(B, h, w) heat on the (S, S) input, bilinear; half-pixel centres keep it in place."""
    return F.interpolate(heat[:, None], size=(size_px, size_px), mode="bilinear", align_corners=False)[:, 0]


def _report(progress: Progress | None, done: int) -> None:
    if progress is not None:
        progress(done, done)
