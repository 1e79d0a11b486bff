"""Folders of phantom slices with planted copies, for the checks on leaks and integrity."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from tumorscope.auditing.audit import official_parts
from tumorscope.auditing.check import Result
from tumorscope.auditing.checks import CODES
from tumorscope.auditing.material import Material
from tumorscope.core.types import Pixels
from tumorscope.data.copies.survey import survey
from tumorscope.data.load import load

LABELS = ("glioma", "notumor")


@cache
def slices() -> tuple[tuple[str, Pixels], ...]:
    """One slice each of different phantom patients, with its label: no two are copies."""
    manifest = load("phantom:patients=40,slices=1,seed=5")
    labels = [r.label for r in manifest.records]
    return tuple(zip(labels, manifest.pixels(), strict=True))


def picture(index: int) -> Pixels:
    """Pixels of the slice of patient `index`."""
    return slices()[index][1]


def save(path: Path, pixels: Pixels, *, quality: int | None = None) -> Path:
    """Write PNG, or JPEG of a quality."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    if quality is None:
        image.save(buffer, "PNG")
    else:
        image.save(buffer, "JPEG", quality=quality)
    path.write_bytes(buffer.getvalue())
    return path


def clean(root: Path, *, train: int = 8, test: int = 4) -> Path:
    """Training/Testing folders of two labels, every image of another patient."""
    number = 0
    for part, count in (("Training", train), ("Testing", test)):
        for label in LABELS:
            for i in range(count):
                save(root / part / label / f"{i:02}.png", picture(number))
                number += 1
    return root


def copy(root: Path, source: str, target: str) -> None:
    """Copy a file inside `root`."""
    (root / target).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(root / source, root / target)


def changed(root: Path, source: str, target: str, change: str) -> None:
    """Write a changed copy of `source`: "reencoded", "mirrored", "turned", "rotated" or "brighter"."""
    pixels = np.asarray(Image.open(root / source).convert("L"))
    quality = 60 if change == "reencoded" else 90
    if change == "mirrored":
        pixels = np.ascontiguousarray(pixels[:, ::-1])
    elif change == "turned":
        pixels = np.ascontiguousarray(np.rot90(pixels))
    elif change == "rotated":
        pixels = np.asarray(Image.fromarray(pixels).rotate(6, Image.Resampling.BICUBIC))
    elif change == "brighter":
        pixels = np.clip(pixels * 1.2 + 10, 0, 255).astype(np.uint8)
    save(root / target, pixels, quality=quality)


def material(root: Path) -> Material:
    """What the checks look at, with the folder's own parts."""
    manifest = load(root)
    return Material(manifest, survey(manifest), official_parts(manifest))


def look(root: Path, code: str) -> Result:
    """The result of one check on a folder."""
    return CODES[code].run(material(root))


def outcomes(root: Path, codes: Sequence[str]) -> dict[str, str]:
    """Outcome of several checks on a folder."""
    found = material(root)
    return {code: CODES[code].run(found).outcome for code in codes}
