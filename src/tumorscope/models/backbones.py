"""timm backbones with ImageNet, local or random weights, for gray or colour input.

A gray image keeps one channel: the pretrained stem is folded. With the stem weights W_c, means m_c and
deviations s_c of the three channels, a gray image g gives sum_c W_c * (g - m_c) / s_c. Folded, that is V * x + b
with x = (g - m) / s, V = sum_c W_c s / s_c and b = sum_c W_c (m - m_c) / s_c, where m and s are the channel
averages. Equal means and deviations (the usual 0.5) make b vanish and the result exact; otherwise b goes into
the stem's bias or the batch norm after it, exact but for the outermost pixels where zero padding meets b.
"""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tumorscope.core.errors import IntegrityError, ResourceError, UsageError
from tumorscope.core.files import sha256_file
from tumorscope.imaging.loader import Normalisation
from tumorscope.models.registry import OWN_MODELS, BuiltModel, Options, nearest, spread


def fold_stem(model: nn.Module, conv_name: str, mean: tuple[float, ...], std: tuple[float, ...]) -> Normalisation:
    """Replace a three-channel stem convolution by its one-channel equal, in place.

    Args:
        model: Network whose module `conv_name` is a Conv2d with three input channels.
        conv_name: Name of the stem convolution.
        mean: Three channel means the stem was trained with.
        std: Three deviations.

    Returns:
        The one-channel normalisation that goes with the folded stem.
    """
    conv = model.get_submodule(conv_name)
    # subclasses may treat their weights by channel (weight standardisation), so only plain ones are folded
    if type(conv).__name__ not in ("Conv2d", "Conv2dSame") or not isinstance(conv, nn.Conv2d) or conv.in_channels != 3:
        raise _unfoldable(conv_name)
    m, s = sum(mean) / 3, sum(std) / 3
    weight = conv.weight.detach()
    factors = torch.tensor([s / v for v in std], dtype=weight.dtype)
    offsets = torch.tensor([(m - a) / v for a, v in zip(mean, std, strict=True)], dtype=weight.dtype)
    folded = (weight * factors[:, None, None]).sum(dim=1, keepdim=True)
    constant = (weight * offsets[:, None, None]).sum(dim=(1, 2, 3))
    conv.in_channels = 1
    conv.weight = nn.Parameter(folded.contiguous())
    if bool((constant.abs() > 1e-7).any()):
        _absorb(model, conv_name, conv, constant)
    return Normalisation((m,), (s,))


def _absorb(model: nn.Module, conv_name: str, conv: nn.Conv2d, constant: Tensor) -> None:
    """Put a per-output constant where the network can hold it: the convolution's bias, or the norm after it."""
    if conv.bias is not None:
        conv.bias = nn.Parameter(conv.bias.detach() + constant)
        return
    names = [name for name, _ in model.named_modules()]
    for name in names[names.index(conv_name) + 1 :]:
        module = model.get_submodule(name)
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.sub_(constant)
            return
        if isinstance(module, nn.Conv2d):
            break
    raise _unfoldable(conv_name)


def _unfoldable(conv_name: str) -> UsageError:
    return UsageError(
        f"the stem {conv_name!r} of this network cannot be folded for gray images",
        expected="a plain three-channel convolution, followed by batch norm or with a bias",
        where="[image] channels",
        fix="--set image.channels=3",
    )


