"""How a file was compressed, from the header of a JPEG alone: nothing is decoded.

In: the path of an image file. Out: its quantisation tables, chroma sampling and mode of coding; None for other
formats. The tables name the program and quality setting that wrote the file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without a length: TEM and RST0 to RST7 (ITU-T T.81, table B.1)."""
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TABLES, _SCAN, _END = 0xDB, 0xDA, 0xD9


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """What stands before the first scan.

    Attributes:
        tables: 64 coefficients each, by table number, in zigzag order.
        sampling: Horizontal times vertical sampling of the first component: 4 where colour is halved both ways.
        progressive: True for progressive coding.
    """

    tables: dict[int, tuple[int, ...]]
    sampling: int
    progressive: bool


def read_jpeg_header(path: Path) -> JpegHeader | None:
    """The header of the JPEG file at `path`; None if its first bytes are those of another format.

    Raises:
        OSError: The file is gone or cannot be read.
    """
    with path.open("rb") as handle:
        if handle.read(2) != b"\xff\xd8":
            return None
        return _segments(handle)


def _segments(handle: IO[bytes]) -> JpegHeader:
    tables: dict[int, tuple[int, ...]] = {}
    sampling, progressive = 0, False
    while (marker := _next_marker(handle)) not in {None, _SCAN, _END}:
        if marker in _ALONE:
            continue
        size = handle.read(2)
        if len(size) < 2:
            break
        length = max(0, int.from_bytes(size, "big") - 2)
        if marker == _TABLES:
            tables |= _quantisation(handle.read(length))
        elif marker in _FRAMES:
            body = handle.read(length)
            progressive = marker in {0xC2, 0xCA}
            sampling = (body[7] >> 4) * (body[7] & 15) if len(body) > 7 else 0
        else:
            handle.seek(length, 1)
    return JpegHeader(tables, sampling, progressive)


def _next_marker(handle: IO[bytes]) -> int | None:
    """The next marker after any filling bytes; None at the end of the file."""
    byte = handle.read(1)
    while byte and byte != b"\xff":
        byte = handle.read(1)
    while byte == b"\xff":
        byte = handle.read(1)
    return byte[0] if byte else None


def _quantisation(body: bytes) -> dict[int, tuple[int, ...]]:
    """The tables of one segment (ITU-T T.81, B.2.4.1)."""
    tables = {}
    place = 0
    while place < len(body):
        wide, number = body[place] >> 4, body[place] & 15
        form = ">64H" if wide else ">64B"
        if place + 1 + struct.calcsize(form) > len(body):
            break
        tables[number] = struct.unpack_from(form, body, place + 1)
        place += 1 + struct.calcsize(form)
    return tables
