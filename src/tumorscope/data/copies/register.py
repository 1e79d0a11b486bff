"""Lays one picture over another: shift by correlation, then Gauss-Newton steps on an affine map.

In: batches of picture pairs as torch tensors and first guesses of the maps. Out: better maps. The pictures are
made free of local brightness and contrast first; the steps are those of the inverse compositional method
(Baker & Matthews 2004) with the gain of the enhanced correlation coefficient (Evangelidis & Psarakis 2008).
Places run from -1 to 1 across the picture, whatever its size.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@lru_cache(maxsize=16)
def _box(n: int, window: int, stride: int) -> torch.Tensor:
    """(n / stride, n) matrix of running means; places outside the picture do not count."""
    import torch

    line = torch.arange(n)
    near = ((line[::stride, None] - line[None]).abs() <= window // 2).float()
    return near / near.sum(1, keepdim=True)


def box_mean(pictures: torch.Tensor, window: int, stride: int = 1) -> torch.Tensor:
    """(B, n, n) means over `window` x `window` pixels, those outside the picture left out.

    Two matrix products: on small pictures several times as fast as pooling.
    """
    matrix: torch.Tensor = _box(pictures.shape[-1], window, stride)
    means: torch.Tensor = matrix @ (pictures @ matrix.T)
    return means


def halve(pictures: torch.Tensor) -> torch.Tensor:
    """(B, n / 2, n / 2) means of 2 x 2 pixels, several times as fast as pooling."""
    top, bottom = pictures[:, ::2], pictures[:, 1::2]
    return (top[:, :, ::2] + top[:, :, 1::2] + bottom[:, :, ::2] + bottom[:, :, 1::2]) / 4


def flatten_light(pictures: torch.Tensor, window: int) -> torch.Tensor:
    """(B, n, n) pictures less their mean over `window` x `window` pixels, divided by their local deviation.

    A floor of 0.3 global deviations keeps noise in flat regions small.
    """
    mean, squares = box_mean(pictures, window), pictures * pictures
    variance = (box_mean(squares, window) - mean * mean).clamp_min(0)
    overall = squares.mean((1, 2), keepdim=True) - pictures.mean((1, 2), keepdim=True) ** 2
    return (pictures - mean) / (variance + (0.09 * overall).clamp_min(1e-6)).sqrt()


@lru_cache(maxsize=16)
def places(n: int) -> torch.Tensor:
    """(3, n * n) places x, y and 1 of the pixel centres."""
    import torch

    line = (torch.arange(n) + 0.5) / n * 2 - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)]).reshape(3, -1)


def apply(maps: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """(B, P, 2) places to which the maps (B, 2, 3) lead from the places (3, P)."""
    led: torch.Tensor = maps.reshape(-1, 3) @ at
    return led.view(len(maps), 2, at.shape[1]).transpose(1, 2)


def compose(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """(B, 2, 3) maps that apply `second`, then `first`."""
    import torch

    linear = first[:, :, :2]
    return torch.cat([linear @ second[:, :, :2], linear @ second[:, :, 2:] + first[:, :, 2:]], 2)


def warp(moving: torch.Tensor, maps: torch.Tensor, *, mode: str = "bilinear") -> tuple[torch.Tensor, torch.Tensor]:
    """(B, n, n) `moving` as seen from the fixed picture, and 1.0 where that place lies inside it."""
    from torch.nn.functional import grid_sample

    count, n, _ = moving.shape
    at = apply(maps, places(n)).reshape(count, n, n, 2)
    seen = grid_sample(moving[:, None], at, mode=mode, padding_mode="border", align_corners=False)[:, 0]
    return seen, (at.abs().amax(3) < 1 - 0.5 / n).to(moving.dtype)


def correlation(fixed: torch.Tensor, seen: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """(B,) Pearson correlation of two batches of pictures over the places `inside`."""
    weight = inside.sum((1, 2), keepdim=True).clamp_min(1)
    a = (fixed - (fixed * inside).sum((1, 2), keepdim=True) / weight) * inside
    b = (seen - (seen * inside).sum((1, 2), keepdim=True) / weight) * inside
    squares = (a * a).sum((1, 2)) * (b * b).sum((1, 2))
    return (a * b).sum((1, 2)) / squares.sqrt().clamp_min(1e-6)


def shift_by_correlation(
    fixed: torch.Tensor, moving: torch.Tensor, maps: torch.Tensor, *, reach: float = 0.3
) -> torch.Tensor:
    """`maps` moved by the shift of up to `reach` (in half sides) at which the pictures correlate most."""
    import torch

    n = fixed.shape[-1]
    seen, inside = warp(moving, maps)
    window = torch.hann_window(n, periodic=False).sqrt()
    window = window[:, None] * window
    a = (fixed - fixed.mean((1, 2), keepdim=True)) * window
    b = (seen - seen.mean((1, 2), keepdim=True)) * window * inside
    surface = torch.fft.irfft2(torch.fft.rfft2(b) * torch.fft.rfft2(a).conj(), s=(n, n))
    steps = int(reach * n / 2)
    near = torch.arange(-steps, steps + 1) % n
    peak = surface[:, near][:, :, near].flatten(1).argmax(1)
    width = 2 * steps + 1
    move = torch.eye(2, 3).repeat(len(fixed), 1, 1)
    move[:, 0, 2] = (peak % width - steps) * 2 / n
    move[:, 1, 2] = (peak // width - steps) * 2 / n
    return compose(maps, move)


@lru_cache(maxsize=16)
def _looked_at(n: int, every: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(P,) numbers of the pixels a step looks at, all but the outermost, and their (3, P) places."""
    import torch

    line = torch.arange(n)
    inner = (line > 0) & (line < n - 1)
    chosen = inner[:, None] & inner & ((line[:, None] + line) % every == 0)
    at = chosen.flatten().nonzero()[:, 0]
    return at, places(n)[:, at].contiguous()


