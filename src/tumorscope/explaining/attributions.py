"""Heat from the input itself, for any network: gradients along a path, and windows covered one after another.

In: normalised images and the class asked about for each. Out: (B, S, S) heat. Both are captum's; what is added is
the class score of one-output networks, a count of the work, and what the maps are compared with.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from tumorscope.explaining.asking import Progress, Subject, prepared, undisturbed

PATH_STEPS = 32
"""Points of Gauss-Legendre quadrature on the path; 20 to 300 are recommended (Sundararajan et al. 2017)."""
SMOOTHING = 0.02
"""Deviation of the Gaussian over integrated gradients as a share of the side: single pixels carry no place."""
WINDOWS = 6
"""Covering windows to a side without overlap: a window is a sixth of the side and moves by half of itself."""
ROWS = 64
"""Inputs in one pass of the network."""


def integrated_gradients(
    subject: Subject, images: Tensor, *, targets: Tensor, progress: Progress | None = None
) -> Tensor:
    """Integrated Gradients from black to the image (Sundararajan et al. 2017): positive part, slightly smoothed.

    Black is the absence of signal in a scan; so what is black gets no heat, whatever it means for the answer.
    """
    from captum.attr import IntegratedGradients

    network = subject.built.module
    with undisturbed(network):
        inputs = prepared(network, images)
        black = subject.built.normalisation.apply(torch.zeros_like(inputs[:1]))
        scores = _scores(subject, PATH_STEPS * len(inputs), progress)
        found: Tensor = IntegratedGradients(scores).attribute(
            inputs,
            baselines=black,
            additional_forward_args=(targets.to(inputs.device),),
            n_steps=PATH_STEPS,
            internal_batch_size=max(ROWS, len(inputs)),
        )
    return smoothed(found.detach().float().sum(dim=1).relu(), SMOOTHING * images.shape[-1])


def occlusion(subject: Subject, images: Tensor, *, targets: Tensor, progress: Progress | None = None) -> Tensor:
    """How much the score drops when a window is covered by mean gray (Zeiler and Fergus 2014); overlaps averaged."""
    from captum.attr import Occlusion

    network = subject.built.module
    channels, size = images.shape[1], images.shape[-1]
    window = max(2, round(size / WINDOWS))
    stride = max(1, window // 2)
    places = (-(-(size - window) // stride) + 1) ** 2
    with undisturbed(network), torch.no_grad():
        inputs = prepared(network, images)
        scores = _scores(subject, (places + 1) * len(inputs), progress)
        drops: Tensor = Occlusion(scores).attribute(
            inputs,
            sliding_window_shapes=(channels, window, window),
            strides=(channels, stride, stride),
            baselines=0,
            additional_forward_args=(targets.to(inputs.device),),
            perturbations_per_eval=max(1, ROWS // len(inputs)),
        )
    return drops.float().mean(dim=1).relu()


def smoothed(heat: Tensor, sigma_px: float) -> Tensor:
    """(B, S, S) heat under a Gaussian of `sigma_px`, borders continued; unchanged below a quarter pixel."""
    if sigma_px < 0.25:
        return heat
    reach = min(max(1, round(3 * sigma_px)), heat.shape[-1] - 1)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=heat.device) / sigma_px) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(heat[:, None], (reach, reach, reach, reach), mode="replicate")
    rows = F.conv2d(padded, kernel[None, None, :, None])
    return F.conv2d(rows, kernel[None, None, None, :])[:, 0]


def _scores(subject: Subject, total: int, progress: Progress | None) -> Callable[[Tensor, Tensor], Tensor]:
    """(B, C, S, S) and (B,) targets to (B,) scores, counting the images that went through."""
    done = 0

    def scores(inputs: Tensor, targets: Tensor) -> Tensor:
        nonlocal done
        answer = subject.scores(subject.built.module(inputs), targets)
        done += len(inputs)
        if progress is not None:
            progress(min(done, total), total)
        return answer

    return scores
