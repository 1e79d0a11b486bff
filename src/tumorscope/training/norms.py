"""Batch norm over the images of all processes, on any device.

In: a network whose batch norms would see only the images of their own process. Out: the same network; in training mode
its batch norms take mean and variance of the whole batch, and keep the running statistics that one process would.
torch's own SyncBatchNorm does this on CUDA alone. One sum over the processes is taken in each direction; in float64,
so that joining the parts costs no digits. The gradient is that of Ioffe and Szegedy (2015), its two means over all
images.
"""

from __future__ import annotations

import types
from typing import Any

import torch
import torch.distributed as dist
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.nn import functional

from tumorscope.core.errors import UsageError


def synchronise(network: nn.Module) -> nn.Module:
    """Make the batch norms of `network` count the images of all processes; it is changed in place.

    Weights, names and evaluation mode stay as they are.

    Raises:
        UsageError: If it holds a batch norm of a kind that is not known here.
    """
    for name, module in network.named_modules():
        if not isinstance(module, nn.modules.batchnorm._BatchNorm):
            continue
        known = type(module).forward in (nn.modules.batchnorm._BatchNorm.forward, BatchNormAct2d.forward)
        if not known or not module.track_running_stats:
            raise UsageError(
                f"the layer {name!r} is a {type(module).__name__} that cannot count the images of other processes",
                expected="an ordinary batch norm with running statistics",
                where="[model] name",
                fix="train this network in one process, or choose another one",
            )
        module.forward = types.MethodType(_forward, module)  # type: ignore[method-assign]  # of this layer alone: names and weights stay
    return network


def _forward(self: Any, images: Tensor) -> Tensor:
    if not self.training:
        plain: Tensor = type(self).forward(self, images)
        return plain
    self._check_input_dim(images)
    found, mean, var, n = _Normalise.apply(images, self.weight, self.bias, self.eps)
    with torch.no_grad():
        self.num_batches_tracked.add_(1)
        factor = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, factor)
        self.running_var.lerp_(var * (n / (n - 1)), factor)
    if isinstance(self, BatchNormAct2d):
        found = self.act(self.drop(found))
    normalised: Tensor = found
    return normalised


def _channels(vector: Tensor, ndim: int) -> Tensor:
    """(C,) as (1, C, 1, ...)."""
    return vector.view(1, -1, *[1] * (ndim - 2))


class _Normalise(torch.autograd.Function):
    """(B, C, ...) of this process, to zero mean and unit variance over the images of all processes."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Any:
        sides = [d for d in range(images.ndim) if d != 1]
        n = images.numel() // images.shape[1]
        sums = torch.zeros(2, images.shape[1], dtype=torch.float64, device=images.device)
        if n:
            # torch.var_mean takes ten times as long
            wide = images.float()
            mean = wide.sum(sides).double() / n
            apart = wide - _channels(mean.float(), images.ndim)
            # about a rounded mean: what is left of it is put back
            rest = apart.sum(sides).double() / n
            mean = mean.float().double() + rest
            sums[0] = mean * n
            sums[1] = (apart * apart).sum(sides).double() + (mean * mean - rest * rest) * n
        packed = torch.cat([sums.flatten(), sums.new_tensor([n])])
        dist.all_reduce(packed)
        total = packed[-1]
        first, second = (packed[:-1] / total).view(2, -1)
        mean, var = first.float(), (second - first * first).clamp_min(0).float()
        found = functional.batch_norm(images, mean, var, weight, bias, False, 0.0, eps)
        ctx.save_for_backward(images, weight, mean, var, total)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, var, total)
        return found, mean, var, total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        images, weight, mean, var, total = ctx.saved_tensors
        (above,) = gradients[:1]
        sums = torch.zeros(2, len(mean), dtype=torch.float32, device=images.device)
        if images.numel():
            # the two sums of evaluation mode, whose statistics are given
            given = (above, images, weight, mean, var, None, None, False, ctx.eps, [False, True, True])
            _, sums[1], sums[0] = torch.ops.aten.native_batch_norm_backward(*given)
        packed = sums.double()
        dist.all_reduce(packed)
        means = (packed / total).float()
        inverse = (var + ctx.eps).rsqrt()
        scale = inverse if weight is None else inverse * weight
        # scale * (above - means[0] - normal * means[1]), as slope * images + level + scale * above
        slope = -scale * inverse * means[1]
        level = -scale * means[0] - slope * mean
        below = images.float() * _channels(slope, images.ndim) + _channels(level, images.ndim)
        below = below.addcmul_(above.float(), _channels(scale, images.ndim)).to(images.dtype)
        if weight is None:
            return below, None, None, None
        return below, sums[1], sums[0], None
