"""A strip of text under a picture, so that what must be known of it is not lost when it is copied.

In: an RGB picture and lines of text. Out: a picture that holds both, the given one unchanged in its upper left corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

LEAST_PX = 360
"""Least width of the result: narrower strips would break the text into more lines than the picture has."""
SIZE_PX = 12
MARGIN_PX = 6
PAPER, INK = (255, 255, 255), (20, 20, 20)


def captioned(picture: NDArray[np.uint8], lines: Sequence[str]) -> NDArray[np.uint8]:
    """The picture with lines of text below it.

    Args:
        picture: (H, W, 3) uint8.
        lines: Text; what is too long for the width is broken between words.

    Returns:
        (H + h, max(W, 360), 3) uint8.
    """
    height, width = picture.shape[:2]
    font = ImageFont.load_default(SIZE_PX)
    whole = max(width, LEAST_PX)
    text = [part for line in lines for part in _broken(line, font, whole - 2 * MARGIN_PX)]
    step = SIZE_PX + 4
    page = Image.new("RGB", (whole, height + len(text) * step + 2 * MARGIN_PX), PAPER)
    page.paste(Image.fromarray(picture), (0, 0))
    pen = ImageDraw.Draw(page)
    for number, line in enumerate(text):
        pen.text((MARGIN_PX, height + MARGIN_PX + number * step), line, fill=INK, font=font)
    return np.asarray(page, dtype=np.uint8)


def _broken(line: str, font: Any, width_px: int) -> list[str]:
    """A line as several, none wider than `width_px` unless a single word is."""
    found: list[str] = []
    for word in line.split():
        longer = f"{found[-1]} {word}" if found else word
        if found and font.getlength(longer) <= width_px:
            found[-1] = longer
        else:
            found.append(word)
    return found
