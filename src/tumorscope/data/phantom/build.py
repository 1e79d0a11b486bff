"""The whole set in memory: patients, splits, images, boxes, and the faults that are planted on purpose.

Every patient has a random stream of its own: the first patients of a larger set are those of a smaller one.
Planted faults come last and change copies, labels or corners, never the anatomy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.types import Box, Pixels, SplitName
from tumorscope.data.phantom.anatomy import Head, draw_head, paint
from tumorscope.data.phantom.fields import Array
from tumorscope.data.phantom.lesions import Lesion, displace, draw_lesion, paint_lesion
from tumorscope.data.phantom.scanner import (
    NORMAL_AXIS,
    Scanner,
    acquire,
    draw_scanner,
    offset_through,
    slice_points,
)
from tumorscope.data.phantom.spec import CLASSES, SPLIT_CYCLE, PhantomSpec

REACH = 0.5
"""Slices lie within this share of the lesion's half extent, so that each shows it."""
LEAST_SHARE = 0.0012
"""Smallest share of the picture that a lesion covers in any slice (20 pixels of 128 x 128)."""
_PLANT_STREAM = 2**31


@dataclass(frozen=True)
class Pair:
    """A test image that also stands in training. `kind` is "byte-copy" or "mirrored"."""

    test: str
    train: str
    kind: str


@dataclass(frozen=True)
class FlippedLabel:
    """A training image whose label was replaced."""

    path: str
    true: str
    given: str


@dataclass(frozen=True)
class Truth:
    """Everything that was planted.

    Attributes:
        pairs: Copies of test images in training.
        flipped: Wrong labels in training.
        shortcut_class: The class that carries a corner mark, or None.
        shortcut_paths: Every image with the mark.
    """

    pairs: tuple[Pair, ...] = ()
    flipped: tuple[FlippedLabel, ...] = ()
    shortcut_class: str | None = None
    shortcut_paths: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form, as written to `truth.json`."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class PhantomImage:
    """One image and what is known about it.

    Attributes:
        path: File it is written to, relative.
        pixels: (S, S) uint8. A ".jpg" path is written as JPEG and decodes to nearly these.
        mask: (S, S) bool, the visible tumour without its oedema; all False for "notumor".
        label: Class as given to the user: wrong where it was flipped.
        split: "train", "val" or "test".
        patient: Identifier; a planted copy has one of its own, as leaked files have in real sets.
        boxes: Rectangle round the mask, or none.
    """

    path: str
    pixels: Pixels
    mask: NDArray[np.bool_]
    label: str
    split: SplitName
    patient: str
    boxes: tuple[Box, ...]


