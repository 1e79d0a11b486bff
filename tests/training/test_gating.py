"""The gate of a run: fitted to training images, set on validation images, and blind to test."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.scans import class_folders
from tumorscope.bundle.gate import Described
from tumorscope.core.types import SplitName
from tumorscope.data.load import load
from tumorscope.data.manifest import Manifest
from tumorscope.data.split import Split
from tumorscope.imaging.cache import PixelCache, open_cache
from tumorscope.imaging.preprocess import Preprocessing
from tumorscope.training import gating

PARTS: tuple[SplitName, ...] = ("train", "train", "val", "test")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, Split, PixelCache]:
    root = class_folders(tmp_path_factory.mktemp("gating") / "scans", per_class=80)
    tinted = root / "left" / "l000.png"
    Image.merge("RGB", [Image.open(tinted), *[Image.new("L", (32, 32))] * 2]).save(tinted)
    manifest = load(str(root))
    split = Split(
        assignment={r.path: PARTS[i % 4] for i, r in enumerate(manifest.records)},
        policy="grouped",
        seed=0,
        data_sha256=manifest.sha256,
        groups={r.path: i for i, r in enumerate(manifest.records)},
    )
    cache = open_cache(
        [r.pixels_sha256 for r in manifest.records], lambda: manifest.pixels(range(len(manifest))), Preprocessing(32, 1)
    )
    return manifest, split, cache


def test_test_images_are_never_looked_at(
    data: tuple[Manifest, Split, PixelCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, split, cache = data
    seen: list[NDArray[np.int64]] = []
    honest = gating.describe_rows

    def watched(manifest_: Manifest, cache_: PixelCache, rows: NDArray[np.int64]) -> Described:
        seen.append(rows)
        return honest(manifest_, cache_, rows)

    monkeypatch.setattr(gating, "describe_rows", watched)
    gate = gating.input_gate(manifest, split, cache)
    assert gate is not None
    assert [rows.tolist() for rows in seen] == [split.rows(manifest, part).tolist() for part in ("train", "val")]
    assert gate.calibration_images == 60 + 120
    assert gate.cross_fitted == 120
    again = gating.input_gate(manifest, split, cache)
    assert again is not None
    assert again.summary() == gate.summary()


def test_large_parts_are_sampled(data: tuple[Manifest, Split, PixelCache], monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, split, cache = data
    monkeypatch.setattr(gating, "IMAGES", 75)
    gate = gating.input_gate(manifest, split, cache)
    assert gate is not None
    assert 0 < gate.cross_fitted <= 75


def test_colour_is_judged_on_the_picture_as_it_came(data: tuple[Manifest, Split, PixelCache]) -> None:
    manifest, _, cache = data
    rows = np.arange(4)
    found = gating.describe_rows(manifest, cache, rows)
    coloured = [not r.gray for r in manifest.records[:4]]
    assert sum(coloured) == 1
    assert (found.coloured > 0.5).tolist() == coloured