def build_backbone(
    name: str,
    *,
    outputs: int,
    channels: int,
    size_px: int,
    weights: str,
    dropout: float,
    options: Options,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
) -> BuiltModel:
    """A timm model as a `BuiltModel`; see `tumorscope.models.registry.build_model` for the arguments."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import timm

    architecture = name.split(".", maxsplit=1)[0]
    if not timm.is_model(architecture):
        known = [*OWN_MODELS, *timm.list_models()]
        raise UsageError(
            f"no model is called {name!r}",
            expected=f"one of {', '.join(OWN_MODELS)} or a timm model name",
            where="[model] name",
            fix=nearest(name, known) or "see `python -c 'import timm; print(timm.list_models())'`",
        )
    fold = channels == 1 and weights != "none"
    arguments: dict[str, Any] = {
        "num_classes": outputs,
        "in_chans": 3 if fold else channels,
        "drop_rate": dropout,
        **options,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = _create(timm, name, arguments, size_px=size_px, pretrained=weights == "imagenet")
    config: dict[str, Any] = vars(model)["pretrained_cfg"]
    classifier = config["classifier"]
    if not isinstance(classifier, str) or not classifier:
        raise UsageError(
            f"model {name!r} has no single classification layer",
            expected="a timm model with one classifier",
            where="[model] name",
            fix="choose another model",
        )
    if weights != "none":
        _small_head(model.get_submodule(classifier))
    digest = ""
    if weights not in ("none", "imagenet"):
        digest = load_weights(model, Path(weights).expanduser(), classifier=classifier)
    trained_mean = _three(mean, tuple(config["mean"]))
    trained_std = _three(std, tuple(config["std"]))
    if fold:
        stem = config["first_conv"]
        normalisation = fold_stem(model, stem, trained_mean, trained_std)
    elif channels == 1:
        normalisation = Normalisation((sum(trained_mean) / 3,), (sum(trained_std) / 3,))
    else:
        normalisation = Normalisation(trained_mean, trained_std)
    return BuiltModel(
        module=model,
        groups=_groups(model),
        normalisation=normalisation,
        cam_layer=_cam_layer(model),
        licence=str(config.get("license") or "see the model's page"),
        weights=weights if weights in ("none", "imagenet") else Path(weights).name,
        weights_sha256=digest,
    )


def _small_head(head: nn.Module) -> None:
    """Start a new head near zero, so that the first answers are near chance and do not tear at pretrained features.

    timm draws the head of an EfficientNet from ±1/sqrt(classes) however many features come in: with two classes and
    1,280 features the first loss is about 4, where guessing has 0.7.
    """
    if isinstance(head, nn.Linear):
        nn.init.normal_(head.weight, std=0.01)
        nn.init.zeros_(head.bias)


def _three(values: tuple[float, ...] | None, default: tuple[float, ...]) -> tuple[float, ...]:
    return default if values is None else spread(values, 3, 0.5)


def _create(timm: Any, name: str, arguments: dict[str, Any], *, size_px: int, pretrained: bool) -> nn.Module:
    """Build by timm; networks with a fixed input size are told `size_px`, the others do not take it."""
    try:
        try:
            model: nn.Module = timm.create_model(name, pretrained=pretrained, img_size=size_px, **arguments)
        except TypeError:
            model = timm.create_model(name, pretrained=pretrained, **arguments)
    except TypeError as error:
        option = re.search(r"argument '(\w+)'", str(error))
        raise UsageError(
            f"model {name!r} does not take {option.group(1) if option else error}",
            where="[model.options]",
            fix="remove the option",
        ) from error
    except (OSError, RuntimeError) as error:
        if "pretrained tag" in str(error):
            raise UsageError(
                str(error).splitlines()[0], where="[model] name", fix="leave the part after the dot out"
            ) from error
        if not pretrained:
            raise
        raise ResourceError(
            f"the ImageNet weights of {name!r} could not be had: {str(error).splitlines()[0][:120]}",
            expected="a connection to the model hub, or weights downloaded before",
            where='[model] weights = "imagenet"',
            fix='connect once, or give a file: --set model.weights="PATH.safetensors", or --set model.weights=none',
        ) from error
    return model


def load_weights(model: nn.Module, path: Path, *, classifier: str) -> str:
    """Load a `.safetensors` backbone into `model`; a classifier of another size is left out.

    Args:
        model: Network of the same architecture.
        path: The file.
        classifier: Prefix of the head's parameter names.

    Returns:
        SHA-256 of the file.

    Raises:
        UsageError: If the file is missing or is a pickle (`.pth`, `.pt`, `.bin`), which is never loaded.
        IntegrityError: If tensors are missing, unknown, of another shape, or not finite.
    """
    if path.suffix != ".safetensors":
        raise UsageError(
            f"weights file {path.name!r} is not .safetensors",
            expected="a .safetensors file; pickled files can run code and are never loaded",
            where=path,
            fix="convert it with safetensors.torch.save_file, on a machine that trusts it",
        )
    if not path.is_file():
        raise UsageError("the weights file does not exist", where=path, fix="check the path given as [model] weights")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise IntegrityError(
            f"the weights file cannot be read: {error}", where=path, fix="get the file again"
        ) from error
    own = model.state_dict()
    head = f"{classifier}."
    state = {k: v for k, v in state.items() if not (k.startswith(head) and own.get(k, v).shape != v.shape)}
    missing = [k for k in own if k not in state and not k.startswith(head) and "num_batches" not in k]
    unknown = [k for k in state if k not in own]
    shapes = [k for k in state if k in own and own[k].shape != state[k].shape]
    broken = [k for k, v in state.items() if v.is_floating_point() and not bool(torch.isfinite(v).all())]
    for problem, keys in (
        ("are missing", missing),
        ("are unknown to the model", unknown),
        ("have another shape", shapes),
        ("hold NaN or infinity", broken),
    ):
        if keys:
            raise IntegrityError(
                f"{len(keys)} tensors {problem}, first {keys[0]!r}",
                expected=f"weights of {type(model).__name__} with {len(own)} tensors",
                where=path,
                fix="name the architecture the weights were made for in [model] name",
            )
    model.load_state_dict(state, strict=False)
    return sha256_file(path)


def _groups(model: nn.Module) -> tuple[tuple[str, ...], ...]:
    """Parameter names by depth, the classifier last; timm's own coarse grouping."""
    from timm.models._manipulate import group_with_matcher

    timm_model: Any = model
    matcher = timm_model.group_matcher(coarse=True)
    grouped = group_with_matcher(model.named_parameters(), matcher)
    head = {name for name, _ in model.named_parameters() if name.startswith(_head_prefix(model))}
    body = [tuple(n for n in names if n not in head) for _, names in sorted(grouped.items())]
    return (*(g for g in body if g), tuple(sorted(head)))


def _head_prefix(model: nn.Module) -> str:
    return str(vars(model)["pretrained_cfg"]["classifier"]) + "."


def _cam_layer(model: nn.Module) -> str:
    """The last spatial module by timm's feature table; the last block of a transformer."""
    info = getattr(model, "feature_info", None)
    names = {name for name, _ in model.named_modules()}
    if info:
        module = str(info[-1]["module"])
        if module in names:
            return module
    blocks = [name for name in names if re.fullmatch(r"blocks\.\d+", name)]
    return max(blocks, key=lambda n: int(n.split(".")[1])) if blocks else ""
