"""One encoded image to 8-bit pixels, or to a named reason why not. Same bytes, same answer, in any thread.

Bytes go in; `Decoded` comes out, or `ImageFault` with a key of `EXCLUSION_REASONS`. The bytes decide, never
the file name. Eight formats are read: PNG, JPEG, BMP, TIFF, GIF, WEBP, PPM, JPEG2000; none runs anything.

| what the bytes hold | outcome |
|---|---|
| nothing | excluded, "empty-file" |
| no known format, DICOM, NIfTI | excluded, "not-an-image"; the detail names the format where it is known |
| rows missing at the end | excluded, "truncated"; missing rows are never filled in |
| only the end marker missing | used: every row is there |
| damaged so that the decoder refuses, or a PNG checksum differs | excluded, "unreadable" |
| another format than the extension says | used by content, with a note |
| a side under 16 pixels, or over 64 megapixels | excluded from the header, "too-small", "too-large" |
| several frames or pages (GIF, APNG, WEBP, TIFF) | excluded, "multi-frame" |
| multi-picture JPEG (MPO) | the primary picture, which the format names, with a note |
| 1, 2, 4 bits | spread over 0..255 |
| integers over 8 bits | divided by their bit depth, rounded: the smallest of 8, 12, 16 and 32 bits that |
| | holds the image's maximum (12-bit scans live in 16-bit files), so 16 bits are v / 257; with a note |
| negative integers | as above, in two's complement: (v + 2**(b-1)) / (2**b - 1), with a note |
| over 8 bits in a colour or gray + alpha picture | the upper 8 bits, as Pillow reads them, with a note |
| floats | 0..1 times 255; 0..255 as they are; else stretched from minimum to maximum; with a note |
| NaN or infinity | excluded, "not-finite" |
| TIFF with white as zero | turned round |
| palette, CMYK, YCbCr, LAB | converted to RGB (LAB through sRGB), with a note for the last three |
| alpha or a transparent colour | composited over black; with a note unless all of it is opaque |
| alpha that is zero everywhere | ignored: it would hide the whole picture; with a note |
| EXIF orientation | applied, with a note; a damaged EXIF block is ignored |
| ICC profile | ignored |
| RGB without colour | gray (H, W), see `is_gray` |

Random changes inside a JPEG often decode without an error; only a hash of the bytes guards against those.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin

from tumorscope.core.errors import ImageFault
from tumorscope.core.files import sha256_bytes
from tumorscope.core.types import Pixels
from tumorscope.imaging.formats import OPENERS, SUFFIXES, ends_early, png_damage, sniff, webp_size

DECODE_VERSION = 1
"""Raised whenever the same bytes may give other pixels; part of every cache key."""
MIN_SIDE_PX = 16
MAX_PIXELS = 64_000_000
MAX_FILE_BYTES = 1 << 30
"""64 megapixels of four 16-bit channels are half of this: a larger file is not read."""
GRAY_SPREAD = 8
GRAY_SPREAD_MAX = 32
GRAY_OUTLIERS = 0.005

_ORIENTATION_TAG = 0x0112
_PHOTOMETRIC_TAG = 262
_SAMPLE_FORMAT_TAG = 339


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """One decoded image.

    Attributes:
        pixels: (H, W) or (H, W, 3) uint8, after EXIF orientation; (H, W) whenever `gray` is true.
        mode: Pillow mode as stored, such as "L", "RGB", "P", "I;16".
        format: One of the eight format names, from the bytes.
        gray: True if the picture has no colour.
        frames: Always 1; more are excluded.
        width_px: Width of `pixels`.
        height_px: Height of `pixels`.
        notes: What was done beyond reading, each "kind: text" with kind one of extension, depth, colour,
            alpha, orientation, pictures.
    """

    pixels: Pixels
    mode: str
    format: str
    gray: bool
    frames: int
    width_px: int
    height_px: int
    notes: tuple[str, ...]


def decode_image(data: bytes, *, name: str) -> Decoded:
    """Pixels of one encoded image; the table at the top of this module says what happens to each kind.

    Args:
        data: The whole encoded file.
        name: File name: only its extension is looked at, and only for a note.

    Raises:
        ImageFault: The image cannot be used; list it with the reason.
    """
    kind = sniff(data)
    with _quiet_pillow():
        try:
            return _decode(data, kind, name)
        except ImageFault:
            raise
        except Image.DecompressionBombError as error:
            raise ImageFault("too-large", str(error)) from error
        except MemoryError as error:
            raise ImageFault("unreadable", f"{kind}: not enough memory to decode") from error
        except (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, struct.error) as error:
            raise _fault_of(error, data, kind) from error
        except (AttributeError, AssertionError, RuntimeError, OverflowError, ZeroDivisionError) as error:
            raise ImageFault("unreadable", f"{kind}: {type(error).__name__}: {error}") from error


def decode_file(path: Path) -> Decoded:
    """Pixels of one image file.

    Raises:
        ImageFault: The file cannot be read or used.
    """
    return decode_image(read_image_bytes(path), name=path.name)


def read_image_bytes(path: Path) -> bytes:
    """The bytes of `path`.

    Raises:
        ImageFault: "unreadable" if the operating system refuses, "too-large" above 1 GiB.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ImageFault("too-large", f"the file has {size:,} bytes, at most {MAX_FILE_BYTES:,} are read")
        return path.read_bytes()
    except OSError as error:
        raise ImageFault("unreadable", error.strerror or type(error).__name__) from error


