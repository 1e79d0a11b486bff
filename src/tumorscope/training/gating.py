"""The input gate of a run, fitted to its training images with limits from its validation images.

In: the data, its split and the decoded images. Out: a `Gate` for the bundle, or None where there are too few images.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tumorscope.bundle.gate import Described, Gate, described, fit_gate
from tumorscope.core.types import Pixels
from tumorscope.data.manifest import Manifest
from tumorscope.data.split import Split
from tumorscope.imaging.cache import PixelCache

IMAGES = 3000
"""Images of a part that are looked at: enough for the covariance of the gate's features."""


def input_gate(manifest: Manifest, split: Split, cache: PixelCache) -> Gate | None:
    """The gate for pictures like the training part of `split`.

    Args:
        manifest: The data.
        split: Its training and validation parts; copies are in one group.
        cache: Preprocessed images of all of `manifest`.
    """
    rng = np.random.default_rng(split.seed)
    rows = {part: np.sort(rng.permutation(split.rows(manifest, part))[:IMAGES]) for part in ("train", "val")}
    paths = [manifest.records[i].path for i in rows["train"].tolist()]
    groups = np.array([split.groups.get(path, -1 - i) for i, path in enumerate(paths)], dtype=np.int64)
    train, validation = (describe_rows(manifest, cache, rows[part]) for part in ("train", "val"))
    return fit_gate(train, validation, classes=manifest.classes, groups=groups, seed=split.seed)


def describe_rows(manifest: Manifest, cache: PixelCache, rows: NDArray[np.int64]) -> Described:
    """Descriptors of the images at `rows`; only those with colour are decoded again."""
    coloured = [i for i in rows.tolist() if not manifest.records[i].gray]
    pixels: dict[int, Pixels] = dict(zip(coloured, manifest.pixels(coloured), strict=True))
    return described(((pixels.get(i), np.array(cache.images[i])) for i in rows.tolist()), manifest.targets[rows])
