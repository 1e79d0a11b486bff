"""What the first and last bytes of an image file say: its format, its size, and whether its end is there.

In: the bytes of a file. Out: a format name, or the `ImageFault` that says what the bytes are instead. Nothing
is decoded here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from tumorscope.core.errors import ImageFault

SUFFIXES: dict[str, frozenset[str]] = {
    "PNG": frozenset({".png", ".apng"}),
    "JPEG": frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"}),
    "BMP": frozenset({".bmp", ".dib"}),
    "TIFF": frozenset({".tif", ".tiff"}),
    "GIF": frozenset({".gif"}),
    "WEBP": frozenset({".webp"}),
    "PPM": frozenset({".ppm", ".pgm", ".pbm", ".pnm", ".pfm"}),
    "JPEG2000": frozenset({".jp2", ".j2k", ".jpc", ".j2c", ".jpf", ".jpx"}),
}
IMAGE_SUFFIXES = frozenset[str]().union(*SUFFIXES.values())
"""Lower-case file extensions of the formats that are read."""

OPENERS: dict[str, type[ImageFile.ImageFile]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
    "JPEG2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
}


def sniff(data: bytes) -> str:
    """Format name by the first bytes.

    Raises:
        ImageFault: "empty-file" or "not-an-image".
    """
    if not data:
        raise ImageFault("empty-file", "0 bytes")
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")):
        return "TIFF"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith((b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")):
        return "JPEG2000"
    if data[:1] == b"P" and data[1:2] in b"123456fF" and data[2:3].isspace():
        return "PPM"
    if data.startswith(b"BM") and len(data) >= 18 and int.from_bytes(data[14:18], "little") in range(12, 125):
        return "BMP"
    raise ImageFault("not-an-image", _other_format(data))


def _other_format(data: bytes) -> str:
    if data[128:132] == b"DICM":
        return "a DICOM file; convert it to PNG first"
    if data[344:347] in {b"n+1", b"ni1"}:
        return "a NIfTI volume; export its slices as PNG first"
    if data[:2] == b"\x1f\x8b":
        return "gzip-compressed data"
    if data[:4] == b"PK\x03\x04":
        return "a zip archive"
    if data[:4] == b"%PDF":
        return "a PDF document"
    return f"{len(data):,} bytes that start with {data[:8].hex(' ')}"


def webp_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) of a WEBP container, read before its decoder claims memory (RFC 9649, 2.5 to 2.7)."""
    chunk, body = data[12:16], data[20:30]
    if len(body) < 10:
        return None
    if chunk == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack("<HH", body[6:10])
    return width & 0x3FFF, height & 0x3FFF


def png_damage(data: bytes) -> str:
    """Which pixel chunk of a PNG file fails its checksum, "" if none does; Pillow does not check them."""
    place = 8
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        end = place + 12 + length
        kind = data[place + 4 : place + 8]
        if end > len(data) or kind == b"IEND":
            break
        if kind == b"IDAT":
            with memoryview(data) as view:
                value = zlib.crc32(view[place + 4 : end - 4])
            if value != int.from_bytes(data[end - 4 : end], "big"):
                return f"checksum of the pixel chunk at byte {place:,} differs"
        place = end
    return ""


def ends_early(data: bytes, kind: str) -> bool:
    """True if the container shows that its last bytes are missing: no end marker, or lengths past the end."""
    if kind == "PNG":
        return b"IEND" not in data[-64:]
    if kind == "JPEG":
        return b"\xff\xd9" not in data[-64:]
    if kind == "JPEG2000":  # bit stuffing keeps this marker out of the coded data
        return b"\xff\xd9" not in data
    if kind == "GIF":
        return data.rstrip(b"\x00")[-1:] != b";"
    if kind == "WEBP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if kind == "BMP":
        return len(data) < 54 or int.from_bytes(data[2:6], "little") > len(data)
    if kind == "TIFF":
        return any(end > len(data) for end in _tiff_ends(data))
    return False


def _tiff_ends(data: bytes) -> Iterator[int]:
    """Where the header, the first directory, its values and its strips or tiles end (TIFF 6.0, section 2)."""
    yield 8
    order = "<" if data[:2] == b"II" else ">"
    if len(data) < 8 or data[2:4] in {b"+\x00", b"\x00+"}:  # BigTIFF is left to the decoder
        return
    start = int(struct.unpack_from(f"{order}I", data, 4)[0])
    yield start + 2
    if start + 2 > len(data):
        return
    entries = int(struct.unpack_from(f"{order}H", data, start)[0])
    yield start + 2 + 12 * entries
    if start + 2 + 12 * entries > len(data):
        return
    extents: dict[int, tuple[int, ...]] = {}
    for number in range(entries):
        place = start + 2 + 12 * number
        tag, code, count = struct.unpack_from(f"{order}HHI", data, place)
        size = _TIFF_TYPE_BYTES.get(code, 1) * count
        at = place + 8 if size <= 4 else int(struct.unpack_from(f"{order}I", data, place + 8)[0])
        yield at + size
        if tag in _TIFF_EXTENT_TAGS and code in {3, 4} and at + size <= len(data):
            extents[tag] = struct.unpack_from(f"{order}{count}{'H' if code == 3 else 'I'}", data, at)
    for offsets, lengths in ((273, 279), (324, 325)):
        pairs = zip(extents.get(offsets, ()), extents.get(lengths, ()), strict=False)
        yield from (offset + length for offset, length in pairs)


_TIFF_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TIFF_EXTENT_TAGS = frozenset({273, 279, 324, 325})
"""Offsets and byte counts of strips and of tiles."""
