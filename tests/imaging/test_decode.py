from __future__ import annotations

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from tumorscope.core.errors import ImageFault
from tumorscope.core.types import EXCLUSION_REASONS
from tumorscope.imaging import decode
from tumorscope.imaging.decode import decode_file, decode_image, is_gray, pixels_sha256
from tumorscope.imaging.formats import SUFFIXES

RNG = np.random.default_rng(3)
NOISE = RNG.integers(0, 256, (24, 32), dtype=np.uint8)
RAMP = (np.add.outer(np.arange(24) * 3, np.arange(32) * 5) % 256).astype(np.uint8)
COLOUR = np.stack([NOISE, 255 - NOISE, NOISE // 2], axis=-1)


def encode(pixels: Any, kind: str, **options: Any) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def fault(data: bytes, name: str = "x.png") -> ImageFault:
    with pytest.raises(ImageFault) as caught:
        decode_image(data, name=name)
    assert caught.value.reason in EXCLUSION_REASONS
    return caught.value


def png_header_only(width: int, height: int) -> bytes:
    """A valid 1-bit PNG of any size in a few kilobytes: all rows are zero."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(9)
    rows = packer.compress(bytes(((width + 7) // 8 + 1) * height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def tiff(pixels: np.ndarray[Any, Any], *, photometric: int = 1, sample_format: int = 1) -> bytes:
    """Uncompressed one-strip little-endian TIFF of a 2-D array."""
    height, width = pixels.shape
    entries = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, pixels.dtype.itemsize * 8),
        (259, 3, 1),
        (262, 3, photometric),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, height),
        (279, 4, pixels.nbytes),
        (339, 3, sample_format),
    ]
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\x00" + struct.pack("<I", 8 + pixels.nbytes) + pixels.tobytes() + directory + bytes(4)


LOSSLESS = {
    "PNG": {},
    "BMP": {},
    "TIFF": {},
    "GIF": {},
    "WEBP": {"lossless": True},
    "PPM": {},
    "JPEG2000": {},
}


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_give_the_same_pixels(kind: str) -> None:
    data = encode(NOISE, kind, **LOSSLESS[kind])
    image = decode_image(data, name=f"a{min(SUFFIXES[kind])}")
    assert image.gray
    assert image.format == kind
    assert image.notes == ()
    assert (image.width_px, image.height_px, image.frames) == (32, 24, 1)
    np.testing.assert_array_equal(image.pixels, NOISE)
    assert pixels_sha256(image.pixels) == pixels_sha256(NOISE)


def test_jpeg_is_close_and_colour_stays_colour() -> None:
    image = decode_image(encode(RAMP, "JPEG", quality=95), name="a.JPG")
    assert np.abs(image.pixels.astype(int) - RAMP).mean() < 3
    colour = decode_image(encode(COLOUR, "PNG"), name="a.png")
    assert not colour.gray
    assert colour.mode == "RGB"
    np.testing.assert_array_equal(colour.pixels, COLOUR)


def test_empty_and_foreign_bytes() -> None:
    assert fault(b"").reason == "empty-file"
    assert fault(b"some text").reason == "not-an-image"
    dicom = fault(bytes(128) + b"DICM" + bytes(64))
    assert dicom.reason == "not-an-image"
    assert "DICOM" in dicom.detail
    assert "PDF" in fault(b"%PDF-1.7 ...").detail


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("GIF", {}),
        ("WEBP", {}),
        ("PPM", {}),
        ("JPEG2000", {}),
        ("JPEG2000", {"no_jp2": True}),
    ],
)
def test_every_truncation_is_found(kind: str, options: dict[str, Any]) -> None:
    data = encode(RAMP // 2 + NOISE // 4, kind, **options)
    whole = decode_image(data, name="x").pixels
    named = 0
    for length in range(20, len(data), max(1, len(data) // 97)):
        try:
            part = decode_image(data[:length], name="x").pixels
        except ImageFault as error:
            assert error.reason in {"truncated", "not-an-image", "unreadable"}  # noqa: PT017 (some raise)
            named += error.reason == "truncated"
        else:  # only what follows the last row is missing
            np.testing.assert_array_equal(part, whole)
            assert length > 0.95 * len(data)
    assert named > 80
    assert fault(data[: len(data) * 6 // 10]).reason == "truncated"


def test_pillow_switch_for_missing_rows_is_overridden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = encode(NOISE, "JPEG")
    assert fault(data[: len(data) // 2]).reason == "truncated"
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_damage_in_the_middle_is_unreadable() -> None:
    data = bytearray(encode(NOISE, "PNG"))
    data[len(data) // 2] ^= 1  # one bit of one pixel: only the checksum can tell
    assert fault(bytes(data)).reason == "unreadable"
    assert "checksum" in fault(bytes(data)).detail


def test_wrong_extension_is_used_by_content() -> None:
    image = decode_image(encode(NOISE, "PNG"), name="scan.JPG")
    assert image.format == "PNG"
    assert image.notes == ("extension: .jpg but the bytes are PNG",)
    assert decode_image(encode(NOISE, "PNG"), name="scan").notes[0].startswith("extension: no extension")


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_divided_by_257(kind: str) -> None:
    values = np.linspace(0, 65535, 24 * 32).astype(np.uint16).reshape(24, 32)
    image = decode_image(encode(values, kind), name=f"a.{kind.lower()}")
    assert image.mode == "I;16"
    np.testing.assert_array_equal(image.pixels, np.floor(values / 257 + 0.5).astype(np.uint8))
    assert image.notes == ("depth: 16-bit integers read as 16-bit",)
    assert image.pixels.mean() == pytest.approx(127.5, abs=0.5)


@pytest.mark.parametrize(("top", "bits"), [(200, 8), (255, 8), (256, 12), (4095, 12), (4096, 16)])
def test_fewer_bits_than_the_container(top: int, bits: int) -> None:
    values = np.linspace(0, top, 24 * 32).astype(np.uint16).reshape(24, 32)
    image = decode_image(encode(values, "PNG"), name="a.png")
    assert image.notes == (f"depth: 16-bit integers read as {bits}-bit",)
    assert image.pixels.max() == int(top * 255 / (2**bits - 1) + 0.5)


def test_thirty_two_bits_and_signs() -> None:
    values = np.linspace(0, 2**32 - 1, 24 * 32).astype(np.uint32).reshape(24, 32)
    image = decode_image(tiff(values), name="a.tif")
    assert image.notes == ("depth: 32-bit integers read as 32-bit",)
    assert (image.pixels.min(), image.pixels.max()) == (0, 255)
    assert np.all(np.diff(image.pixels.ravel().astype(int)) >= 0)
    small = tiff(np.full((20, 20), 3000, np.uint32))
    assert decode_image(small, name="a.tif").pixels[0, 0] == int(3000 * 255 / 4095 + 0.5)
    signed = np.linspace(-1000, 1000, 400).astype(np.int32).reshape(20, 20)
    image = decode_image(tiff(signed, sample_format=2), name="a.tif")
    assert image.notes == ("depth: 32-bit integers read as signed 12-bit",)
    assert image.pixels[0, 0] == int((2048 - 1000) * 255 / 4095 + 0.5)


def test_white_is_zero_is_turned_round() -> None:
    values = np.linspace(0, 65535, 400).astype(np.uint16).reshape(20, 20)
    normal = decode_image(tiff(values), name="a.tif").pixels
    np.testing.assert_array_equal(decode_image(tiff(values, photometric=0), name="a.tif").pixels, 255 - normal)
    eight = decode_image(tiff(NOISE, photometric=0), name="a.tif").pixels
    np.testing.assert_array_equal(eight, 255 - NOISE)


@pytest.mark.parametrize(("low", "high", "note"), [(0, 1, "times 255"), (0, 255, "rounded"), (-3, 900, "from -3..900")])
def test_floats(low: float, high: float, note: str) -> None:
    values = np.linspace(low, high, 400).astype(np.float32).reshape(20, 20)
    image = decode_image(encode(values, "TIFF"), name="a.tiff")
    assert image.mode == "F"
    assert note in image.notes[0]
    assert (image.pixels[0, 0], image.pixels[-1, -1]) == (0, 255)
    assert image.pixels.mean() == pytest.approx(127.5, abs=0.5)


def test_constant_floats_and_not_finite() -> None:
    assert not decode_image(encode(np.full((20, 20), 700, np.float32), "TIFF"), name="a.tif").pixels.any()
    values = np.ones((20, 20), np.float32)
    values[3, 4] = np.nan
    values[5, 6] = np.inf
    assert fault(encode(values, "TIFF")).reason == "not-finite"
    assert "2 of 400" in fault(encode(values, "TIFF")).detail


def test_one_bit() -> None:
    bits = Image.fromarray(NOISE).convert("1")
    image = decode_image(encode(bits, "PNG"), name="a.png")
    assert image.mode == "1"
    assert set(np.unique(image.pixels)) == {0, 255}
    np.testing.assert_array_equal(image.pixels > 0, np.asarray(bits))


@pytest.mark.parametrize(("mode", "kind"), [("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "TIFF"), ("LAB", "TIFF")])
def test_other_colour_models(mode: str, kind: str) -> None:
    flat = np.zeros((24, 32, 3), np.uint8)
    flat[:, :16], flat[:, 16:] = (200, 40, 40), (30, 90, 200)
    source = Image.fromarray(flat)
    if mode == "LAB":
        from PIL import ImageCms

        transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
        stored = ImageCms.applyTransform(source, transform)
        assert stored is not None
    else:
        stored = source.convert(mode)
    image = decode_image(encode(stored, kind), name=f"a.{kind.lower()}")
    assert image.mode == mode
    assert image.notes == (f"colour: {mode} converted to RGB",)
    assert np.abs(image.pixels[5, 5].astype(int) - flat[5, 5]).max() < 12
    assert np.abs(image.pixels[5, 28].astype(int) - flat[5, 28]).max() < 12


def test_palettes() -> None:
    gray = Image.fromarray(NOISE // 64 * 80).convert("P")
    image = decode_image(encode(gray, "PNG"), name="a.png")
    assert image.mode == "P"
    assert image.gray
    colours = Image.fromarray(COLOUR).quantize(16)
    assert not decode_image(encode(colours, "PNG"), name="a.png").gray
    colours.info["transparency"] = 3
    data = encode(colours, "PNG", transparency=3)
    image = decode_image(data, name="a.png")
    assert image.notes[0].startswith("alpha: ")
    hidden = np.asarray(colours) == 3
    assert not image.pixels[hidden].any()


def test_alpha_is_composited_over_black() -> None:
    alpha = np.full((24, 32), 255, np.uint8)
    alpha[:12] = 0
    alpha[12:14] = 128
    image = decode_image(encode(np.dstack([COLOUR, alpha]), "PNG"), name="a.png")
    assert image.mode == "RGBA"
    assert not image.pixels[:12].any()
    np.testing.assert_array_equal(image.pixels[14:], COLOUR[14:])
    np.testing.assert_allclose(image.pixels[12:14], COLOUR[12:14] * (128 / 255), atol=1)
    assert image.notes == ("alpha: 58.3% not opaque, composited over black",)
    both = Image.merge("LA", [Image.fromarray(NOISE), Image.fromarray(alpha)])
    image = decode_image(encode(both, "PNG"), name="a.png")
    assert image.mode == "LA"
    assert image.pixels.ndim == 2
    assert not image.pixels[:12].any()


def test_alpha_without_meaning() -> None:
    opaque = np.dstack([COLOUR, np.full((24, 32), 255, np.uint8)])
    image = decode_image(encode(opaque, "PNG"), name="a.png")
    assert image.notes == ()
    np.testing.assert_array_equal(image.pixels, COLOUR)
    hidden = np.dstack([COLOUR, np.zeros((24, 32), np.uint8)])
    image = decode_image(encode(hidden, "PNG"), name="a.png")
    assert image.notes == ("alpha: zero everywhere, ignored",)
    np.testing.assert_array_equal(image.pixels, COLOUR)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_several_frames(kind: str) -> None:
    frames = [Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR), Image.fromarray(COLOUR // 2)]
    error = fault(encode(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert error.reason == "multi-frame"
    assert "3 frames" in error.detail


def test_multi_picture_jpeg_uses_the_primary() -> None:
    other = Image.fromarray(255 - RAMP)
    data = encode(Image.fromarray(RAMP), "MPO", save_all=True, append_images=[other])
    image = decode_image(data, name="a.jpg")
    assert image.notes == ("pictures: primary picture of a multi-picture JPEG",)
    assert np.abs(image.pixels.astype(int) - RAMP).mean() < 15


@pytest.mark.parametrize("size", [(1, 1), (15, 400), (400, 15)])
def test_too_small(size: tuple[int, int]) -> None:
    assert fault(encode(np.zeros(size, np.uint8), "PNG")).reason == "too-small"
    assert decode_image(encode(np.zeros((16, 16), np.uint8), "PNG"), name="a.png").width_px == 16


@pytest.mark.parametrize("size", [(8001, 8000), (13000, 13000), (60000, 3000)])
def test_too_large_is_refused_before_decoding(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", never)
    error = fault(png_header_only(*size))
    assert error.reason == "too-large"
    assert f"{size[0]} x {size[1]}" in error.detail


def test_large_webp_is_refused_by_its_header() -> None:
    data = bytearray(encode(COLOUR, "WEBP", lossless=True))
    assert data[12:16] == b"VP8L"
    data[21:25] = ((16383 - 1) | (16383 - 1) << 14).to_bytes(4, "little")
    assert fault(bytes(data)).reason == "too-large"
    lossy = bytearray(encode(COLOUR, "WEBP"))
    assert lossy[12:16] == b"VP8 "
    lossy[26:30] = struct.pack("<HH", 16383, 16383)
    assert fault(bytes(lossy)).reason == "too-large"
    extended = encode(np.dstack([COLOUR, NOISE]), "WEBP")
    assert extended[12:16] == b"VP8X"
    grown = extended[:24] + (99_999).to_bytes(3, "little") * 2 + extended[30:]
    assert fault(grown).reason == "too-large"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(kind: str, orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    source = Image.fromarray(np.repeat(RAMP[..., None], 3, axis=2))
    options: dict[str, Any] = {"quality": 100} if kind == "JPEG" else {}
    data = encode(source, kind, exif=exif, **options)
    with Image.open(io.BytesIO(data)) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened).convert("L"))
    image = decode_image(data, name=f"a.{kind.lower()}")
    np.testing.assert_array_equal(image.pixels, expected)
    assert (image.height_px, image.width_px) == ((24, 32) if orientation < 5 else (32, 24))
    assert bool(image.notes) == (orientation != 1)


def test_damaged_exif_is_ignored() -> None:
    data = encode(RAMP, "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x7f" + bytes(9))
    assert decode_image(data, name="a.jpg").notes == ()


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_gray_saved_as_colour_jpeg_is_gray(quality: int) -> None:
    tripled = np.repeat(NOISE[..., None], 3, axis=2)
    image = decode_image(encode(tripled, "JPEG", quality=quality), name="a.jpg")
    assert image.mode == "RGB"
    assert image.gray
    assert image.pixels.ndim == 2


def test_gray_tolerance() -> None:
    base = np.repeat(RNG.integers(20, 200, (100, 100, 1), dtype=np.uint8), 3, axis=2)
    tinted = base.copy()
    tinted[..., 0] += 8
    assert is_gray(tinted)
    tinted[..., 0] += 1
    assert not is_gray(tinted)
    edges = base.copy()
    edges[0, :50, 1] += 30  # 50 of 10,000 pixels
    assert is_gray(edges)
    edges[1, 0, 1] += 30
    assert not is_gray(edges)
    mark = base.copy()
    mark[0, 0] = (200, 100, 100)  # one saturated pixel is a coloured mark
    assert not is_gray(mark)


def test_same_picture_gray_and_colour_has_one_hash() -> None:
    gray = decode_image(encode(NOISE, "PNG"), name="a.png")
    tripled = decode_image(encode(np.repeat(NOISE[..., None], 3, axis=2), "BMP"), name="a.bmp")
    assert pixels_sha256(gray.pixels) == pixels_sha256(tripled.pixels)
    assert pixels_sha256(gray.pixels) != pixels_sha256(gray.pixels.reshape(32, 24))


def test_icc_profile_is_ignored() -> None:
    data = encode(COLOUR, "PNG", icc_profile=b"no profile at all")
    np.testing.assert_array_equal(decode_image(data, name="a.png").pixels, COLOUR)


def test_sixteen_bit_colour_keeps_the_upper_byte() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    values = RNG.integers(0, 65536, (20, 20, 3)).astype(">u2")
    rows = b"".join(b"\x00" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", 20, 20, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    image = decode_image(data, name="a.png")
    np.testing.assert_array_equal(image.pixels, values >> 8)
    assert image.notes == ("depth: RGB of 16 bits a channel, upper 8 bits kept",)


def test_threads_agree_and_no_warning_leaks() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    good = [
        encode(NOISE, "PNG"),
        encode(COLOUR, "JPEG"),
        encode(RAMP, "TIFF"),
        encode(RAMP, "JPEG", exif=exif),
    ]
    animated = bytearray(encode(COLOUR, "PNG", save_all=True, append_images=[Image.fromarray(COLOUR // 2)]))
    place = animated.index(b"acTL")
    animated[place + 4 : place + 8] = bytes(4)  # no frames: Pillow warns
    animated[place + 12 : place + 16] = struct.pack(">I", zlib.crc32(animated[place : place + 12]))
    jobs = [*good, bytes(animated)] * 30
    single = [pixels_sha256(decode_image(data, name="x").pixels) for data in jobs]
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with ThreadPoolExecutor(8) as pool:
            many = list(pool.map(lambda data: pixels_sha256(decode_image(data, name="x").pixels), jobs))
    assert many == single
    assert caught == []
    assert warnings.filters == before
    assert decode._quiet_depth == 0


def test_decode_file_names_what_the_system_says(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encode(NOISE, "PNG"))
    assert decode_file(path).format == "PNG"
    with pytest.raises(ImageFault) as caught:
        decode_file(tmp_path / "absent.png")
    assert caught.value.reason == "unreadable"


def test_giant_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with path.open("wb") as handle:
        handle.truncate(decode.MAX_FILE_BYTES + 1)
    with pytest.raises(ImageFault) as caught:
        decode_file(path)
    assert caught.value.reason == "too-large"


def test_random_bytes_never_raise_anything_else() -> None:
    rng = np.random.default_rng(11)
    kinds = [encode(COLOUR, kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "PPM", "JPEG2000")]
    for turn in range(400):
        data = bytearray(kinds[turn % len(kinds)])
        for place in rng.integers(0, len(data), 6):
            data[place] = rng.integers(0, 256)
        try:
            image = decode_image(bytes(data), name="x.png")
        except ImageFault as error:
            assert error.reason in EXCLUSION_REASONS  # noqa: PT017 (some raise)
        else:
            assert image.pixels.dtype == np.uint8
            assert image.pixels.shape[:2] == (image.height_px, image.width_px)
