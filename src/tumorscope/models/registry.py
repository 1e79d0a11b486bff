"""One factory for every network: a name, weights and a shape in; a built model with its facts out."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from tumorscope.core.errors import UsageError
from tumorscope.imaging.loader import Normalisation
from tumorscope.models.cnns import ConvNet, cnn28, cnn_bn, tinyvgg

Options = Mapping[str, str | int | float | bool]


@dataclass(frozen=True)
class BuiltModel:
    """A network ready for training or loading.

    Attributes:
        module: (B, channels, S, S) float32 to (B, outputs) logits.
        groups: Parameter names in depth order; the last group is the classification head.
        normalisation: What the input must have gone through.
        cam_layer: Name of the module whose output heatmaps are made from.
        licence: Licence of the architecture or weights.
        weights: "none", "imagenet" or the file's name.
        weights_sha256: Hash of the weight file or tensors, "" without.
    """

    module: nn.Module
    groups: tuple[tuple[str, ...], ...]
    normalisation: Normalisation
    cam_layer: str
    licence: str
    weights: str
    weights_sha256: str

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(p.numel() for p in self.module.parameters())


@dataclass(frozen=True)
class ModelSpec:
    """One own network: what `recipes` and `--help` show, and how to build it."""

    name: str
    title: str
    source: str
    build: Callable[..., ConvNet]
    options: tuple[str, ...] = ()


OWN_MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec(
            "cnn28", "three conv-ReLU-maxpool blocks, two linear layers", "system S0", cnn28, ("convs", "batch_norm")
        ),
        ModelSpec("cnn_bn", "four conv-batchnorm-ReLU-pool-dropout blocks, two linear layers", "system S1", cnn_bn),
        ModelSpec("tinyvgg", "two blocks of three convolutions, one linear layer", "system S4", tinyvgg, ("width",)),
    )
}


def build_model(
    name: str,
    *,
    outputs: int,
    channels: int,
    size_px: int,
    weights: str = "none",
    dropout: float = 0.0,
    options: Options | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> BuiltModel:
    """Build a network by name.

    Args:
        name: One of `OWN_MODELS` or any timm model name.
        outputs: Logits a picture: number of classes, or 1 for binary cross entropy.
        channels: 1 (gray) or 3.
        size_px: Side of the square input.
        weights: "none", "imagenet" (downloaded by timm), or the path of a `.safetensors` file.
        dropout: Before the last layer.
        options: Passed on to the network, such as `{"pad_type": "same"}` or `{"width": 16}`.
        mean: Input mean per channel or one for all; the network's own by default.
        std: Likewise.

    Raises:
        UsageError: For an unknown name or option; the nearest name is given.
        ResourceError: If ImageNet weights cannot be downloaded.
        IntegrityError: If a weight file does not fit the network.
    """
    options = dict(options or {})
    if name not in OWN_MODELS:
        from tumorscope.models.backbones import build_backbone

        return build_backbone(
            name,
            outputs=outputs,
            channels=channels,
            size_px=size_px,
            weights=weights,
            dropout=dropout,
            options=options,
            mean=mean,
            std=std,
        )
    spec = OWN_MODELS[name]
    if weights != "none":
        raise UsageError(
            f"model {name!r} has no pretrained weights, found weights = {weights!r}",
            expected='weights = "none", or a timm model',
            where="[model] weights",
            fix='set weights = "none"',
        )
    unknown = sorted(set(options) - set(spec.options))
    if unknown:
        raise UsageError(
            f"model {name!r} does not know the option {unknown[0]!r}",
            expected=f"one of {list(spec.options)}",
            where="[model.options]",
            fix="remove it",
        )
    extra: dict[str, Any] = dict(options)
    module = spec.build(channels=channels, outputs=outputs, size_px=size_px, dropout=dropout, **extra)
    groups = [tuple(f"blocks.{i}.{n}" for n, _ in block.named_parameters()) for i, block in enumerate(module.blocks)]
    groups.append(tuple(f"classifier.{n}" for n, _ in module.classifier.named_parameters()))
    return BuiltModel(
        module=module,
        groups=tuple(groups),
        normalisation=Normalisation(spread(mean, channels, 0.5), spread(std, channels, 0.5)),
        cam_layer=f"blocks.{len(module.blocks) - 1}",
        licence="Apache-2.0",
        weights="none",
        weights_sha256="",
    )


def spread(values: tuple[float, ...] | None, channels: int, default: float) -> tuple[float, ...]:
    """`values` for every channel: one value is repeated, None becomes `default`."""
    if values is None:
        return (default,) * channels
    if len(values) == 1:
        return values * channels
    if len(values) == channels:
        return values
    raise UsageError(
        f"{len(values)} normalisation values for {channels} channel(s)",
        expected=f"1 or {channels}",
        where="[model] mean, std",
        fix="give one value, or one a channel",
    )


def nearest(name: str, known: list[str]) -> str:
    """A sentence that names the closest known names, or nothing."""
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    return f"did you mean {', '.join(close)}?" if close else ""
