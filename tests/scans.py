"""Small synthetic class folders for tests that train: bright spot left or right, or nowhere; seconds to learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tumorscope.core.types import Pixels

CLASSES = ("left", "none", "right")


def scan(label: str, rng: np.random.Generator, size_px: int = 32) -> Image.Image:
    pixels = rng.normal(70, 12, (size_px, size_px))
    if label != "none":
        x = size_px // 4 if label == "left" else 3 * size_px // 4
        x += int(rng.integers(-3, 4))
        y = int(rng.integers(size_px // 4, 3 * size_px // 4))
        pixels[y - 3 : y + 3, x - 3 : x + 3] += 130
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def class_folders(
    root: Path,
    *,
    per_class: int = 24,
    classes: tuple[str, ...] = CLASSES,
    test_per_class: int = 0,
    seed: int = 0,
) -> Path:
    """Write CLASS/*.png, or Training|Testing/CLASS/*.png where `test_per_class` is given."""
    rng = np.random.default_rng(seed)
    parts = {"Training": per_class, "Testing": test_per_class} if test_per_class else {"": per_class}
    for part, count in parts.items():
        for label in classes:
            folder = root / part / label
            folder.mkdir(parents=True)
            for i in range(count):
                scan(label, rng).save(folder / f"{label[:1]}{i:03}.png")
    return root


def spotted(width: int, height: int) -> tuple[Pixels, tuple[int, int]]:
    """Black margin, gray body off the centre, one bright spot in it; the spot's middle (x, y)."""
    pixels = np.zeros((height, width), dtype=np.uint8)
    pixels[height // 10 : height * 9 // 10, width // 5 : width * 19 // 20] = 60
    # inside the middle square of the body too, so that no crop cuts it away
    x, y = round(width * 0.6), round(height * 0.45)
    pixels[y - 2 : y + 3, x - 2 : x + 3] = 255
    return pixels, (x, y)
