"""Random changes for whole training batches: parameters are drawn first, then applied, one set an image.

In: a batch (B, C, H, W) float32 in 0..1 and a torch generator. Out: the changed batch. Applying a batch equals
applying its images one by one, because every parameter is per image and nothing is shared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class AugmentSpec:
    """Ranges that parameters are drawn from, uniformly.

    Attributes:
        flip_horizontal: Probability of a left-right flip.
        flip_vertical: Probability of an up-down flip.
        rotate_deg: Rotation in ±degrees.
        translate: Shift in ± share of the side.
        scale: Zoom range; 1.1 shows the image 10% larger.
        brightness: Additive change in ± share of full scale.
        contrast: Multiplicative change about the image mean in ± share.
        erase: Probability that a random rectangle (2-15% of the area) is set to the image mean.
    """

    flip_horizontal: float = 0.0
    flip_vertical: float = 0.0
    rotate_deg: float = 0.0
    translate: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    brightness: float = 0.0
    contrast: float = 0.0
    erase: float = 0.0

    @property
    def geometric(self) -> bool:
        """True if any pixel may move."""
        return bool(
            self.flip_horizontal or self.flip_vertical or self.rotate_deg or self.translate or self.scale != (1.0, 1.0)
        )

    @property
    def active(self) -> bool:
        """True if anything may change."""
        return bool(self.geometric or self.brightness or self.contrast or self.erase)


@dataclass(frozen=True, slots=True)
class AugmentParams:
    """What was drawn for each image of a batch.

    Attributes:
        affine: (B, 2, 3) output-to-input matrices in normalised coordinates, or None.
        gain: (B,) contrast factors.
        shift: (B,) brightness offsets.
        erase_box: (B, 4) left, top, right, bottom as shares; all zero where nothing is erased.
    """

    affine: Tensor | None
    gain: Tensor
    shift: Tensor
    erase_box: Tensor

    def some(self, part: slice) -> AugmentParams:
        """The parameters of a part of the images."""
        affine = None if self.affine is None else self.affine[part]
        return AugmentParams(affine, self.gain[part], self.shift[part], self.erase_box[part])


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=generator)


def draw(spec: AugmentSpec, n: int, generator: torch.Generator) -> AugmentParams:
    """Draw parameters for `n` images on the CPU; the number of draws does not depend on their outcome."""
    flips_x = torch.rand(n, generator=generator) < spec.flip_horizontal
    flips_y = torch.rand(n, generator=generator) < spec.flip_vertical
    angle = _uniform(n, -spec.rotate_deg, spec.rotate_deg, generator) * (math.pi / 180)
    shift_x = _uniform(n, -2 * spec.translate, 2 * spec.translate, generator)
    shift_y = _uniform(n, -2 * spec.translate, 2 * spec.translate, generator)
    zoom = 1.0 / _uniform(n, *spec.scale, generator)
    gain = _uniform(n, 1 - spec.contrast, 1 + spec.contrast, generator)
    shift = _uniform(n, -spec.brightness, spec.brightness, generator)
    erased = torch.rand(n, generator=generator) < spec.erase
    area = _uniform(n, 0.02, 0.15, generator)
    aspect = torch.exp(_uniform(n, math.log(0.5), math.log(2.0), generator))
    width, height = (area * aspect).sqrt(), (area / aspect).sqrt()
    left = torch.rand(n, generator=generator) * (1 - width)
    top = torch.rand(n, generator=generator) * (1 - height)
    box = torch.stack([left, top, left + width, top + height], dim=1) * erased[:, None]
    affine = None
    if spec.geometric:
        sign_x = 1.0 - 2.0 * flips_x.float()
        sign_y = 1.0 - 2.0 * flips_y.float()
        cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
        affine = torch.stack(
            [
                torch.stack([cos * sign_x, -sin * sign_x, shift_x], dim=1),
                torch.stack([sin * sign_y, cos * sign_y, shift_y], dim=1),
            ],
            dim=1,
        )
    return AugmentParams(affine, gain, shift, box)


def move(images: Tensor, params: AugmentParams, *, outside: Literal["reflection", "zeros"] = "reflection") -> Tensor:
    """The drawn flips, turns, shifts and zooms alone, on (B, C, H, W) float32 of any size."""
    if params.affine is None:
        return images
    grid = functional.affine_grid(params.affine.to(images.device), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode=outside, align_corners=False)


def apply(images: Tensor, params: AugmentParams) -> Tensor:
    """Apply drawn parameters to (B, C, H, W) float32 in 0..1; the result stays in 0..1.

    Pixels from outside the image are mirrored in, so that no artificial edge tells how far it was turned.
    """
    device = images.device
    images = move(images, params)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    if bool((params.gain != 1).any()) or bool((params.shift != 0).any()):
        gain = params.gain.to(device)[:, None, None, None]
        shift = params.shift.to(device)[:, None, None, None]
        images = ((images - mean) * gain + mean + shift).clamp(0, 1)
    if bool(params.erase_box.any()):
        box = params.erase_box.to(device)[:, :, None, None]
        height, width = images.shape[-2:]
        rows = ((torch.arange(height, device=device) + 0.5) / height)[None, :, None]
        columns = ((torch.arange(width, device=device) + 0.5) / width)[None, None, :]
        inside = (columns >= box[:, 0]) & (columns < box[:, 2]) & (rows >= box[:, 1]) & (rows < box[:, 3])
        images = torch.where(inside[:, None], mean, images)
    return images
