"""Which images of other data a run has seen in training: by hash, or by picture where its own data is at hand.

In: a run folder, other data, and the data that the run was trained on. Out: one truth value an image. A run folder
keeps the hashes of its images and no pictures, so that near copies are found only with the data itself.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.errors import DataError
from tumorscope.core.files import read_json
from tumorscope.data.copies.groups import CopyKind
from tumorscope.data.copies.survey import Survey, survey
from tumorscope.data.image_list import seen_in_training
from tumorscope.data.manifest import Manifest
from tumorscope.data.split import load_split


def same_in_training(run: Path, manifest: Manifest) -> NDArray[np.bool_]:
    """(N,) whether the run's train or val part holds the same file, or the same pixels in another file."""
    files, pixels = seen_in_training(run)
    return np.array([r.sha256 in files or r.pixels_sha256 in pixels for r in manifest.records], dtype=bool)


def copies_of_training(
    run: Path, manifest: Manifest, trained_on: Manifest, *, kinds: Collection[CopyKind]
) -> NDArray[np.bool_]:
    """(N,) whether pairs of `kinds` join an image to one of the run's train or val part.

    Args:
        run: Run folder.
        manifest: Other data.
        trained_on: The data that the run was trained on.
        kinds: What counts as a pair.

    Raises:
        DataError: If `trained_on` is not that data.
    """
    asked = read_json(run / "run.json")["hashes"]["data"]
    if trained_on.sha256 != asked:
        raise DataError(
            f"the run was not trained on this data: {trained_on.sha256[:12]}",
            expected=f"data {asked[:12]}",
            where=trained_on.root,
            fix="give --trained-on the data folder that the run's `train` command names",
        )
    split = load_split(run / "split.json", trained_on)
    joint: Survey = survey(manifest, trained_on)
    groups, n = joint.groups(kinds), len(manifest)
    learned = np.concatenate([split.rows(trained_on, part) for part in ("train", "val")])
    found: NDArray[np.bool_] = np.isin(groups[:n], groups[n + learned])
    return found
