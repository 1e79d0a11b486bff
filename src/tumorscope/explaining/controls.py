"""What heat must beat: maps made without the model's knowledge, and the model with random weights.

In: images, boxes of the training set, or a model. Out: (b, S, S) heat, or a model that knows nothing. A method that
scores no better than these shows nothing about the model, however good its maps look.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tumorscope.core.errors import UsageError
from tumorscope.evaluation.resampling import Floats
from tumorscope.imaging.boxes import Boxes, box_mask
from tumorscope.models.registry import BuiltModel

CENTRE_SIGMA = 0.25
"""Deviation of the centre prior as a share of the side: half of its heat lies in the middle quarter of the image."""
EDGE_SIGMA = 1 / 64
"""Smoothing before the edge filter as a share of the side, so that noise makes no edges."""


@dataclass(frozen=True, slots=True)
class Control:
    """A heatmap that no model had a part in.

    Attributes:
        name: Short key.
        title: For people.
        heat: (b, C, S, S) uint8 images to (b, S, S) float32 heat.
    """

    name: str
    title: str
    heat: Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def static_controls(*, size_px: int, train_boxes: Sequence[Boxes] | None = None) -> Mapping[str, Control]:
    """The controls without a model, by name.

    Args:
        size_px: Side S of the input.
        train_boxes: Boxes of each training image on the input; without them there is no mean box prior.
    """
    controls = [
        Control("uniform", "the same heat everywhere", lambda images: _repeated(np.ones((size_px, size_px)), images)),
        Control("centre", "a Gaussian at the centre", lambda images: _repeated(centre_prior(size_px), images)),
        Control("edges", "edges of the image (Sobel)", edges),
        Control("brightness", "the image's own brightness", brightness),
    ]
    if train_boxes is not None and any(len(boxes) for boxes in train_boxes):
        prior = mean_box(train_boxes, size_px=size_px)
        controls.append(Control("mean-box", "where training boxes lie", lambda images: _repeated(prior, images)))
    return {control.name: control for control in controls}


def _repeated(heat: NDArray[Any], images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.repeat(heat.astype(np.float32)[None], len(images), axis=0)


def centre_prior(size_px: int) -> NDArray[np.float32]:
    """(S, S) Gaussian round the centre."""
    line = np.exp(-0.5 * ((np.arange(size_px) + 0.5 - size_px / 2) / (CENTRE_SIGMA * size_px)) ** 2)
    return np.asarray(np.outer(line, line), dtype=np.float32)


def mean_box(boxes: Sequence[Boxes], *, size_px: int) -> NDArray[np.float32]:
    """(S, S) share of the images with boxes whose box covers each pixel."""
    total = np.zeros((size_px, size_px), dtype=np.float64)
    for one in boxes:
        total += box_mask(one, width_px=size_px, height_px=size_px)
    return (total / max(1, sum(len(one) > 0 for one in boxes))).astype(np.float32)


def edges(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(b, S, S) gradient magnitude of (b, C, S, S) images (Sobel), channels averaged.

    Several popular maps look like it, also for models with random weights (Adebayo et al. 2018).
    """
    from scipy.ndimage import gaussian_filter, sobel

    gray = images.mean(axis=1, dtype=np.float32)
    smooth = gaussian_filter(gray, sigma=(0, EDGE_SIGMA * gray.shape[-1], EDGE_SIGMA * gray.shape[-1]))
    return np.asarray(np.hypot(sobel(smooth, axis=1), sobel(smooth, axis=2)), dtype=np.float32)


def brightness(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(b, S, S) mean of the channels of (b, C, S, S) images: what a method shows that multiplies by activations."""
    return np.asarray(images.mean(axis=1, dtype=np.float32), dtype=np.float32)


def randomised(built: BuiltModel, *, groups: int, seed: int) -> BuiltModel:
    """A copy with its last `groups` parameter groups drawn anew, the head first (cascading, Adebayo et al. 2018).

    Convolutions are drawn after He et al. (2015), linear layers with variance 1 / inputs, norms start at the
    identity with running statistics 0 and 1, biases at zero; any other parameter keeps its values in random order.

    Args:
        built: The trained model; it is not changed.
        groups: 1 for the head, `len(built.groups)` for everything.
        seed: Same seed, same weights.

    Raises:
        UsageError: If there are not as many groups.
    """
    if not 1 <= groups <= len(built.groups):
        raise UsageError(f"{groups} parameter groups to randomise", expected=f"1 to {len(built.groups)}")
    module = copy.deepcopy(built.module)
    generator = torch.Generator().manual_seed(seed)
    names = {name for group in built.groups[-groups:] for name in group}
    with torch.no_grad():
        for path, part in module.named_modules():
            own = {n: p for n, p in part.named_parameters(recurse=False) if f"{path}.{n}".lstrip(".") in names}
            for name, parameter in own.items():
                parameter.copy_(_drawn(part, name, parameter, generator))
            if own and isinstance(part, nn.modules.batchnorm._NormBase):
                part.reset_running_stats()
    return replace(built, module=module, weights="random", weights_sha256="")


def _drawn(part: nn.Module, name: str, parameter: Tensor, generator: torch.Generator) -> Tensor:
    """New values for one parameter."""
    if name.endswith("bias"):
        return torch.zeros_like(parameter)
    if isinstance(part, nn.Linear | nn.modules.conv._ConvNd) and name == "weight":
        power = 1.0 if isinstance(part, nn.Linear) else 2.0
        deviation = math.sqrt(power / parameter[0].numel())
        return torch.randn(parameter.shape, generator=generator).to(parameter) * deviation
    if name == "weight" and parameter.ndim == 1 and "norm" in type(part).__name__.lower():
        return torch.ones_like(parameter)
    order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
    return parameter.flatten()[order].reshape(parameter.shape)


def cascade(built: BuiltModel, *, points: int = 5) -> tuple[int, ...]:
    """Numbers of groups to randomise, from the head alone to everything, at most `points` of them."""
    total = len(built.groups)
    return tuple(sorted({max(1, round(x)) for x in np.linspace(1, total, points)}))


def rank_correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> Floats:
    """(n,) Spearman correlation of (n, S, S) maps pixel by pixel; 0 where one of the two is flat.

    Near 1 between a trained and a randomised model, a method shows the image and not the model (Adebayo 2018).
    """
    from scipy.stats import rankdata

    ranks = [rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (first, second)]
    centred = [r - r.mean(axis=1, keepdims=True) for r in ranks]
    shared = (centred[0] * centred[1]).sum(axis=1)
    size = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    return np.asarray(np.divide(shared, size, out=np.zeros(len(first)), where=size > 0), dtype=np.float64)
