"""Asking a network about one class without changing it: what every heatmap method starts from.

In: a built model in any mode, or a bundle. Out: a `Subject`, the network with the way its answer is read, and a block
in which it answers in evaluation mode, with gradients towards inputs and activations only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor, nn

from tumorscope.bundle.bundle import Bundle
from tumorscope.core.allocation import keep_freed_memory
from tumorscope.core.errors import UsageError
from tumorscope.models.registry import BuiltModel

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (done, total)."""
Report: TypeAlias = Callable[[str, int, int], None]
"""Called with (what is being made, done, total)."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A network whose answers are explained, and how they are read.

    Attributes:
        built: The network, with the normalisation that its input has to go through.
        classes: Class names in target order.
        positive: Position of the positive class of a network with one output, or None.
    """

    built: BuiltModel
    classes: tuple[str, ...]
    positive: int | None = None

    @classmethod
    def of(cls, bundle: Bundle) -> Subject:
        """The model of a bundle; the input is normalised as the card says, whatever the architecture's own way."""
        card = bundle.card
        built = replace(bundle.model, normalisation=card.normalisation)
        return cls(built, classes=card.classes, positive=card.positive_target)

    def with_weights(self, built: BuiltModel) -> Subject:
        """Another network that is asked in the same way, such as the same one with random weights."""
        return replace(self, built=replace(built, normalisation=self.built.normalisation))

    def scores(self, raw: Tensor, targets: Tensor) -> Tensor:
        """(B,) score of the class that is asked about; see `target_scores`."""
        return target_scores(raw, targets, classes=len(self.classes), positive=self.positive)


@contextmanager
def undisturbed(network: nn.Module) -> Iterator[None]:
    """A block in which `network` is in evaluation mode and its parameters take no gradients.

    Afterwards every part is back in the mode it was in and wants the gradients it wanted; `.grad` is not touched,
    as long as the block asks for gradients by `torch.autograd.grad`. Works inside `torch.inference_mode()` too.
    """
    keep_freed_memory()
    modes = [(part, part.training) for part in network.modules()]
    wishes = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    network.eval()
    for parameter, _ in wishes:
        parameter.requires_grad_(False)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for parameter, wish in wishes:
            parameter.requires_grad_(wish)
        for part, mode in modes:
            part.training = mode


def prepared(network: nn.Module, images: Tensor) -> Tensor:
    """A copy of (B, C, S, S) normalised images on the network's device and in its memory layout, free of history."""
    weights = [p for p in network.parameters() if p.ndim == 4]
    last = bool(weights) and all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)
    layout = torch.channels_last if last else torch.contiguous_format
    device = next((p.device for p in network.parameters()), images.device)
    return images.detach().to(device).clone(memory_format=layout)


def target_scores(raw: Tensor, targets: Tensor, *, classes: int, positive: int | None) -> Tensor:
    """(B,) score of the class that is asked about: what speaks for it, as a logit.

    A single output z (binary cross entropy) speaks for the positive class, and -z for the other; giving the other
    the constant logit 0 would leave it without evidence.

    Args:
        raw: (B, classes) or (B, 1) output of the network.
        targets: (B,) int64 class positions.
        classes: Number of classes.
        positive: Position of the positive class of a network with one output.

    Raises:
        UsageError: If the outputs fit neither form.
    """
    targets = targets.to(raw.device)
    if raw.ndim == 2 and raw.shape[1] == classes:
        return raw.gather(1, targets[:, None])[:, 0]
    if raw.ndim == 2 and raw.shape[1] == 1 and classes == 2 and positive is not None:
        return torch.where(targets == positive, 1.0, -1.0).to(raw.dtype) * raw[:, 0]
    raise UsageError(
        f"a network output of shape {tuple(raw.shape)} for {classes} classes, positive class {positive}",
        expected=f"(B, {classes}), or (B, 1) with two classes of which one is positive",
        where="explaining",
        fix="give the number of classes and the positive class of the model's card",
    )
