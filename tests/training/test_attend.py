"""Evidence inside the boxes: masks in the right place, a term that falls as the evidence moves in, and its effect."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from tests.scans import class_folders
from tests.training.test_run import recipe
from tumorscope.core.errors import UsageError
from tumorscope.core.files import read_json
from tumorscope.core.types import Box
from tumorscope.data.load import load
from tumorscope.data.manifest import Manifest
from tumorscope.imaging.cache import PixelCache
from tumorscope.imaging.preprocess import Preprocessing
from tumorscope.training.attend import FLOOR, REGION_PX, Attention, region_masks, regions_to_attend
from tumorscope.training.run import train

QUIET = Console(quiet=True)
BOXES = (
    Box("x", 0.25, 0.5, 0.2, 0.4),
    Box("x", 0.5, 0.5, 1.0, 1.0),
    Box("x", 0.999, 0.999, 0.0001, 0.0001),
)


@pytest.fixture
def boxed(tmp_path: Path) -> Manifest:
    """Scans whose first images carry one box each; the others none."""
    manifest = load(class_folders(tmp_path / "scans", per_class=16))
    records = [replace(r, boxes=(BOXES[i],)) if i < len(BOXES) else r for i, r in enumerate(manifest.records)]
    return replace(manifest, records=tuple(records))


def _cache(manifest: Manifest, size_px: int) -> PixelCache:
    n = len(manifest)
    geometries = np.array(
        [[r.width_px / size_px, r.height_px / size_px, 0, 0, r.width_px, r.height_px] for r in manifest.records],
        dtype=np.float64,
    )
    return PixelCache(
        np.zeros((n, 1, size_px, size_px), np.uint8), geometries, Preprocessing(size_px, 1), Path(), built=False
    )


def test_masks_lie_where_the_boxes_are(boxed: Manifest) -> None:
    masks = region_masks(boxed, _cache(boxed, 112))
    assert masks.shape == (len(boxed), 1, REGION_PX, REGION_PX)
    rows, columns = np.nonzero(masks[0, 0])
    assert (columns.min(), columns.max() + 1) == pytest.approx((0.15 * 56, 0.35 * 56), abs=1)
    assert (rows.min(), rows.max() + 1) == pytest.approx((0.3 * 56, 0.7 * 56), abs=1)
    assert masks[1].min() == 255
    assert np.argwhere(masks[2, 0]).tolist() == [[REGION_PX - 1, REGION_PX - 1]]  # a speck still holds one pixel
    assert not masks[3:].any()


def test_a_box_that_was_cut_away_leaves_nothing(boxed: Manifest) -> None:
    cache = _cache(boxed, 112)
    cache.geometries[0, 2] = boxed.records[0].width_px  # the input shows what lies right of the image
    assert not region_masks(boxed, cache)[0].any()


@pytest.mark.parametrize(("name", "given"), [("No Tumor", ()), ("gesund", ("Gesund",))])
def test_boxes_round_the_head_are_not_attended(boxed: Manifest, name: str, given: tuple[str, ...]) -> None:
    cache, rows = _cache(boxed, 112), np.arange(len(boxed))
    head = replace(
        boxed,
        classes=(*boxed.classes, name),
        records=tuple(replace(r, label=name) if i == 1 else r for i, r in enumerate(boxed.records)),
    )
    masks, n = regions_to_attend(head, cache, rows, lesion_free=given)
    assert n == 2
    assert [bool(masks[i].any()) for i in range(3)] == [True, False, True]
    with pytest.raises(UsageError, match="no training image has a box round a lesion"):
        regions_to_attend(head, cache, rows, lesion_free=[boxed.records[0].label.upper(), name])


class _TwoSpots(nn.Module):
    """Logits from two spots of a map that a convolution passes on: one trainable factor for each spot."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(1, 2, 1, bias=False)
        self.head = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.maps.weight.copy_(torch.tensor([1.0, 1.0])[:, None, None, None])
            self.head.weight.copy_(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))

    def forward(self, images: Tensor) -> Tensor:
        maps = self.maps(images)
        answer: Tensor = self.head(maps.mean(dim=(2, 3)))
        return answer


def _spot(row: int, column: int) -> Tensor:
    image = torch.zeros(1, 1, 8, 8)
    image[0, 0, row, column] = 1
    return image


def _region(inside: bool) -> Tensor:
    region = torch.zeros(1, 1, 16, 16)
    region[0, 0, 2:6, 2:6] = 1
    return region if inside else torch.zeros(1, 1, 16, 16)


def _term(image: Tensor, region: Tensor, target: int = 0) -> Tensor:
    network = _TwoSpots()
    watch = Attention(network, "maps", classes=2, positive=None, weight=2.0)
    return watch.term(network(image), torch.tensor([target]), region).detach()


