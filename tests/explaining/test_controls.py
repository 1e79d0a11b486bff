"""Controls know the image or the boxes at most, never the model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.explaining.planted import SIZE, spot_model, spots
from tumorscope.core.errors import UsageError
from tumorscope.explaining.controls import (
    cascade,
    centre_prior,
    edges,
    mean_box,
    randomised,
    rank_correlation,
    static_controls,
)
from tumorscope.models.registry import build_model


def test_every_control_gives_one_map_an_image() -> None:
    rows = spots(3)
    found = static_controls(size_px=SIZE, train_boxes=rows.boxes)
    assert set(found) == {"uniform", "centre", "edges", "brightness", "mean-box"}
    for name, control in found.items():
        assert control.name == name
        heat = control.heat(rows.images)
        assert heat.shape == (3, SIZE, SIZE)
        assert heat.dtype == np.float32
        assert heat.min() >= 0
        assert heat.max() > 0
    assert "mean-box" not in static_controls(size_px=SIZE)
    assert "mean-box" not in static_controls(size_px=SIZE, train_boxes=[np.zeros((0, 4))])


@pytest.mark.parametrize("size", [31, 32])
def test_the_centre_prior_is_symmetric_with_half_of_its_heat_in_the_middle_quarter(size: int) -> None:
    heat = centre_prior(size)
    assert np.allclose(heat, heat[::-1])
    assert np.allclose(heat, heat.T)
    side = size // 2
    middle = slice(size // 4, size // 4 + side)
    assert heat[middle, middle].sum() / heat.sum() == pytest.approx(0.5, abs=0.06)


def test_the_mean_box_is_the_share_of_images_covered() -> None:
    boxes = [np.array([[0.0, 0, 2, 2], [1, 1, 3, 3]]), np.array([[0.0, 0, 1, 1]]), np.zeros((0, 4))]
    assert mean_box(boxes, size_px=4).tolist() == [[1, 0.5, 0, 0], [0.5, 0.5, 0.5, 0], [0, 0.5, 0.5, 0], [0] * 4]


def test_edges_are_where_brightness_changes() -> None:
    images = np.zeros((1, 1, 64, 64), dtype=np.uint8)
    images[:, :, :, 32:] = 200
    heat = edges(images)[0]
    assert set(np.unique(heat.argmax(axis=1))) <= {31, 32}
    assert heat[:, :20].max() == 0


@pytest.mark.parametrize("name", ["resnet18", "cnn_bn", "vit_tiny_patch16_224"])
def test_randomising_goes_from_the_head_down(name: str) -> None:
    torch.manual_seed(0)
    options: dict[str, str | int | float | bool] = {"depth": 2} if name.startswith("vit") else {}
    built = build_model(name, outputs=3, channels=1, size_px=32, options=options)
    with torch.no_grad():  # as training would, so that no value is at its start
        for value in built.module.state_dict().values():
            if value.is_floating_point():
                value.add_(torch.rand_like(value) * 0.1)
    before = {k: v.clone() for k, v in built.module.state_dict().items()}
    names = {k for k, _ in built.module.named_parameters()}
    for groups in (1, 2, len(built.groups)):
        after = randomised(built, groups=groups, seed=4).module.state_dict()
        changed = {k for k in names if not torch.equal(after[k], before[k])}
        assert changed == {n for group in built.groups[-groups:] for n in group}
        assert all(bool(torch.isfinite(v).all()) for v in after.values())
    means = [k for k in after if k.endswith("running_mean")]
    assert all(float(after[k].abs().max()) == 0 for k in means)
    assert all(torch.equal(v, before[k]) for k, v in built.module.state_dict().items())
    again = randomised(built, groups=len(built.groups), seed=4).module.state_dict()
    other = randomised(built, groups=len(built.groups), seed=5).module.state_dict()
    assert all(torch.equal(again[k], after[k]) for k in after)
    assert not all(torch.equal(other[k], after[k]) for k in after)
    with torch.no_grad():
        answer = randomised(built, groups=len(built.groups), seed=4).module.eval()(torch.randn(2, 1, 32, 32))
    assert bool(torch.isfinite(answer).all())
    assert float(answer.abs().max()) > 1e-3


def test_the_cascade_ends_with_everything() -> None:
    built = build_model("resnet18", outputs=2, channels=1, size_px=32)
    steps = cascade(built, points=4)
    assert steps[0] == 1
    assert steps[-1] == len(built.groups)
    assert list(steps) == sorted(set(steps))
    assert cascade(spot_model()) == (1, 2)
    for groups in (0, len(built.groups) + 1):
        with pytest.raises(UsageError, match="parameter groups to randomise"):
            randomised(built, groups=groups, seed=0)


def test_rank_correlation_is_spearmans() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 5, (3, 6, 6)).astype(np.float32) for _ in range(2))
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(first, second, strict=True)]
    assert rank_correlation(first, second) == pytest.approx(expected)
    assert rank_correlation(first, first**3) == pytest.approx([1, 1, 1])
    assert rank_correlation(first, np.ones_like(first)).tolist() == [0, 0, 0]