def pixels_sha256(pixels: Pixels) -> str:
    """SHA-256 of shape and values: equal for the same picture in two lossless encodings."""
    return sha256_bytes(f"{pixels.shape}".encode() + np.ascontiguousarray(pixels).tobytes())


def is_gray(rgb: Pixels) -> bool:
    """True if a (H, W, 3) uint8 picture has no colour beyond JPEG rounding.

    The spread of a pixel is its largest channel minus its smallest. No colour means: a spread of at most 8 in
    99.5% of the pixels and of at most 32 in all. Saving a gray picture as a colour JPEG gives a spread of 0;
    saving it again from a slightly tinted copy gives single digits at edges, where the chroma planes are
    rounded and subsampled. A coloured caption or ruler exceeds 32 and keeps the picture in colour.
    """
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    if np.array_equal(red, green) and np.array_equal(green, blue):
        return True
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    if spread.max() > GRAY_SPREAD_MAX:
        return False
    return int(np.count_nonzero(spread > GRAY_SPREAD)) <= GRAY_OUTLIERS * spread.size


def _decode(data: bytes, kind: str, name: str) -> Decoded:
    if kind in {"TIFF", "JPEG2000"} and ends_early(data, kind):  # their decoders may go on without the end
        raise ImageFault("truncated", f"{kind}, {len(data):,} bytes: the file ends too early")
    if kind == "PNG" and (damage := png_damage(data)):
        raise ImageFault("unreadable", f"{kind}, {len(data):,} bytes: {damage}")
    if kind == "WEBP" and (size := webp_size(data)):
        _check_size(*size)
    image = OPENERS[kind](io.BytesIO(data))
    try:
        _check_size(*image.size)
        frames = int(getattr(image, "n_frames", 1))
        if frames > 1:
            raise ImageFault("multi-frame", f"{kind} with {frames} frames or pages")
        mode = image.mode
        notes = _header_notes(image, kind, name)
        orientation = _orientation(image)
        image.load()
        pixels, more = _to_uint8(image, kind)
    finally:
        image.close()
    notes += more
    if orientation in _TURN:
        if kind != "TIFF":  # Pillow turns TIFF while it loads
            pixels = _TURN[orientation](pixels)
        notes.append(f"orientation: EXIF orientation {orientation} applied")
    gray = pixels.ndim == 2 or is_gray(pixels)
    if gray and pixels.ndim == 3:
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))
    pixels = np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    _check_size(width, height)
    return Decoded(pixels, mode, kind, gray, 1, width, height, tuple(notes))


_TURN = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
"""EXIF orientation to the turn that undoes it (EXIF 2.3, tag 274)."""


def _orientation(image: ImageFile.ImageFile) -> int:
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except (OSError, ValueError, SyntaxError, LookupError, TypeError, struct.error):
        return 1
    return value if isinstance(value, int) else 1


def _header_notes(image: ImageFile.ImageFile, kind: str, name: str) -> list[str]:
    notes = []
    suffix = PurePath(name).suffix.lower()
    if suffix not in SUFFIXES[kind]:
        notes.append(f"extension: {suffix or 'no extension'} but the bytes are {kind}")
    if "mp" in image.info:
        notes.append("pictures: primary picture of a multi-picture JPEG")
    raw = _raw_mode(image)
    if image.mode in {"RGB", "RGBA", "LA", "L", "CMYK"} and "16" in raw:
        notes.append(f"depth: {image.mode} of 16 bits a channel, upper 8 bits kept")
    return notes


def _raw_mode(image: ImageFile.ImageFile) -> str:
    arguments = image.tile[0][3] if image.tile else None
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _to_uint8(image: Image.Image, kind: str) -> tuple[Pixels, list[str]]:
    """(H, W) or (H, W, 3) uint8 of a loaded image, and notes on what was done."""
    if image.mode == "F" or image.mode.startswith("I"):
        return _scale(image, kind)
    if image.mode in {"LA", "La", "PA", "RGBA", "RGBa"} or "transparency" in image.info:
        return _over_black(image)
    if image.mode in {"CMYK", "YCbCr", "LAB", "HSV"}:
        return np.asarray(image.convert("RGB")), [f"colour: {image.mode} converted to RGB"]
    if image.mode in {"1", "L"}:
        return np.asarray(image.convert("L")), []
    return np.asarray(image.convert("RGB")), []