def refine(
    fixed: torch.Tensor, moving: torch.Tensor, maps: torch.Tensor, *, steps: int, every: int = 1
) -> torch.Tensor:
    """`maps` after `steps` Gauss-Newton steps towards the least squared difference, gain left free.

    Args:
        fixed: (B, n, n) pictures without local light.
        moving: (B, n, n) pictures to lay over them.
        maps: (B, 2, 3) first guesses.
        steps: Number of steps.
        every: 2 looks at every second pixel only, as on a chessboard.
    """
    import torch
    from torch.nn.functional import grid_sample

    count, n, _ = fixed.shape
    pixels, grid = _looked_at(n, every)
    flat = fixed.flatten(1)
    target = flat.index_select(1, pixels)
    down = (flat.index_select(1, pixels + n) - flat.index_select(1, pixels - n)) * (n / 4)
    right = (flat.index_select(1, pixels + 1) - flat.index_select(1, pixels - 1)) * (n / 4)
    x, y = grid[0], grid[1]
    descent = torch.stack([right * x, right * y, right, down * x, down * y, down], 1)
    hessian = descent @ descent.transpose(1, 2)
    ridge = 1e-3 * hessian.diagonal(dim1=1, dim2=2).mean(1) + 1e-6
    solve = torch.linalg.inv(hessian + ridge[:, None, None] * torch.eye(6))
    source = moving[:, None]
    identity = torch.tensor([[0.0, 0.0, 1.0]]).expand(count, 1, 3)
    for _ in range(steps):
        at = apply(maps, grid)
        inside = (at.abs().amax(2) < 1 - 1 / n).to(fixed.dtype)
        seen = grid_sample(source, at[:, None], padding_mode="border", align_corners=False)[:, 0, 0]
        weight = inside.sum(1, keepdim=True).clamp_min(1)
        a = (target - (target * inside).sum(1, keepdim=True) / weight).mul_(inside)
        b = (seen - (seen * inside).sum(1, keepdim=True) / weight).mul_(inside)
        gain = a.norm(dim=1, keepdim=True) / b.norm(dim=1, keepdim=True).clamp_min(1e-6)
        slope = descent @ b.mul_(gain).sub_(a)[:, :, None]
        step = (solve @ slope)[:, :, 0]
        step = step * (0.25 / step.abs().amax(1, keepdim=True).clamp_min(1e-6)).clamp(max=1)
        increment = torch.cat([step.view(-1, 2, 3) + torch.eye(2, 3), identity], 1)
        maps = compose(maps, torch.linalg.inv(increment)[:, :2])
    return maps
