"""Whether the answer depends on what is said to matter: pixels taken away or put back, and boxes cut out.

In: (n, C, S, S) uint8 images with heat or box masks. Out: changed images of the same form for the caller's
predictor, or curves of its probabilities. A change makes pictures unlike any the model has seen; so each has a
counterpart that changes as much elsewhere: another map's order, or the same boxes moved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.types import Probs, Targets
from tumorscope.evaluation.resampling import Floats
from tumorscope.explaining.asking import Progress
from tumorscope.imaging.boxes import Boxes, Mask, box_mask
from tumorscope.imaging.preprocess import FOREGROUND_LEVEL

Images = NDArray[np.uint8]

STEPS = 20
"""Parts of the image that are changed one after another, 5% each."""
BLUR_SIGMA = 1 / 16
"""Deviation of the blur that insertion starts from, as a share of the side: shapes are gone, brightness stays."""
RING_SHARE = 1 / 32
"""Width of the ring round a box whose mean fills it, as a share of the side."""
RANDOM_CELLS = 7
"""Cells a side of a random map: common networks end in 7 x 7."""
FOREGROUND_KEPT = 0.9
"""Share of the boxes' foreground that a place they are moved to must hold."""
BORDER_SHARE = 0.1
"""Width of the border that `only_border` keeps, as a share of the side."""


@dataclass(frozen=True, slots=True)
class Curves:
    """Probability of the explained class while pixels go or come back, hottest first (Petsiuk et al. 2018).

    Attributes:
        shares: (T + 1,) share of pixels changed, 0 to 1.
        deletion: (n, T + 1) probability with that share deleted; a low area means that the hot pixels mattered.
        insertion: (n, T + 1) probability with that share put back; a high area means that they suffice.
    """

    shares: Floats
    deletion: Floats
    insertion: Floats

    @property
    def deletion_area(self) -> Floats:
        """(n,) area under deletion, 0..1."""
        return np.asarray(np.trapezoid(self.deletion, self.shares, axis=1), dtype=np.float64)

    @property
    def insertion_area(self) -> Floats:
        """(n,) area under insertion, 0..1."""
        return np.asarray(np.trapezoid(self.insertion, self.shares, axis=1), dtype=np.float64)


def curves(
    images: Images,
    heats: NDArray[np.float32],
    *,
    targets: Targets,
    predict: Callable[[Images], Probs],
    steps: int = STEPS,
    seed: int = 0,
    progress: Progress | None = None,
) -> Curves:
    """Deletion and insertion curves, one image's 2 (T + 1) versions in one call of the predictor.

    Deleted pixels take the image's mean; insertion starts from the blurred image.

    Args:
        images: (n, C, S, S) uint8.
        heats: (n, S, S) float32.
        targets: (n,) class whose probability is followed.
        predict: From (b, C, S, S) uint8 to (b, classes) probabilities.
        steps: T.
        seed: Order of equally hot pixels, by patches, so that a uniform map is patches in random order.
        progress: Called with (done, total) images.
    """
    rng = np.random.default_rng(seed)
    shares = np.linspace(0, 1, steps + 1)
    found = np.zeros((2, len(images), steps + 1))
    for i, (image, heat) in enumerate(zip(images, heats, strict=True)):
        order = np.lexsort((patches(1, heat.shape[-1], rng).ravel(), -heat.ravel()))
        rank = np.empty(heat.size, dtype=np.int64)
        rank[order] = np.arange(heat.size)
        changed = rank.reshape(heat.shape) < np.round(shares * heat.size)[:, None, None]
        deleted = np.where(changed[:, None], _mean(image), image)
        inserted = np.where(changed[:, None], image, blurred(image))
        probs = predict(np.concatenate([deleted, inserted]).astype(np.uint8))[:, targets[i]]
        found[:, i] = probs.reshape(2, -1)
        if progress is not None:
            progress(i + 1, len(images))
    return Curves(shares, found[0], found[1])