def test_the_term_is_the_cross_entropy_of_the_share_inside() -> None:
    assert float(_term(_spot(2, 2), _region(True))) == pytest.approx(0.0, abs=1e-5)
    assert float(_term(_spot(6, 6), _region(True))) == pytest.approx(-2 * math.log(FLOOR / (1 + FLOOR)), abs=1e-4)
    assert float(_term(_spot(2, 2) + _spot(6, 6), _region(True))) == pytest.approx(2 * math.log(2), abs=0.01)


class _Later(_TwoSpots):
    """Moves the map by half a side between its named layer and the pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.global_pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.head(self.global_pool(self.maps(images).roll((4, 4), (2, 3))).flatten(1))
        return answer


def test_the_map_that_is_pooled_counts() -> None:
    for row, inside in ((2, False), (6, True)):
        network = _Later()
        watch = Attention(network, "maps", classes=2, positive=None, weight=1.0)
        term = watch.term(network(_spot(row, row)), torch.tensor([0]), _region(True)).detach()
        assert (float(term) < 1e-5) == inside
        watch.close()
        assert not network.global_pool._forward_pre_hooks


class _ChannelsLast(_TwoSpots):
    """Gives its map as (B, h, w, K), as Swin does."""

    output_fmt = "NHWC"

    def __init__(self) -> None:
        super().__init__()
        self.turned = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.head(self.turned(self.maps(images).permute(0, 2, 3, 1)).mean(dim=(1, 2)))
        return answer


def test_maps_with_channels_last_are_read_alike() -> None:
    for row, column, inside in ((2, 2, True), (2, 6, False), (6, 2, False)):
        network = _ChannelsLast()
        watch = Attention(network, "turned", classes=2, positive=None, weight=1.0)
        term = watch.term(network(_spot(row, column)), torch.tensor([0]), _region(True)).detach()
        assert (float(term) < 1e-5) == inside


def test_without_a_box_or_without_evidence_there_is_no_term() -> None:
    assert float(_term(_spot(6, 6), _region(False))) == 0
    assert float(_term(_spot(6, 6), _region(True), target=1)) == 0  # nothing speaks for class 1


def test_a_frozen_layer_is_left_alone() -> None:
    network = _TwoSpots()
    network.maps.requires_grad_(False)
    watch = Attention(network, "maps", classes=2, positive=None, weight=1.0)
    assert float(watch.term(network(_spot(6, 6)), torch.tensor([0]), _region(True)).detach()) == 0


def _share_outside(weight: float) -> float:
    """Share of evidence outside the regions after training with the term weighed so; the classes are learned."""
    torch.manual_seed(0)
    body = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 1)]
    network = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    images = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 0.1
    targets = torch.arange(32) % 2
    images[targets == 0, 0, 1:3, 1:3] += 1  # the lesion, inside
    images[targets == 1, 0, 1:3, 1:3] += 0.5
    images[targets == 0, 0, 6:8, 6:8] += 1  # a mark that says the same, outside
    regions = torch.zeros(32, 1, 16, 16)
    regions[:, :, 0:8, 0:8] = 1
    watch = Attention(network, "2", classes=2, positive=None, weight=1.0)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-2)
    for _ in range(300):
        logits = network(images)
        term = watch.term(logits, targets, regions)
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(logits, targets) + weight * term)
        optimizer.step()
    watch.close()
    assert (network(images).argmax(1) == targets).float().mean() > 0.9
    return float(term.detach())


def test_training_with_the_term_moves_evidence_inside() -> None:
    assert _share_outside(1.0) < 0.3 * _share_outside(0.0)


def test_a_run_attends_and_says_so(boxed: Manifest, tmp_path: Path) -> None:
    everything = replace(boxed, records=tuple(replace(r, boxes=(Box("x", 0.5, 0.5, 0.4, 0.4),)) for r in boxed.records))
    stage = {"all": {"epochs": 1, "lr": 1e-3}}
    losses = []
    for attend in ("none", "boxes"):
        out = tmp_path / attend
        train(recipe(stage=stage, train={"attend": attend}), everything, out=out, command="c", console=QUIET)
        losses.append((out / "metrics.csv").read_text().splitlines()[1].split(",")[3])
        assert f'attend = "{attend}"' in (out / "recipe.resolved.toml").read_text()
        assert "compile = false" in (out / "recipe.resolved.toml").read_text()
    assert float(losses[1]) > float(losses[0])
    assert read_json(tmp_path / "boxes" / "run.json")["stages"][0]["name"] == "all"


def test_attention_is_never_compiled() -> None:
    with pytest.raises(UsageError, match="leave compile out"):
        recipe(train={"attend": "boxes", "compile": True})


def test_no_boxes_no_attention(tmp_path: Path) -> None:
    manifest = load(class_folders(tmp_path / "scans", per_class=16))
    with pytest.raises(UsageError, match="no training image has a box"):
        regions_to_attend(manifest, _cache(manifest, 112), np.arange(4))
    with pytest.raises(UsageError, match="no spatial layer"):
        Attention(_TwoSpots(), "", classes=2, positive=None, weight=1.0)