@dataclass(frozen=True, eq=False)
class PhantomSet:
    """A generated data set. The tuples and lists all have one entry for each image, in path order."""

    spec: PhantomSpec
    items: tuple[PhantomImage, ...]
    truth: Truth

    @property
    def images(self) -> list[Pixels]:
        """(S, S) uint8 each."""
        return [i.pixels for i in self.items]

    @property
    def masks(self) -> list[NDArray[np.bool_]]:
        """(S, S) bool each: the visible tumour."""
        return [i.mask for i in self.items]

    @property
    def paths(self) -> tuple[str, ...]:
        """Relative file names."""
        return tuple(i.path for i in self.items)

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names as given."""
        return tuple(i.label for i in self.items)

    @property
    def splits(self) -> tuple[SplitName, ...]:
        """Split names."""
        return tuple(i.split for i in self.items)

    @property
    def patients(self) -> tuple[str, ...]:
        """Patient identifiers."""
        return tuple(i.patient for i in self.items)

    @property
    def boxes(self) -> tuple[tuple[Box, ...], ...]:
        """Rectangles round the tumour, in relative coordinates."""
        return tuple(i.boxes for i in self.items)


def generate(spec: PhantomSpec, *, progress: Callable[[int, int], None] | None = None) -> PhantomSet:
    """The data set of `spec`, about 20 ms for each 128-pixel image on one core.

    Args:
        spec: What to generate.
        progress: Called with (patients done, patients in all).

    Returns:
        The same arrays for the same spec, on the same machine and library versions.
    """
    items: list[PhantomImage] = []
    for patient in range(spec.patients):
        items += _patient(spec, patient)
        if progress is not None:
            progress(patient + 1, spec.patients)
    return _plant(spec, items)


def _patient(spec: PhantomSpec, index: int) -> list[PhantomImage]:
    rng = np.random.default_rng(np.random.SeedSequence(spec.seed, spawn_key=(index,)))
    label = CLASSES[index % len(CLASSES)]
    split = SPLIT_CYCLE[index // len(CLASSES) % len(SPLIT_CYCLE)]
    head, lesion, scanner = draw_head(rng), draw_lesion(rng, label=label), draw_scanner(rng)
    axis = NORMAL_AXIS[scanner.plane]
    middle = offset_through(scanner, lesion.centre)
    half = REACH * lesion.radius * lesion.axes[axis] * scanner.stretch[axis]
    steps = np.linspace(-half, half, spec.slices) if spec.slices > 1 else np.zeros(1)
    steps = steps + rng.uniform(-0.15, 0.15, spec.slices) * half
    name = f"p{index + 1:03d}"
    items = []
    for number, step in enumerate(steps):
        picture, mask = _slice(head, lesion, scanner, middle=middle, step=float(step), size_px=spec.size_px)
        items.append(
            PhantomImage(
                path=f"images/{name}_s{number}.png",
                pixels=acquire(scanner, picture, rng=rng),
                mask=mask,
                label=label,
                split=split,
                patient=name,
                boxes=_box(mask, label),
            )
        )
    return items


def _slice(
    head: Head, lesion: Lesion, scanner: Scanner, *, middle: float, step: float, size_px: int
) -> tuple[Array, NDArray[np.bool_]]:
    """The picture and the tumour mask at `middle + step`, nearer the middle if too little would be seen."""
    for nearer in (1.0, 0.5, 0.0):
        points = slice_points(scanner, offset=middle + nearer * step, size_px=size_px)
        picture, depths = paint(head, displace(lesion, points), scanner.tissue)
        mask = paint_lesion(lesion, points, depths, picture, scanner.tissue) > 0.5
        if lesion.label == "notumor" or mask.mean() >= LEAST_SHARE:
            break
    return picture, mask


def _box(mask: NDArray[np.bool_], label: str) -> tuple[Box, ...]:
    if not mask.any():
        return ()
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    size = mask.shape[0]
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    left, right = int(columns[0]), int(columns[-1]) + 1
    return (
        Box(
            label=label,
            cx=round((left + right) / 2 / size, 6),
            cy=round((top + bottom) / 2 / size, 6),
            w=round((right - left) / size, 6),
            h=round((bottom - top) / size, 6),
        ),
    )


def _plant(spec: PhantomSpec, items: list[PhantomImage]) -> PhantomSet:
    rng = np.random.default_rng(np.random.SeedSequence(spec.seed, spawn_key=(_PLANT_STREAM,)))
    test = [i for i, item in enumerate(items) if item.split == "test"]
    train = [i for i, item in enumerate(items) if item.split == "train"]
    # Drawn always and in one order, so that asking for one fault does not move another.
    copy_order, flip_order = rng.permutation(test), rng.permutation(train)
    flip_to = rng.integers(1, len(CLASSES), len(items))
    shortcut_class = str(rng.choice(CLASSES))
    mark_order = rng.permutation(len(items))

    marked: list[str] = []
    if spec.shortcut > 0:
        own = [int(i) for i in mark_order if items[i].label == shortcut_class]
        for i in own[: round(spec.shortcut * len(own))]:
            items[i] = replace(items[i], pixels=_marked(items[i].pixels))
            marked.append(items[i].path)

    copies: list[PhantomImage] = []
    pairs: list[Pair] = []
    exact, flipped_over = round(spec.duplicates * len(test)), round(spec.mirrored * len(test))
    for number, i in enumerate(copy_order[: exact + flipped_over]):
        copy, pair = _copy(items[int(i)], name=f"p{spec.patients + number + 1:03d}", mirrored=number >= exact)
        copies.append(copy)
        pairs.append(pair)
        if pair.test in marked:
            marked.append(pair.train)

    flipped: list[FlippedLabel] = []
    for i in flip_order[: round(spec.flipped_labels * len(train))]:
        item = items[int(i)]
        given = CLASSES[(CLASSES.index(item.label) + int(flip_to[i])) % len(CLASSES)]
        boxes = () if given == "notumor" else tuple(replace(b, label=given) for b in item.boxes)
        items[int(i)] = replace(item, label=given, boxes=boxes)
        flipped.append(FlippedLabel(item.path, item.label, given))

    truth = Truth(
        pairs=tuple(sorted(pairs, key=lambda p: p.test)),
        flipped=tuple(sorted(flipped, key=lambda f: f.path)),
        shortcut_class=shortcut_class if spec.shortcut > 0 else None,
        shortcut_paths=tuple(sorted(marked)),
    )
    return PhantomSet(spec, tuple(sorted([*items, *copies], key=lambda i: i.path)), truth)


def _copy(item: PhantomImage, *, name: str, mirrored: bool) -> tuple[PhantomImage, Pair]:
    """A training copy of a test image under another patient's name."""
    path = f"images/{name}_s0.{'jpg' if mirrored else 'png'}"
    copy = replace(item, path=path, split="train", patient=name)
    if mirrored:
        copy = replace(
            copy,
            pixels=np.ascontiguousarray(item.pixels[:, ::-1]),
            mask=np.ascontiguousarray(item.mask[:, ::-1]),
            boxes=tuple(replace(b, cx=round(1 - b.cx, 6)) for b in item.boxes),
        )
    return copy, Pair(item.path, path, "mirrored" if mirrored else "byte-copy")


def _marked(pixels: Pixels) -> Pixels:
    """The image with a bright L in the lower right corner and a faint frame, as scanners print."""
    size = pixels.shape[0]
    out = pixels.copy()
    unit = max(2, size // 40)
    out[:1], out[-1:], out[:, :1], out[:, -1:] = 60, 60, 60, 60
    foot, right = size - 2 * unit, size - 2 * unit
    out[foot - 4 * unit : foot, right - 3 * unit : right - 2 * unit] = 235
    out[foot - unit : foot, right - 3 * unit : right] = 235
    return out