def _over_black(image: Image.Image) -> tuple[Pixels, list[str]]:
    rgba = np.asarray(image.convert("RGBA"))
    colour, alpha = rgba[..., :3], rgba[..., 3]
    if alpha.min() == 255:
        return colour, []
    if alpha.max() == 0:
        return colour, ["alpha: zero everywhere, ignored"]
    share = float((alpha < 255).mean())
    product = colour.astype(np.uint16) * alpha[..., None].astype(np.uint16)
    # half a step under, so that 255 * 255 gives 255 and ties go down
    return ((product + 127) // 255).astype(np.uint8), [f"alpha: {share:.1%} not opaque, composited over black"]


def _scale(image: Image.Image, kind: str) -> tuple[Pixels, list[str]]:
    """(H, W) uint8 of a picture of integers over 8 bits or of floats."""
    values = np.asarray(image)
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    if values.dtype == np.int32 and tags and tags.get(_SAMPLE_FORMAT_TAG, (1,))[0] == 1:
        values = values.view(np.uint32)
    pixels, note = (_scale_float if values.dtype.kind == "f" else _scale_integer)(values)
    if kind == "TIFF" and tags.get(_PHOTOMETRIC_TAG) == 0:
        pixels = 255 - pixels
    return pixels, [f"depth: {note}"]


def _scale_integer(values: NDArray[np.generic]) -> tuple[Pixels, str]:
    low, high = int(values.min()), int(values.max())
    signed = low < 0
    for bits in (8, 12, 16, 32):
        offset = 1 << (bits - 1) if signed else 0
        if low >= -offset and high < (1 << bits) - offset:
            break
    top = (1 << bits) - 1
    scaled = np.floor((values.astype(np.float64) + offset) * (255.0 / top) + 0.5)
    kept = "signed " if signed else ""
    return scaled.astype(np.uint8), f"{values.dtype.itemsize * 8}-bit integers read as {kept}{bits}-bit"


def _scale_float(values: NDArray[np.generic]) -> tuple[Pixels, str]:
    numbers = values.astype(np.float64)
    bad = int(np.count_nonzero(~np.isfinite(numbers)))
    if bad:
        raise ImageFault("not-finite", f"{bad:,} of {numbers.size:,} pixel values are NaN or infinite")
    low, high = float(numbers.min()), float(numbers.max())
    if low >= 0 and high <= 1:
        return np.floor(numbers * 255 + 0.5).astype(np.uint8), "floats 0..1 times 255"
    if low >= 0 and high <= 255:
        return np.floor(numbers + 0.5).astype(np.uint8), "floats 0..255 rounded"
    width = high - low
    scaled = (numbers - low) / width if width > 0 else np.zeros_like(numbers)
    return (
        np.floor(scaled * 255 + 0.5).astype(np.uint8),
        f"floats stretched from {low:g}..{high:g} to 0..255",
    )


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageFault(
            "too-large", f"{width} x {height} pixels, at most {MAX_PIXELS // 1_000_000} megapixels are read"
        )
    if min(width, height) < MIN_SIDE_PX:
        raise ImageFault("too-small", f"{width} x {height} pixels, at least {MIN_SIDE_PX} a side are needed")


def _fault_of(error: Exception, data: bytes, kind: str) -> ImageFault:
    """The decoder's error as "truncated" where the data ends early, as "unreadable" where it is damaged."""
    text = f"{error}" or type(error).__name__
    short = ends_early(data, kind) or isinstance(error, (EOFError, struct.error, IndexError))
    short = short or any(word in text.lower() for word in ("truncat", "eof", "end of file", "not enough"))
    return ImageFault("truncated" if short else "unreadable", f"{kind}, {len(data):,} bytes: {text}")


_quiet_lock = threading.Lock()
_quiet_depth = 0
_quiet_undo: list[tuple[warnings.catch_warnings[None], bool]] = []


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Silence Pillow's warnings and forbid its filling of missing rows while any thread decodes.

    Both are process-wide switches: the first thread in sets them, the last one out restores them.
    """
    global _quiet_depth  # noqa: PLW0603 (one counter for all threads is the point)
    with _quiet_lock:
        if _quiet_depth == 0:
            guard = warnings.catch_warnings()
            guard.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
            _quiet_undo.append((guard, ImageFile.LOAD_TRUNCATED_IMAGES))
            ImageFile.LOAD_TRUNCATED_IMAGES = False
        _quiet_depth += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if _quiet_depth == 0:
                guard, ImageFile.LOAD_TRUNCATED_IMAGES = _quiet_undo.pop()
                guard.__exit__(None, None, None)
