"""Every way to make a heatmap, in one registry that the command line, the score and the contract test read.

In: a built model, images and the class asked about for each. Out: (n, S, S) heat, zero or more, on the model's
input. Heat shows what influences the answer; whether that is where the lesion is, is for the score to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tumorscope.core.errors import DataError, UsageError
from tumorscope.core.types import Targets
from tumorscope.explaining.asking import Progress, Subject
from tumorscope.explaining.attention import attention_applies, attention_gradients
from tumorscope.explaining.attributions import integrated_gradients, occlusion
from tumorscope.explaining.cams import cam_applies, grad_cam, hires_cam, layer_cam
from tumorscope.imaging.loader import to_unit
from tumorscope.models.registry import BuiltModel


class HeatFunction(Protocol):
    """What each method is called with."""

    def __call__(
        self, subject: Subject, images: Tensor, *, targets: Tensor, progress: Progress | None = None
    ) -> Tensor:
        """Heat of a batch; the network is left as it was.

        Args:
            subject: The model, in any mode.
            images: (B, C, S, S) float32, normalised.
            targets: (B,) int64 class positions to explain.
            progress: Called with (done, total) in passes of one image through the network.

        Returns:
            (B, S, S) float32 on the network's device, zero or more, in the method's own unit.
        """
        ...


@dataclass(frozen=True, slots=True)
class Method:
    """One way to make heat.

    Attributes:
        name: Key in `METHODS`.
        title: For people.
        source: Author and year.
        applies: Why it cannot be used with a model, or None.
        heat: The method itself.
        slow: Whether a map costs tens of passes of the network; a score then takes a part of the images.
    """

    name: str
    title: str
    source: str
    applies: Callable[[BuiltModel], str | None]
    heat: HeatFunction
    slow: bool = False


def _always(_built: BuiltModel) -> str | None:
    return None


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method("grad-cam", "Grad-CAM", "Selvaraju et al. 2017", cam_applies, grad_cam),
            Method("layer-cam", "Layer-CAM", "Jiang et al. 2021", cam_applies, layer_cam),
            Method("hires-cam", "HiResCAM, finer stage", "Draelos and Carin 2020", cam_applies, hires_cam),
            Method(
                "attention-gradients",
                "attention times gradients",
                "Chefer, Gur and Wolf 2021",
                attention_applies,
                attention_gradients,
            ),
            Method(
                "integrated-gradients",
                "Integrated Gradients",
                "Sundararajan, Taly and Yan 2017",
                _always,
                integrated_gradients,
                slow=True,
            ),
            Method("occlusion", "occlusion", "Zeiler and Fergus 2014", _always, occlusion, slow=True),
        )
    }
)


def method_named(name: str, built: BuiltModel) -> Method:
    """The method, checked to work with the model.

    Raises:
        UsageError: For an unknown name, or a method that does not apply.
    """
    if name not in METHODS:
        raise UsageError(
            f"no heatmap method is called {name!r}",
            expected=f"one of {', '.join(METHODS)}",
            where="--method",
            fix="choose one of these",
        )
    reason = METHODS[name].applies(built)
    if reason is not None:
        usable = [other for other, method in METHODS.items() if method.applies(built) is None]
        raise UsageError(
            f"{METHODS[name].title} cannot be used with this network: {reason}",
            expected=f"one of {', '.join(usable)}",
            where="--method",
            fix=f"use {usable[0]}",
        )
    return METHODS[name]


def heatmaps(
    subject: Subject,
    images: NDArray[np.uint8],
    *,
    method: str,
    targets: Targets,
    batch_size: int = 16,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Heat of preprocessed images.

    Args:
        subject: The model.
        images: (n, C, S, S) uint8, as `preprocess` gives them.
        method: Key of `METHODS`.
        targets: (n,) class positions to explain.
        batch_size: Images at a time.
        progress: Called with (done, total) in hundredths of an image, so that one image of a slow method moves too.

    Returns:
        (n, S, S) float32, zero or more.

    Raises:
        UsageError: For an unknown method or one that does not apply.
        DataError: If heat is not finite, as with weights that overflow.
    """
    chosen = method_named(method, subject.built)
    total, side = len(images), images.shape[-1]
    heat = np.zeros((total, side, side), dtype=np.float32)
    for start in range(0, total, batch_size):
        rows = slice(start, min(start + batch_size, total))
        batch = subject.built.normalisation.apply(to_unit(torch.from_numpy(np.array(images[rows]))))
        found = chosen.heat(
            subject,
            batch,
            targets=torch.from_numpy(np.array(targets[rows], dtype=np.int64)),
            progress=_within(progress, rows, total),
        )
        heat[rows] = found.cpu().numpy()
    if not np.isfinite(heat).all():
        bad = int((~np.isfinite(heat).all(axis=(1, 2))).sum())
        raise DataError(
            f"the heat of {bad} of {total} images is not finite",
            expected="finite activations and gradients",
            where=chosen.title,
            fix="check the model's weights for overflow",
        )
    return heat


def _within(progress: Progress | None, rows: slice, total: int) -> Progress | None:
    """Progress of one batch as progress in hundredths of an image of the whole."""
    if progress is None:
        return None
    report, start, stop = progress, int(rows.start), int(rows.stop)
    return lambda done, work: report(100 * start + 100 * (stop - start) * done // max(work, 1), 100 * total)


def fast_methods(built: BuiltModel) -> tuple[str, ...]:
    """Names of the methods that work with a model at about the cost of a forward pass, in the registry's order."""
    return tuple(name for name, method in METHODS.items() if not method.slow and method.applies(built) is None)
