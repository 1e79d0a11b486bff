"""Frozen value types that every floor shares, and the shape aliases of the arrays between them.

Words: `label` is a class name, `target` its integer (position in `classes`), `probs` sum to one along the last
axis, `logits` do not. Sizes end in their unit: `size_px`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]
"""One image: (H, W) gray or (H, W, 3) RGB, uint8, 0..255."""
Targets: TypeAlias = NDArray[np.int64]
"""(N,) class positions, 0..C-1."""
Probs: TypeAlias = NDArray[np.float64]
"""(N, C) probabilities; each row sums to one."""
Logits: TypeAlias = NDArray[np.float64]
"""(N, C) unnormalised scores."""

SplitName: TypeAlias = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")

Severity: TypeAlias = Literal["info", "warning", "error"]

EXCLUSION_REASONS: dict[str, str] = {
    "empty-file": "the file has no bytes",
    "not-an-image": "the bytes are no image format that can be read",
    "truncated": "the image ends before its last row",
    "multi-frame": "the file holds several frames or pages; which one to use is not known",
    "too-small": "a side is shorter than 16 pixels",
    "too-large": "more than 64 megapixels",
    "unreadable": "the operating system or the decoder refused the file",
    "not-finite": "pixel values are NaN or infinite",
    "hidden": "inside a hidden folder, or a hidden file (such as .ipynb_checkpoints)",
    "symlink-loop": "a link that leads back into a folder above it",
    "symlink-broken": "a link whose target does not exist",
    "no-label": "no class can be read from the folder or the table",
    "missing-file": "the table or label file names an image that does not exist",
    "not-a-scan": "not an image by its name (a note, a table, a system file)",
    "outside-root": "the table names a file outside the data folder",
}
"""Why an input was not used. Every input is used or stands in the exclusion list with one of these."""


@dataclass(frozen=True, slots=True)
class Box:
    """One annotated rectangle in relative image coordinates (0..1), centre and size, as in YOLO label files."""

    label: str
    cx: float
    cy: float
    w: float
    h: float


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One usable image.

    Attributes:
        path: POSIX path relative to the manifest's root. Images inside an array file are written
            `file.npz#train/12` (member and row).
        label: Class name.
        split: Official split, or None where the data has none.
        patient: Patient identifier where known.
        boxes: Annotated rectangles, possibly none.
        sha256: Hash of the encoded file, or of shape and pixels for images inside an array file.
        pixels_sha256: Hash of the decoded pixels: equal for the same picture in two lossless encodings.
        width_px: Width as decoded (after EXIF orientation).
        height_px: Height as decoded.
        mode: Pillow mode or array kind as stored, such as "L", "RGB", "P", "I;16".
        gray: True if the decoded picture has no colour (R = G = B within JPEG rounding).
    """

    path: str
    label: str
    split: SplitName | None
    patient: str | None
    boxes: tuple[Box, ...]
    sha256: str
    pixels_sha256: str
    width_px: int
    height_px: int
    mode: str
    gray: bool


@dataclass(frozen=True, slots=True)
class Exclusion:
    """One input that is not used, and why. `reason` is a key of `EXCLUSION_REASONS`."""

    path: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a reader of the results must know about the data.

    Attributes:
        code: Stable code such as "DATA010".
        severity: "info", "warning" or "error".
        title: One sentence without numbers.
        detail: One sentence with the numbers.
        count: How many items are concerned.
        paths: Concerned paths, all of them, sorted; presentation shortens.
    """

    code: str
    severity: Severity
    title: str
    detail: str
    count: int
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """Where data comes from: what a report must cite."""

    name: str
    title: str = ""
    licence: str = "not stated"
    citation: str = ""
    homepage: str = ""
    modality: str = ""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric with its 95% interval: never one without the other.

    Attributes:
        value: Point estimate; None where it is undefined (for instance AUROC with one class present).
        low: Lower bound of the interval, None where undefined.
        high: Upper bound.
        method: How the interval was made: "wilson", "delong", "bootstrap-groups", ...
    """

    value: float | None
    low: float | None
    high: float | None
    method: str