def patches(n: int, size_px: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(n, S, S) smooth random maps, as coarse as those of common networks.

    Single pixels in random order would be no control: they break every texture at once, and the answer with it.
    """
    from scipy.ndimage import zoom

    coarse = rng.random((n, RANDOM_CELLS, RANDOM_CELLS))
    maps = zoom(coarse, (1, size_px / RANDOM_CELLS, size_px / RANDOM_CELLS), order=1)
    return np.asarray(maps, dtype=np.float32)


def blurred(image: Images) -> Images:
    """(C, S, S) image without shapes."""
    from scipy.ndimage import gaussian_filter

    sigma = BLUR_SIGMA * image.shape[-1]
    soft = gaussian_filter(image.astype(np.float32), sigma=(0, sigma, sigma))
    return np.asarray(soft.round(), dtype=np.uint8)


def _mean(image: Images, where: Mask | None = None) -> NDArray[np.uint8]:
    """(C, 1, 1) mean of each channel, of the pixels in `where`; of all where it is empty."""
    chosen = image.reshape(len(image), -1) if where is None or not where.any() else image[:, where]
    return np.asarray(chosen.mean(axis=1, dtype=np.float64).round(), dtype=np.uint8)[:, None, None]


def without_boxes(images: Images, masks: Mask) -> Images:
    """Images with the masked pixels at the mean of a ring round them: no brightness left, but the box's outline."""
    return np.stack([np.where(m, _mean(x, ring(m)), x) for x, m in zip(images, masks, strict=True)])


def only_boxes(images: Images, masks: Mask) -> Images:
    """Images with all but the masked pixels at the mean of what is taken away."""
    return np.stack([np.where(m, x, _mean(x, ~m)) for x, m in zip(images, masks, strict=True)])


def only_border(images: Images, *, share: float = BORDER_SHARE) -> Images:
    """Images with all but a frame of `share` of the side at the frame's mean: what the margin alone gives away."""
    side = images.shape[-1]
    width = max(1, round(share * side))
    frame = np.ones((side, side), dtype=bool)
    frame[width : side - width, width : side - width] = False
    return np.stack([np.where(frame, x, _mean(x, frame)) for x in images])


def ring(mask: Mask) -> Mask:
    """(S, S) bool: pixels just outside `mask`, within `RING_SHARE` of the side."""
    from scipy.ndimage import binary_dilation

    width = max(1, round(RING_SHARE * mask.shape[-1]))
    grown = binary_dilation(mask, structure=np.ones((3, 3), dtype=bool), iterations=width)
    return np.asarray(grown & ~mask, dtype=bool)


def moved(
    boxes: Sequence[Boxes], images: Images, *, rng: np.random.Generator, tries: int = 200
) -> tuple[Mask, NDArray[np.bool_]]:
    """Masks of the same boxes moved to a random place on the scan: the control for `without_boxes`.

    All boxes of an image move together, by whole pixels. Of `tries` places drawn those count that hold at least 0.9
    of the share of foreground (above the level that trimming knows as background) that the boxes hold at home, so that
    no patch of black is painted black; among them the one that shares least with home is taken. Where none does, the
    place with most foreground is taken, and the image is told as unfit for a comparison, as is one where the moved
    boxes still share more than half with home.

    Args:
        boxes: (k, 4) boxes of each image on the input.
        images: (n, C, S, S) uint8.
        rng: Where the places come from.
        tries: Places drawn for each image.

    Returns:
        (n, S, S) masks; and (n,) bool, True where the place is fit.
    """
    side = images.shape[-1]
    masks, fit = np.zeros((len(boxes), side, side), dtype=bool), np.zeros(len(boxes), dtype=bool)
    for i, one in enumerate(boxes):
        if not len(one):
            continue
        home = box_mask(one, width_px=side, height_px=side)
        scan = images[i].mean(axis=0) > FOREGROUND_LEVEL
        rows, columns = np.nonzero(home)
        down = rng.integers(-rows.min(), side - rows.max(), tries)
        right = rng.integers(-columns.min(), side - columns.max(), tries)
        places = [(rows + d, columns + r) for d, r in zip(down, right, strict=True)]
        covered = np.array([scan[place].mean() for place in places])
        shared = np.array([home[place].mean() for place in places])
        good = covered >= FOREGROUND_KEPT * scan[home].mean()
        best = int(np.argmin(np.where(good, shared, np.inf)) if good.any() else np.argmax(covered))
        masks[i][places[best]] = True
        fit[i] = bool(good[best] and shared[best] <= 0.5)
    return masks, fit
