"""Right for the right reasons: a loss that keeps the evidence for the true class inside the annotated boxes.

In: boxes and geometry of the training images, and the last map of the network while it trains. Out: region masks that
are moved with the images, and a term added to the loss: the cross entropy, -log, of the share of the true class's
Grad-CAM (Selvaraju et al. 2017) that falls inside the boxes. Ross et al. (2017) put such a demand on input gradients,
Li et al. (2018, GAIN) on Grad-CAM. On the map that the network pools the share is exact where one linear layer
follows: the answer is the sum of that map's places. It costs one backward pass from the logits to that map, without
second derivatives, because the channel weights are taken as constants of the step.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tumorscope.core.errors import UsageError
from tumorscope.data.lesions import lesion_boxes
from tumorscope.data.manifest import Manifest
from tumorscope.imaging.boxes import box_mask, boxes_in_pixels, boxes_to_input
from tumorscope.imaging.cache import PixelCache
from tumorscope.models.last_map import channel_axis, on_last_map
from tumorscope.models.outputs import class_logits

REGION_PX = 56
"""Side of a region mask: eight times finer than the 7 x 7 maps of common networks at 224 px."""
FLOOR = 1e-3
"""Added to shares: a map wholly outside costs -log of about 0.001, not infinity."""


def regions_to_attend(
    manifest: Manifest, cache: PixelCache, rows: NDArray[np.int64], *, lesion_free: Sequence[str] = ()
) -> tuple[NDArray[np.uint8], int]:
    """Where the evidence should lie: masks of the boxes round lesions, and how many of the images at `rows` have one.

    Args:
        manifest: Images with boxes.
        cache: The network's input of every image of the manifest.
        rows: The training images.
        lesion_free: Classes whose boxes surround no lesion, besides those that are known by name.

    Returns:
        (N, 1, 56, 56) uint8 masks, and the number of training images with a box.

    Raises:
        UsageError: If no training image has such a box.
    """
    lesions = lesion_boxes(manifest, lesion_free)
    boxed = sum(bool(lesions.records[i].boxes) for i in rows.tolist())
    if not boxed:
        raise UsageError(
            'attend = "boxes", but no training image has a box round a lesion',
            expected="boxes in label files or in the table, on images of classes with a lesion",
            where="[train] attend",
            fix='leave attend out, or give data with boxes (see "Bring your own data")',
        )
    return region_masks(lesions, cache), boxed


def region_masks(manifest: Manifest, cache: PixelCache) -> NDArray[np.uint8]:
    """(N, 1, 56, 56) masks of the boxes in the network's input, 255 inside; all zero without a box.

    Each box holds one pixel at least; what the preprocessing cut away is gone.
    """
    size_px = cache.preprocessing.size_px
    masks = np.zeros((len(manifest), 1, REGION_PX, REGION_PX), dtype=np.uint8)
    for row, record in enumerate(manifest.records):
        if record.boxes:
            pixels = boxes_in_pixels(record.boxes, width_px=record.width_px, height_px=record.height_px)
            boxes = boxes_to_input(pixels, cache.geometry(row), size_px=size_px) * (REGION_PX / size_px)
            masks[row, 0] = box_mask(boxes, width_px=REGION_PX, height_px=REGION_PX) * np.uint8(255)
    return masks


class Attention:
    """Watches the last map of a network and says how far its evidence lies outside the regions.

    Args:
        network: The network that trains.
        layer: Name of its last spatial module.
        classes: Number of classes.
        positive: Position of the positive class, or None.
        weight: Factor of the term.
    """

    def __init__(self, network: nn.Module, layer: str, *, classes: int, positive: int | None, weight: float) -> None:
        if not layer:
            raise UsageError(
                "this network names no spatial layer that heatmaps could be made from",
                expected="a convolutional network",
                where="[train] attend",
                fix="choose another [model] name, or leave attend out",
            )
        self.classes = classes
        self.positive = positive
        self.weight = weight
        self._axis = channel_axis(network)
        self._seen: Tensor | None = None
        self._handles = on_last_map(network, layer, self._note)

    def _note(self, found: Tensor) -> None:
        self._seen = found if found.requires_grad and found.ndim == 4 else None

    def close(self) -> None:
        """Stop watching."""
        for handle in self._handles:
            handle.remove()
        self._seen = None

    @staticmethod
    def counted(regions: Tensor) -> float:
        """Number of images with a region, which the mean of `term` is over."""
        return float(_boxed(regions).sum())

    def term(self, raw: Tensor, targets: Tensor, regions: Tensor) -> Tensor:
        """Weighted -log of the share inside, mean over images with a region; zero where there is nothing to train.

        Args:
            raw: (B, outputs) float32 output of the forward pass that was just watched.
            targets: (B,) true classes.
            regions: (B, 1, R, R) float32 in 0..1.
        """
        if self._seen is None:
            return raw.sum() * 0
        activations, self._seen = self._seen, None
        logits = class_logits(raw, classes=self.classes, positive=self.positive)
        # the evidence for a class is what raises it against the mean of the others
        margin = logits - (logits.sum(dim=1, keepdim=True) - logits) / max(self.classes - 1, 1)
        score = margin.gather(1, targets[:, None]).sum()
        # taken without a region too: a norm on the way may wait for the other processes that train this network
        (gradients,) = torch.autograd.grad(score, activations, retain_graph=True)
        boxed = _boxed(regions)
        if not bool(boxed.any()):
            return raw.sum() * 0
        sides = (1, 2) if self._axis == 3 else (2, 3)
        weights = gradients.float().mean(dim=sides, keepdim=True).detach()
        heat = (weights * activations.float()).sum(dim=self._axis).relu()[boxed]
        inside = functional.interpolate(regions[boxed], heat.shape[-2:], mode="area")[:, 0]
        mass = heat.sum(dim=(1, 2))
        share = (heat * inside.clamp(0, 1)).sum(dim=(1, 2)) / mass.clamp_min(1e-6)
        cost = -((share + FLOOR) / (1 + FLOOR)).log()
        # a map of zeros points nowhere: it is neither rewarded nor punished
        return self.weight * torch.where(mass > 1e-6, cost, torch.zeros_like(cost)).mean()


def _boxed(regions: Tensor) -> Tensor:
    """(B,) bool: images whose region holds something."""
    return regions.flatten(1).amax(dim=1) > 0.5
