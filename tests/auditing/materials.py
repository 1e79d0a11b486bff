"""Small materials for the checks on shortcuts and labels: images in memory, copies as the test says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tumorscope.auditing.check import Check, Result
from tumorscope.auditing.labels import LABEL_CHECKS
from tumorscope.auditing.material import Material
from tumorscope.auditing.shortcuts import SHORTCUT_CHECKS
from tumorscope.core.types import Box, DatasetInfo, ImageRecord, Pixels
from tumorscope.data.copies.descriptors import describe
from tumorscope.data.copies.groups import Pair
from tumorscope.data.copies.survey import Survey, thumbnails
from tumorscope.data.load import load
from tumorscope.data.manifest import Manifest

CHECKS: dict[str, Check] = {check.code: check for check in (*SHORTCUT_CHECKS, *LABEL_CHECKS)}
NAMES = ("benign", "malignant")


@dataclass(frozen=True)
class Item:
    """One image of a test; `path` is made up where it does not matter."""

    label: str
    pixels: Pixels
    path: str = ""
    patient: str | None = None
    boxes: tuple[Box, ...] = ()
    mode: str = "L"


def material(
    items: Sequence[Item], *, root: Path = Path("nowhere"), pairs: Sequence[Pair] = (), seed: int = 0
) -> Material:
    """Material of `items`; `pairs` are its copies, and nothing is searched."""
    records = tuple(_record(i, item) for i, item in enumerate(items))
    manifest = Manifest(
        root=root,
        layout="test",
        summary="",
        classes=tuple(sorted({item.label for item in items})),
        positive=None,
        records=records,
        exclusions=(),
        findings=(),
        info=DatasetInfo("test"),
        inputs=len(records),
        reader=_reader,
    )
    thumbs = np.stack([describe(item.pixels) for item in items])
    return Material(manifest, Survey(thumbs, tuple(sorted(pairs))), seed=seed)


def _record(number: int, item: Item) -> ImageRecord:
    digest = hashlib.sha256(f"{number}".encode()).hexdigest()
    height, width = item.pixels.shape[:2]
    path = item.path or f"images/{number:04d}.png"
    gray = item.pixels.ndim == 2
    return ImageRecord(path, item.label, None, item.patient, item.boxes, digest, digest, width, height, item.mode, gray)


def _reader(root: Path, records: Sequence[ImageRecord]) -> Iterator[Pixels]:
    raise AssertionError("checks read thumbnails, not images")


def phantom(spec: str) -> Material:
    """The phantom set of `spec`, without a search for copies."""
    manifest = load(spec)
    return Material(manifest, Survey(thumbnails(manifest), ()))


def two_classes(draw: Callable[[np.random.Generator, bool], Pixels], *, each: int = 40, seed: int = 0) -> list[Item]:
    """`each` images of both classes in turn; `draw` is told the generator and whether it is the second class."""
    rng = np.random.default_rng(seed)
    return [Item(NAMES[i % 2], draw(rng, i % 2 == 1)) for i in range(2 * each)]


def noise(rng: np.random.Generator, *, side: int = 64, width: int = 0) -> Pixels:
    """(side, width or side) uint8 noise round 100."""
    return rng.normal(100, 25, (side, width or side)).clip(0, 255).astype(np.uint8)


def blob(rng: np.random.Generator, *, x: int = 32, y: int = 32, radius: int = 8, bright: int = 90) -> Pixels:
    """(64, 64) uint8 noise with a brighter square round (x, y)."""
    pixels = noise(rng).astype(np.int64)
    pixels[y - radius : y + radius, x - radius : x + radius] += bright
    return pixels.clip(0, 255).astype(np.uint8)


def look(code: str, items: Sequence[Item] | Material) -> Result:
    """The result of one check."""
    return CHECKS[code].run(items if isinstance(items, Material) else material(items))


def value(result: Result, name: str = "balanced_accuracy") -> float:
    """A figure of a result."""
    return float(result.figures[name]["value"])
