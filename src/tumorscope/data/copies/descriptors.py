"""One small standardised picture per image: all that is kept of it for the search and the verification.

In: decoded pixels. Out: a 64 x 64 gray thumbnail, 4,096 bytes whatever the size of the image. 100,000 images
take 410 MB and may lie in a memory-mapped file; the search vectors are made again from the thumbnails.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.errors import DataError
from tumorscope.core.types import Pixels

Thumbs: TypeAlias = NDArray[np.uint8]
"""(N, 64, 64) uint8 gray thumbnails."""

SIDE = 64
"""Side of a thumbnail in pixels: 3.5 pixels of a 224 px image in one, so that JPEG noise averages out."""
Progress: TypeAlias = Callable[[str, int, int], None]
"""Called as `progress(stage, done, total)`."""


def describe(pixels: Pixels) -> Pixels:
    """The (64, 64) uint8 thumbnail of one image, (H, W) gray or (H, W, 3) RGB uint8 of any size.

    Colour becomes luma; each axis is resized on its own with an antialiasing filter, so the aspect ratio does
    not matter.

    Raises:
        DataError: if the array is not an image of 8-bit pixels.
    """
    from PIL import Image

    rgb = pixels.ndim == 3 and pixels.shape[-1] == 3
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or rgb) or 0 in pixels.shape:
        raise DataError(
            f"an array of {pixels.dtype} with shape {pixels.shape}",
            expected="uint8 pixels of shape (H, W) or (H, W, 3)",
            fix="decode the image to 8-bit gray or RGB first",
        )
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if rgb:
        image = image.convert("L")
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def _in_order(images: Iterable[Pixels], threads: int) -> Iterator[Pixels]:
    if threads <= 1:
        yield from map(describe, images)
        return
    waiting: deque[Future[Pixels]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for image in images:
            waiting.append(pool.submit(describe, image))
            if len(waiting) > 4 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def describe_many(
    images: Iterable[Pixels],
    *,
    count: int,
    out: Thumbs | None = None,
    start: int = 0,
    threads: int = 1,
    progress: Progress | None = None,
) -> Thumbs:
    """(N, 64, 64) uint8 thumbnails of `images`, in their order.

    Images are taken one at a time; at most `4 * threads` wait in memory. To carry on after a stop, pass the
    memory-mapped array of the first attempt as `out`, the number of finished rows as `start`, and the images
    from there on.

    Args:
        images: Decoded images, uint8.
        count: N, the number of rows in all.
        out: Array to fill, such as `numpy.lib.format.open_memmap(..., shape=(N, 64, 64), dtype="uint8")`.
        start: Row of the first of `images`.
        threads: Resizing threads.
        progress: Called with ("describe", rows done, N).

    Raises:
        DataError: if there are more or fewer images than `count - start`, or `out` has another shape.
    """
    shape = (count, SIDE, SIDE)
    thumbs = np.zeros(shape, np.uint8) if out is None else out
    if thumbs.shape != shape or thumbs.dtype != np.uint8:
        raise DataError(
            f"an output array of {thumbs.dtype} with shape {thumbs.shape}",
            expected=f"uint8 with shape {shape}",
            fix="make the array for this number of images",
        )
    row = start
    for thumb in _in_order(images, threads):
        if row >= count:
            raise DataError(
                f"more than {count - start} images",
                expected=f"{count - start} images for rows {start} to {count - 1}",
                fix="pass the number of images as `count`",
            )
        thumbs[row] = thumb
        row += 1
        if progress is not None and (row % 256 == 0 or row == count):
            progress("describe", row, count)
    if row != count:
        raise DataError(
            f"{row - start} images",
            expected=f"{count - start} images for rows {start} to {count - 1}",
            fix="pass the number of images as `count`",
        )
    return thumbs
