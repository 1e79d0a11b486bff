"""The copies of one data set: found once, kept under the cache folder, and turned into groups that never cross.

In: a Manifest. Out: `Survey`, the pairs and the thumbnails they were found with. A second survey of the same
images reads the first one's answer. A stopped one goes on: thumbnails and compared blocks are kept as they are made.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.files import atomic_path, cache_root, save_npz, sha256_value
from tumorscope.data.copies.descriptors import SIDE, Progress, Thumbs, describe
from tumorscope.data.copies.find import CopyItems, find_copies
from tumorscope.data.copies.groups import COPY_KINDS, CopyKind, Pair, group
from tumorscope.data.copies.store import ThumbStore
from tumorscope.data.manifest import Manifest

ENGINE_VERSION = 2
"""Raised whenever the same thumbnails may give other pairs; part of the key of what is kept."""
KINDS: tuple[CopyKind, ...] = (*COPY_KINDS, "patient-likely")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Survey:
    """What was found.

    Attributes:
        thumbs: (N, 64, 64) uint8, one a record of the manifest, in its order.
        pairs: Pairs of positions in the manifest's records, sorted.
        reused: True if the pairs were read from an earlier survey.
    """

    thumbs: Thumbs = field(repr=False)
    pairs: tuple[Pair, ...] = field(repr=False)
    reused: bool = False

    def __len__(self) -> int:
        return len(self.thumbs)

    def groups(self, kinds: Collection[CopyKind] = COPY_KINDS) -> NDArray[np.int64]:
        """(N,) int64 group of every image: joined by a chain of pairs of `kinds`, numbered by first image."""
        return group(len(self), self.pairs, kinds=kinds)

    @cached_property
    def copies(self) -> NDArray[np.int64]:
        """(N,) int64 groups of copies: exact, equal pixels and near."""
        return self.groups()


def survey(*manifests: Manifest, threads: int = 0, progress: Progress | None = None) -> Survey:
    """Find the copies among all images of `manifests`; positions run through them in their order.

    Args:
        manifests: The data, one set or several.
        threads: Threads of the comparison; 0 for one a CPU. The answer does not depend on it.
        progress: Called as `progress(stage, done, total)` with stages "describe", "search" and "verify".
    """
    hashes = [r.sha256 for manifest in manifests for r in manifest.records]
    pixels = [r.pixels_sha256 for manifest in manifests for r in manifest.records]
    thumbs = np.concatenate([thumbnails(manifest, progress=progress) for manifest in manifests])
    key = sha256_value({"files": hashes, "pixels": pixels, "engine": ENGINE_VERSION})[:32]
    path = cache_root() / "copies" / f"{key}.npz"
    kept = _read(path, len(hashes))
    if kept is not None:
        return Survey(thumbs, kept, reused=True)
    items = CopyItems(thumbs, hashes, pixels)
    keep = path.with_suffix(".parts")
    pairs = tuple(find_copies(items, threads=threads or os.cpu_count() or 1, progress=progress, keep=keep))
    _write(path, pairs)
    return Survey(thumbs, pairs)


def thumbnails(manifest: Manifest, *, progress: Progress | None = None) -> Thumbs:
    """(N, 64, 64) uint8 thumbnails of the records; those not kept from reading are made and kept now."""
    thumbs = np.zeros((len(manifest), SIDE, SIDE), np.uint8)
    store = ThumbStore(manifest.root)
    pixels = [r.pixels_sha256 for r in manifest.records]
    missing = np.flatnonzero(~store.find(pixels, thumbs)).tolist()
    for done, (i, image) in enumerate(zip(missing, manifest.pixels(missing), strict=True), start=1):
        thumbs[i] = describe(image)
        store.add(pixels[i], thumbs[i])
        if progress is not None and (done % 64 == 0 or done == len(missing)):
            progress("describe", done, len(missing))
    store.flush()
    return thumbs


def _write(path: Path, pairs: tuple[Pair, ...]) -> None:
    columns: dict[str, NDArray[Any]] = {
        "ends": np.array([(p.a, p.b) for p in pairs], np.int64).reshape(-1, 2),
        "kind": np.array([KINDS.index(p.kind) for p in pairs], np.int8),
        "score": np.array([p.score for p in pairs], np.float64),
        "mirrored": np.array([p.mirrored for p in pairs], np.bool_),
        "rotation": np.array([p.rotation_deg for p in pairs], np.float64),
    }
    try:
        with atomic_path(path) as temporary, temporary.open("wb") as handle:
            save_npz(handle, **columns)
    except OSError as error:
        _log.info("copies %s not kept: %s", path, error)


def _read(path: Path, n: int) -> tuple[Pair, ...] | None:
    """Pairs of an earlier survey; None if there is none, or if its file is damaged."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            ends, kind = stored["ends"], stored["kind"]
            rows = zip(
                ends.tolist(),
                kind.tolist(),
                stored["score"].tolist(),
                stored["mirrored"].tolist(),
                stored["rotation"].tolist(),
                strict=True,
            )
            if len(ends) and (ends.min() < 0 or ends.max() >= n):
                return None
            return tuple(Pair(a, b, cast(CopyKind, KINDS[k]), s, m, r) for (a, b), k, s, m, r in rows)
    except FileNotFoundError:
        return None
    except Exception as error:
        _log.info("copies %s dropped: %s", path, error)
        return None
