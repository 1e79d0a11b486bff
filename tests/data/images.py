"""Small encoded images for tests, made in memory."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tumorscope.core.types import Pixels


def noise(seed: int, *, height: int = 20, width: int = 24, channels: int = 0) -> Pixels:
    """(H, W) or (H, W, channels) uint8 noise."""
    shape = (height, width, channels) if channels else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encode(pixels: Any, kind: str = "PNG", **options: Any) -> bytes:
    """Encoded file of an array or a Pillow image."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write(path: Path, data: bytes | None = None, *, seed: int | None = None) -> Path:
    """Write `data`, or a PNG of noise that differs with the path, and return `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number = sum(path.as_posix().encode("utf-8", "surrogateescape")) if seed is None else seed
    path.write_bytes(encode(noise(number)) if data is None else data)
    return path
