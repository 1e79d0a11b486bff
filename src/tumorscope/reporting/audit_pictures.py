"""The pictures of an audit page: small, encoded once each, handed on as they are made.

In: decoded images, one at a time. Out: base64 text of WebP files, and JSON that is safe inside a script element.
Brain MRI at 128 px takes 2.1 kB of page a picture: 4.3 MB a 1,000 pairs that share none.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from markupsafe import Markup

from tumorscope.core.types import Pixels

SIDE_PX = 128
"""Longest side of an embedded picture; smaller images keep their size."""
QUALITY = 60
SMALL_PX, SMALL_QUALITY = 64, 85
"""Images up to this side are seen magnified, and their pixels are few: they are kept nearly as they are."""
METHOD = 4
"""WebP effort: 1.8 kB a brain MRI; the greatest effort saves 7% in twice the time."""
ADDRESS = "data:image/webp;base64,"


def encode(pixels: Pixels) -> str:
    """Base64 text of a small WebP of one image, (H, W) gray or (H, W, 3) RGB uint8 of any size."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels))
    longest = max(image.size)
    if longest > SIDE_PX:
        width, height = (max(1, round(side * SIDE_PX / longest)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    buffer = io.BytesIO()
    quality = SMALL_QUALITY if longest <= SMALL_PX else QUALITY
    image.convert("RGB").save(buffer, "WEBP", quality=quality, method=METHOD)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def chunked(texts: Iterator[str], *, size: int) -> Iterator[Markup]:
    """The texts as JSON lists of at most `size`, each made when it is asked for."""
    while chunk := list(islice(texts, size)):
        yield script_json(chunk)


def script_json(value: Any) -> Markup:
    r"""`value` as ASCII JSON for a script element: no `<`, `>` or `&`; half characters stay as \udcff.

    Raises:
        ValueError: `value` holds NaN or infinity, which JSON does not know.
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def counted(images: Iterable[Pixels], *, count: int) -> Iterator[tuple[int, Pixels]]:
    """Each image with its number from 1.

    Raises:
        ValueError: there are not `count` images.
    """
    yield from zip(range(1, count + 1), images, strict=True)
