"""Kept activations: the order, the views and the values of the images they stand for."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tumorscope.core.errors import ResourceError
from tumorscope.imaging.augment import AugmentSpec
from tumorscope.imaging.loader import BatchLoader, Normalisation
from tumorscope.models.freeze import apply_freeze
from tumorscope.models.registry import build_model
from tumorscope.models.trunk import CutNetwork, cut
from tumorscope.training import activations
from tumorscope.training.activations import keep_activations
from tumorscope.training.plan import MemoryFormat, Plan, Precision

IMAGES = np.random.default_rng(0).integers(0, 256, (11, 1, 32, 32)).astype(np.uint8)
TARGETS = np.arange(11) % 3
ROWS = np.array([9, 1, 4, 7, 0, 2, 10])


def _plan(precision: Precision = "fp32", memory_format: MemoryFormat = "contiguous") -> Plan:
    return Plan("cpu", precision, memory_format, 1, False, "")


def _cut(name: str = "resnet18", trainable: str = "last:1") -> CutNetwork:
    torch.manual_seed(0)
    built = build_model(name, outputs=3, channels=1, size_px=32)
    apply_freeze(built, trainable)
    halves = cut(built.module)
    assert isinstance(halves, CutNetwork)
    return halves


def _loader(*, augmented: bool = True, shuffle: bool = True) -> BatchLoader:
    return BatchLoader(
        IMAGES,
        TARGETS,
        rows=ROWS,
        batch_size=3,
        normalisation=Normalisation((0.5,), (0.5,)),
        augment=AugmentSpec(flip_horizontal=0.5, brightness=0.2) if augmented else None,
        shuffle=shuffle,
        seed=4,
    )


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_each_batch_is_the_trunk_of_the_same_images(memory_format: MemoryFormat) -> None:
    halves, loader = _cut(), _loader(augmented=False)
    kept = keep_activations(halves, loader, views=1, plan=_plan(memory_format=memory_format))
    assert len(kept) == len(loader)
    halves.network.eval()
    for epoch in (0, 5):
        kept.epoch = loader.epoch = epoch
        for (images, targets, rows), (found, found_targets, found_rows) in zip(loader, kept, strict=True):
            assert torch.equal(rows, found_rows)
            assert torch.equal(targets, found_targets)
            with torch.no_grad():
                assert torch.allclose(halves.trunk(images), found, atol=1e-5)
            assert found.is_contiguous(
                memory_format=torch.channels_last if memory_format == "channels_last" else torch.contiguous_format
            )


def test_the_first_view_is_plain_and_the_others_differ() -> None:
    halves, loader = _cut(), _loader()
    kept = keep_activations(halves, loader, views=3, plan=_plan())
    plain = keep_activations(halves, _loader(augmented=False), views=1, plan=_plan())
    assert kept.views.shape[:2] == (3, len(ROWS))
    assert torch.equal(kept.views[0], plain.views[0])
    assert not torch.equal(kept.views[1], kept.views[0])
    assert not torch.equal(kept.views[1], kept.views[2])
    again = keep_activations(halves, loader, views=3, plan=_plan())
    assert torch.equal(kept.views, again.views)


def test_epochs_go_round_the_views() -> None:
    kept = keep_activations(_cut(trainable="head"), _loader(), views=2, plan=_plan())
    kept.shuffle = False
    seen = []
    for kept.epoch in range(4):
        seen.append(torch.cat([batch for batch, _, _ in kept]))
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    assert not torch.equal(seen[0], seen[1])


def test_bf16_is_kept_as_bf16() -> None:
    kept = keep_activations(_cut(), _loader(), views=1, plan=_plan("bf16", "channels_last"))
    assert kept.views.dtype == torch.bfloat16


def test_many_activations_lie_in_a_file_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUMORSCOPE_CACHE", str(tmp_path))
    halves, loader = _cut(), _loader()
    expected = keep_activations(halves, loader, views=2, plan=_plan("bf16"))
    monkeypatch.setattr(activations, "MEMORY_BYTES", 10)
    kept = keep_activations(halves, loader, views=2, plan=_plan("bf16"))
    assert torch.equal(kept.views, expected.views)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_error_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUMORSCOPE_CACHE", str(tmp_path))
    monkeypatch.setattr(activations, "MEMORY_BYTES", 10)
    usage = shutil.disk_usage(tmp_path)._replace(free=11)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ResourceError, match="GB are free") as caught:
        keep_activations(_cut(), _loader(), views=2, plan=_plan())
    assert "views" in caught.value.fix


def test_progress_counts_images_of_all_views() -> None:
    calls: list[tuple[int, int]] = []
    keep_activations(_cut(), _loader(), views=2, plan=_plan(), progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (14, 14)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
