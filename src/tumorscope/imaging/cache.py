"""Decode once: preprocessed images as one memory-mapped uint8 array, keyed by content and preprocessing.

In: content hashes and a way to get the pixels. Out: a read-only (N, C, S, S) array that several processes may
share and that may be larger than memory. A stale key gives another folder; a damaged file is noticed by its
checksums and rebuilt. One process builds while others wait for it; what a killed one left is removed by the next.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from tumorscope.core.errors import ResourceError
from tumorscope.core.files import cache_root, read_json, sha256_value, write_json
from tumorscope.core.types import Pixels
from tumorscope.imaging.pages import release
from tumorscope.imaging.preprocess import Geometry, Preprocessing, preprocess

BLOCK_IMAGES = 256
"""Images per checksum block."""

GEOMETRY_FIELDS = len(fields(Geometry))

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PixelCache:
    """Preprocessed images in manifest order.

    Attributes:
        images: (N, C, S, S) uint8, memory-mapped, read-only.
        geometries: (N, 6) float64, the fields of each image's `Geometry` in their order.
        preprocessing: What was applied.
        folder: Where it lies.
        built: True if this call decoded the images, False if they were there.
    """

    images: NDArray[np.uint8]
    geometries: NDArray[np.float64]
    preprocessing: Preprocessing
    folder: Path
    built: bool

    def __len__(self) -> int:
        return len(self.images)

    def geometry(self, row: int) -> Geometry:
        """Where the input pixels of image `row` come from."""
        scale_x, scale_y, offset_x, offset_y, width, height = self.geometries[row].tolist()
        return Geometry(scale_x, scale_y, offset_x, offset_y, int(width), int(height))

    def histograms(self, bins: int = 32) -> NDArray[np.float64]:
        """(N, bins) share of pixels per gray level bin, channels averaged; the shortcut baseline's features."""
        table = np.empty((len(self.images), bins))
        for row, image in enumerate(self.images):
            counts = np.bincount(image.reshape(-1) >> (8 - bins.bit_length() + 1), minlength=bins)
            table[row] = counts[:bins] / image.size
        return table


def _checksums(images: NDArray[np.uint8]) -> list[int]:
    sums = []
    for start in range(0, len(images), BLOCK_IMAGES):
        sums.append(zlib.crc32(images[start : start + BLOCK_IMAGES].data))
        release(images)
    return sums


def _map(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.memmap(path, dtype=np.uint8, mode="r", shape=shape)


def _open_existing(folder: Path, preprocessing: Preprocessing, shape: tuple[int, ...]) -> PixelCache | None:
    """The stored arrays if they are whole, else None."""
    try:
        meta = read_json(folder / "meta.json")
        if tuple(meta["shape"]) != shape:
            return None
        images = _map(folder / "images.u8", shape)
        geometries = np.fromfile(folder / "geometries.f64", dtype="<f8").reshape(shape[0], GEOMETRY_FIELDS)
        whole = _checksums(images) == meta["crc32"] and zlib.crc32(geometries.data) == meta["geometries_crc32"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return PixelCache(images, geometries, preprocessing, folder, built=False) if whole else None


def open_cache(
    keys: Sequence[str],
    pixels: Callable[[], Iterable[Pixels]],
    preprocessing: Preprocessing,
    *,
    root: Path | None = None,
    progress: Progress | None = None,
) -> PixelCache:
    """Open the cache for these images, decoding them only if it is missing or damaged.

    Args:
        keys: Content hash of each image, in order.
        pixels: Called only if needed; yields (H, W[, 3]) uint8 in the order of `keys`.
        preprocessing: What to apply.
        root: Folder for caches; the user's cache folder by default.
        progress: Called with (done, total) while decoding.

    Raises:
        ResourceError: If the disk cannot hold the array.
    """
    side, channels = preprocessing.size_px, preprocessing.channels
    shape = (len(keys), channels, side, side)
    name = sha256_value({"keys": list(keys), "preprocessing": preprocessing.sha256})[:24]
    parent = (root or cache_root()) / "pixels"
    folder = parent / name

    def opened() -> PixelCache | None:
        return _open_existing(folder, preprocessing, shape) if folder.is_dir() else None

    if (existing := opened()) is not None:
        return existing
    parent.mkdir(parents=True, exist_ok=True)
    locks = parent.with_name("locks")
    locks.mkdir(exist_ok=True)
    # the lock of a process that was killed is free at once
    with FileLock(locks / f"{name}.lock"):
        if (existing := opened()) is not None:
            return existing
        for left in parent.glob(f".{name}.*"):
            shutil.rmtree(left, ignore_errors=True)
        needed = int(np.prod(shape))
        free = shutil.disk_usage(parent).free
        if needed > free:
            raise ResourceError(
                f"the decoded images need {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
                where=parent,
                fix="free the space, or set TUMORSCOPE_CACHE to a folder on a larger disk",
            )
        geometries = _build(folder, keys, pixels, preprocessing, progress)
    return PixelCache(_map(folder / "images.u8", shape), geometries, preprocessing, folder, built=True)


def _build(
    folder: Path,
    keys: Sequence[str],
    pixels: Callable[[], Iterable[Pixels]],
    preprocessing: Preprocessing,
    progress: Progress | None,
) -> NDArray[np.float64]:
    """Decode everything into a folder beside `folder` and move it there; the geometries."""
    shape = (len(keys), preprocessing.channels, preprocessing.size_px, preprocessing.size_px)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        checksums: list[int] = []
        geometries = np.empty((len(keys), GEOMETRY_FIELDS))
        with (temporary / "images.u8").open("wb") as handle:
            block: list[NDArray[np.uint8]] = []
            for done, image in enumerate(pixels(), start=1):
                prepared, geometry = preprocess(image, preprocessing)
                block.append(prepared)
                geometries[done - 1] = astuple(geometry)
                if len(block) == BLOCK_IMAGES or done == len(keys):
                    data = np.stack(block).tobytes()
                    checksums.append(zlib.crc32(data))
                    handle.write(data)
                    block.clear()
                if progress is not None:
                    progress(done, len(keys))
            handle.flush()
            os.fsync(handle.fileno())
        geometries.astype("<f8").tofile(temporary / "geometries.f64")
        sums = {"crc32": checksums, "geometries_crc32": zlib.crc32(geometries.data)}
        write_json(temporary / "meta.json", {"shape": shape, **sums})
        _publish(temporary, folder, preprocessing, shape)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return geometries


def _publish(temporary: Path, folder: Path, preprocessing: Preprocessing, shape: tuple[int, ...]) -> None:
    """Move the finished folder into place; a whole one that another process put there first stays."""
    for _ in range(2):
        try:
            temporary.rename(folder)
            return
        except OSError:
            if _open_existing(folder, preprocessing, shape) is not None:
                return
            shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)
