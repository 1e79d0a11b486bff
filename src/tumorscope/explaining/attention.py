"""Heat from the attention of a vision transformer, for a class.

In: a timm transformer with one sequence of tokens. Out: (B, S, S) heat, one value a patch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tumorscope.explaining.asking import Progress, Subject, prepared, undisturbed
from tumorscope.explaining.cams import spread_out
from tumorscope.models.registry import BuiltModel


def attention_applies(built: BuiltModel) -> str | None:
    """Why no attention can be read, or None."""
    network: Any = built.module
    blocks = getattr(network, "blocks", None)
    if blocks is None or not len(blocks) or not all(_readable(block) for block in blocks):
        return "it is no transformer whose blocks show their attention"
    if getattr(network, "num_prefix_tokens", None) is None:
        return "which of its tokens are patches is not known"
    pool = getattr(network, "global_pool", None)
    if pool not in ("token", "avg"):
        return f"its tokens are pooled by {pool!r}, not by the class token or the mean"
    return None


def attention_gradients(
    subject: Subject, images: Tensor, *, targets: Tensor, progress: Progress | None = None
) -> Tensor:
    """Relevance of patches (Chefer, Gur and Wolf 2021, ICCV): attention times its positive gradient, rolled out.

    R starts as the identity; each block adds mean over heads of (gradient x attention)+ times R. The class token's
    row is read. Where the network averages its patches there is no such token: then the rows of R, what each patch
    kept of itself included, are summed by the patches' own positive shares in the score (gradient times last token).
    """
    network: Any = subject.built.module
    last: list[Tensor] = []
    with undisturbed(network), _attention_kept(network) as kept:
        handle = network.blocks[-1].register_forward_hook(lambda _m, _i, output: last.append(output))
        try:
            raw = network(prepared(network, images).requires_grad_(True))
        finally:
            handle.remove()
        scores = subject.scores(raw, targets)
        *gradients, slope = torch.autograd.grad(scores.sum(), [*kept, *last])
    attention = [one.detach() for one in kept]
    prefix = int(network.num_prefix_tokens)
    identity = torch.eye(attention[0].shape[-1], device=attention[0].device)
    relevance = identity.expand(len(images), -1, -1)
    for weights, slopes in zip(attention, gradients, strict=True):
        relevance = relevance + (weights * slopes).clamp_min(0).mean(dim=1).float() @ relevance
    if network.global_pool == "token":
        row = (relevance - identity)[:, 0]
    else:
        shares = (slope * last[0].detach()).sum(dim=2).float()[:, prefix:].clamp_min(0)
        row = torch.einsum("bt,btp->bp", shares, relevance[:, prefix:])
    patches = row[:, prefix:].clamp_min(0)
    side = round(patches.shape[1] ** 0.5)
    heat = spread_out(patches.reshape(len(images), side, side), images.shape[-1])
    if progress is not None:
        progress(len(images), len(images))
    return heat


def _readable(block: nn.Module) -> bool:
    attention = getattr(block, "attn", None)
    return all(hasattr(attention, name) for name in ("attn_drop", "fused_attn", "num_heads"))


@contextmanager
def _attention_kept(network: Any) -> Iterator[list[Tensor]]:
    """A block in which each attention computes its (B, heads, T, T) weights in the open and they are collected."""
    kept: list[Tensor] = []
    parts = [block.attn for block in network.blocks]
    fused = [part.fused_attn for part in parts]
    handles = [part.attn_drop.register_forward_hook(lambda _m, _i, output: kept.append(output)) for part in parts]
    for part in parts:
        part.fused_attn = False
    try:
        yield kept
    finally:
        for part, setting in zip(parts, fused, strict=True):
            part.fused_attn = setting
        for handle in handles:
            handle.remove()
