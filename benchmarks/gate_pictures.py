"""Pictures that are no scan of the training data's kind: photos, text, screenshots, noise, other modalities.

In: a seed, and for kinds made from scans the scans. Out: pictures by kind, each with the source it came from, so
that several crops of one photo count as one source. `KINDS` says which kinds and photos were looked at while the gate
was designed; the others were kept for one look at the end.
"""

from __future__ import annotations

import gzip
import importlib.util
import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from tumorscope.core.types import Pixels

Sourced = tuple[str, Pixels]
"""Name of the source, and the picture."""
Make = Callable[[np.random.Generator, int, Sequence[Pixels]], Iterator[Sourced]]

DESIGN_PHOTOS = ("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "rocket.jpg", "china.jpg")
FINAL_PHOTOS = (
    "flower.jpg",
    "grace_hopper.jpg",
    "motorcycle_left.png",
    "moon.png",
    "hubble_deep_field.jpg",
    "Minduka_Present_Blue_Pack.png",
    "horse.png",
    "clock_motion.png",
)
TEXTURES = ("brick.png", "grass.png", "gravel.png")
MICROSCOPY = ("ihc.png", "cell.png", "retina.jpg", "microaneurysms.png")


def package_folder(package: str, *parts: str) -> Path:
    """A folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package} is not installed: the benchmark takes sample pictures from it")
    return Path(spec.origin).parent.joinpath(*parts)


@lru_cache
def photo(name: str) -> Image.Image:
    """A sample picture of scikit-image, scikit-learn or matplotlib."""
    folders = (
        package_folder("skimage", "data"),
        package_folder("sklearn", "datasets", "images"),
        package_folder("matplotlib", "mpl-data", "sample_data"),
    )
    path = next(folder / name for folder in folders if (folder / name).is_file())
    with Image.open(path) as image:
        loaded = image.convert("RGBA") if "A" in image.getbands() or image.mode == "P" else image.copy()
    if loaded.mode == "RGBA":
        white = Image.new("RGBA", loaded.size, "white")
        white.alpha_composite(loaded)
        loaded = white.convert("RGB")
    return loaded


def crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A random part of 0.4 to 1.0 of each side, perhaps mirrored, at most 640 px."""
    width, height = (max(24, int(side * rng.uniform(0.4, 1.0))) for side in image.size)
    width, height = min(width, image.width), min(height, image.height)
    left, top = (
        int(rng.integers(0, whole - part + 1)) for whole, part in zip(image.size, (width, height), strict=True)
    )
    part = image.crop((left, top, left + width, top + height))
    part.thumbnail((640, 640))
    return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else part


def crops(names: Sequence[str], mode: str | None = None) -> Make:
    """Random parts of photos in turn, perhaps converted."""

    def make(rng: np.random.Generator, n: int, scans: Sequence[Pixels]) -> Iterator[Sourced]:
        del scans
        for i in range(n):
            name = names[i % len(names)]
            part = crop(photo(name), rng)
            yield name, np.asarray(part.convert(mode) if mode else part.convert("L" if part.mode == "L" else "RGB"))

    return make


def each(draw: Callable[[np.random.Generator], Pixels]) -> Make:
    """One drawn picture a source."""

    def make(rng: np.random.Generator, n: int, scans: Sequence[Pixels]) -> Iterator[Sourced]:
        del scans
        for i in range(n):
            yield str(i), draw(rng)

    return make


def changed(change: Callable[[np.random.Generator, Pixels], Pixels]) -> Make:
    """Changed scans, one a source."""

    def make(rng: np.random.Generator, n: int, scans: Sequence[Pixels]) -> Iterator[Sourced]:
        chosen = rng.permutation(len(scans))[:n]
        for i in chosen.tolist():
            yield str(i), change(rng, scans[i])

    return make


def _pixels(values: NDArray[Any]) -> Pixels:
    """Values cut to 0..255."""
    cut: Pixels = values.clip(0, 255).astype(np.uint8)
    return cut


def _side(rng: np.random.Generator) -> int:
    return int(rng.integers(160, 520))


def _words(rng: np.random.Generator, n: int) -> str:
    letters = np.array(list(string.ascii_lowercase))
    return " ".join("".join(rng.choice(letters, int(rng.integers(2, 10)))) for _ in range(n))


def _font(size: int, name: str = "DejaVuSans.ttf") -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(package_folder("matplotlib", "mpl-data", "fonts", "ttf", name)), size)


def text_page(rng: np.random.Generator) -> Pixels:
    """Black lines of words on paper."""
    width = _side(rng) + 200
    image = Image.new("L", (width, int(width * rng.uniform(0.8, 1.5))), int(rng.integers(225, 256)))
    draw = ImageDraw.Draw(image)
    size = int(rng.integers(9, 26))
    margin = int(rng.integers(8, 50))
    font = _font(size, ("DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf")[int(rng.integers(3))])
    y = margin
    while y < image.height - margin - size:
        if rng.random() < 0.88:
            draw.text(
                (margin, y), _words(rng, 30)[: int((width - 2 * margin) / size * 1.9)], int(rng.integers(0, 70)), font
            )
        y += int(size * 1.35)
    return np.asarray(image)


def white_on_black(rng: np.random.Generator) -> Pixels:
    """A slide, or a scanner's text page: a few bright words on black."""
    width, height = _side(rng) + 100, _side(rng) + 60
    image = Image.new("L", (width, height), int(rng.integers(0, 16)))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(3, 14))):
        place = (int(rng.integers(0, width // 2)), int(rng.integers(0, height - 20)))
        draw.text(
            place, _words(rng, int(rng.integers(1, 5))), int(rng.integers(150, 256)), _font(int(rng.integers(11, 34)))
        )
    return np.asarray(image)


def plot(rng: np.random.Generator) -> Pixels:
    """A figure with axes: lines, bars, points, a histogram or a picture with a colour bar."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(rng.uniform(3, 5), rng.uniform(2.5, 4)), dpi=80)
    axes = figure.subplots()
    kind, x = int(rng.integers(5)), np.linspace(0, 1, 60)
    if kind == 0:
        for _ in range(int(rng.integers(1, 5))):
            axes.plot(x, np.cumsum(rng.normal(size=60)))
    elif kind == 1:
        axes.bar(np.arange(8), rng.random(8))
    elif kind == 2:
        axes.scatter(rng.random(80), rng.random(80), s=12)
    elif kind == 3:
        axes.hist(rng.normal(size=500), bins=20)
    else:
        figure.colorbar(axes.imshow(rng.random((8, 8))))
    axes.set_title(_words(rng, 3))
    axes.set_xlabel(_words(rng, 2))
    memory = BytesIO()
    figure.savefig(memory, format="png")
    return np.asarray(Image.open(memory).convert("RGB"))


def blank(rng: np.random.Generator) -> Pixels:
    """One level, at times with a little noise."""
    side, level = _side(rng), float(rng.choice([0, 0, 255, rng.uniform(0, 255)]))
    return (
        (np.full((side, side), level) + rng.normal(0, rng.choice([0, 2]), (side, side))).clip(0, 255).astype(np.uint8)
    )


def gradient(rng: np.random.Generator) -> Pixels:
    """Brightness that rises along a line or from a point."""
    side = _side(rng)
    y, x = np.mgrid[0:side, 0:side] / side
    if rng.random() < 0.5:
        angle = rng.uniform(0, 2 * np.pi)
        ramp = x * np.cos(angle) + y * np.sin(angle)
    else:
        ramp = np.hypot(x - rng.random(), y - rng.random())
    ramp = (ramp - ramp.min()) / (ramp.max() - ramp.min())
    return _pixels(ramp * 255)


def white_noise(rng: np.random.Generator) -> Pixels:
    """Independent pixels, gray or coloured."""
    side = _side(rng)
    shape = (side, side) if rng.random() < 0.7 else (side, side, 3)
    return rng.integers(0, 256, shape, dtype=np.uint8)


def clouds(rng: np.random.Generator) -> Pixels:
    """Noise whose power falls with frequency, as in clouds and speckle."""
    side = 256
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    frequency[0, 0] = 1
    spectrum = np.fft.fft2(rng.normal(size=(side, side))) / frequency ** rng.uniform(0.5, 1.8)
    field = np.real(np.fft.ifft2(spectrum))
    field = (field - field.mean()) / field.std()
    return _pixels(field * rng.uniform(25, 60) + rng.uniform(60, 180))


def shapes(rng: np.random.Generator) -> Pixels:
    """Drawn rectangles, circles and lines in gray."""
    side = _side(rng)
    image = Image.new("L", (side, side), int(rng.choice(np.array([0, 255, int(rng.integers(0, 256))]))))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(2, 9))):
        a, b = np.sort(rng.integers(0, side, (2, 2)), axis=0)
        box = (int(a[0]), int(a[1]), int(b[0]) + 2, int(b[1]) + 2)
        level = int(rng.integers(0, 256))
        (draw.rectangle, draw.ellipse)[int(rng.integers(2))](
            box, fill=level if rng.random() < 0.7 else None, outline=level
        )
    return np.asarray(image)


def checkers(rng: np.random.Generator) -> Pixels:
    """Checkerboards and stripes, such as test charts and codes."""
    side, cell = _side(rng), int(rng.integers(4, 40))
    y, x = np.mgrid[0:side, 0:side] // cell
    pattern = [(x + y) % 2, x % 2, y % 2, rng.integers(0, 2, (side // cell + 1, side // cell + 1))[y, x]]
    return _pixels(pattern[int(rng.integers(4))] * 255)


def modified_shepp_logan(rng: np.random.Generator) -> Pixels:
    """The head phantom of tomography (Shepp and Logan 1974, contrast of Toft 1996), moved and stretched a little."""
    ellipses = (
        (1.0, 0.69, 0.92, 0.0, 0.0, 0),
        (-0.8, 0.6624, 0.874, 0.0, -0.0184, 0),
        (-0.2, 0.11, 0.31, 0.22, 0.0, -18),
        (-0.2, 0.16, 0.41, -0.22, 0.0, 18),
        (0.1, 0.21, 0.25, 0.0, 0.35, 0),
        (0.1, 0.046, 0.046, 0.0, 0.1, 0),
        (0.1, 0.046, 0.046, 0.0, -0.1, 0),
        (0.1, 0.046, 0.023, -0.08, -0.605, 0),
        (0.1, 0.023, 0.023, 0.0, -0.606, 0),
        (0.1, 0.023, 0.046, 0.06, -0.605, 0),
    )
    side = 256
    zoom, dx, dy = rng.uniform(0.85, 1.15), rng.uniform(-0.08, 0.08), rng.uniform(-0.05, 0.05)
    y, x = np.mgrid[1 : -1 : side * 1j, -1 : 1 : side * 1j]
    x, y = (x + dx) * zoom * rng.uniform(0.93, 1.07), (y + dy) * zoom
    image = np.zeros((side, side))
    for value, a, b, x0, y0, degrees in ellipses:
        turn = np.deg2rad(degrees)
        u, v = (x - x0) * np.cos(turn) + (y - y0) * np.sin(turn), (y - y0) * np.cos(turn) - (x - x0) * np.sin(turn)
        image[(u / a) ** 2 + (v / b) ** 2 <= 1] += value
    return _pixels(image * 255)


def chest_like(rng: np.random.Generator) -> Pixels:
    """A rough chest radiograph: bright body to the edges, two dark lungs, ribs, spine, heart. Simulated."""
    side = 256
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    body = 150 + 40 * (1 - x**2) + rng.normal(0, 5, (side, side))
    lungs = np.zeros((side, side))
    for sign in (-1, 1):
        cx, w, h = sign * rng.uniform(0.36, 0.46), rng.uniform(0.24, 0.32), rng.uniform(0.55, 0.7)
        lungs += np.exp(-((((x - cx) / w) ** 2 + ((y + 0.1) / h) ** 2) ** 2))
    ribs = 14 * np.sin(rng.uniform(18, 26) * (y + 0.5 * x**2))
    heart = 55 * np.exp(-((((x - 0.12) / 0.25) ** 2 + ((y - 0.25) / 0.3) ** 2) ** 2))
    spine = 45 * np.exp(-((x / 0.09) ** 2))
    image = body - lungs * (105 + ribs) + heart + spine
    image[np.abs(x) > 0.97 - 0.1 * np.maximum(0, -y - 0.5)] = rng.uniform(0, 30)
    return np.asarray(Image.fromarray(image.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1)))


def abdomen_like(rng: np.random.Generator) -> Pixels:
    """A rough abdominal CT slice: flat oval body with a bright rim, spine, liver, air. Simulated."""
    side = 256
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    a, b = rng.uniform(0.82, 0.95), rng.uniform(0.55, 0.7)
    inside = (x / a) ** 2 + (y / b) ** 2
    image = np.where(inside < 1, 95, 5) + np.where((inside < 0.8), 45, 0)
    for value, cx, cy, w, h in (
        (35, -0.4, -0.1, 0.35, 0.3),
        (110, 0, 0.35, 0.12, 0.14),
        (-120, 0.3, -0.25, 0.16, 0.1),
        (30, 0.5, 0.1, 0.15, 0.2),
    ):
        moved_x, moved_y = x - cx - rng.normal(0, 0.04), y - cy - rng.normal(0, 0.03)
        image = image + value * ((moved_x / w) ** 2 + (moved_y / h) ** 2 < 1) * (inside < 0.8)
    image = image + rng.normal(0, 6, image.shape)
    return np.asarray(Image.fromarray(image.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1.2)))


def inverted(rng: np.random.Generator, scan: Pixels) -> Pixels:
    """Black and white exchanged."""
    del rng
    return 255 - scan


def in_a_window(rng: np.random.Generator, scan: Pixels) -> Pixels:
    """A screenshot of a viewer: bars, buttons and words around the scan, light or dark."""
    inner = Image.fromarray(scan).convert("RGB").resize((300, 300))
    left, top = int(rng.integers(60, 200)), int(rng.integers(40, 90))
    right, bottom = int(rng.integers(20, 160)), int(rng.integers(20, 70))
    light = rng.random() < 0.5
    back, ink = ((235, 236, 240), (20, 20, 20)) if light else ((45, 48, 54), (220, 220, 220))
    image = Image.new("RGB", (300 + left + right, 300 + top + bottom), back)
    draw = ImageDraw.Draw(image)
    bar = rng.integers(0, 200, 3)
    draw.rectangle((0, 0, image.width, 22), fill=(int(bar[0]), int(bar[1]), int(bar[2])))
    draw.text((6, 4), _words(rng, 4), (250, 250, 250), _font(12))
    for y in range(40, image.height - 20, 24):
        draw.rectangle((6, y, left - 12, y + 17), outline=ink)
        draw.text((10, y + 2), _words(rng, 2)[: left // 9], ink, _font(11))
    draw.text((left, image.height - bottom + 3), _words(rng, 6), ink, _font(11))
    image.paste(inner, (left, top))
    return np.asarray(image)


def montage(rng: np.random.Generator, scan: Pixels) -> Pixels:
    """A film sheet: the same head twelve times, mirrored and shifted, with white lines between."""
    tile = Image.fromarray(scan).convert("L").resize((96, 96))
    rows, columns = int(rng.integers(2, 5)), int(rng.integers(3, 6))
    image = Image.new("L", (columns * 100, rows * 100), int(rng.choice([0, 255])))
    for i in range(rows * columns):
        one = tile.rotate(float(rng.normal(0, 6)))
        image.paste(one, (i % columns * 100 + 2, i // columns * 100 + 2))
    return np.asarray(image)


def false_colours(rng: np.random.Generator, scan: Pixels) -> Pixels:
    """A scan drawn in a colour scale, as heatmaps and perfusion maps are."""
    from matplotlib import colormaps

    gray = np.asarray(Image.fromarray(scan).convert("L"))
    name = ("jet", "hot", "viridis", "inferno")[int(rng.integers(4))]
    coloured: NDArray[np.float64] = colormaps[name](gray)[..., :3]
    return _pixels(coloured * 255)


def photographed(rng: np.random.Generator, scan: Pixels) -> Pixels:
    """A scan photographed from a screen: turned, small, on a bright wall, with a tint and a gradient."""
    inner = (
        Image.fromarray(scan)
        .convert("RGB")
        .resize((220, 220))
        .rotate(float(rng.uniform(-20, 20)), expand=True, fillcolor=(200, 196, 188))
    )
    image = Image.new("RGB", (420, 360), (200, 196, 188))
    image.paste(inner, (int(rng.integers(0, 420 - inner.width)), int(rng.integers(0, 360 - inner.height))))
    light = np.linspace(rng.uniform(0.6, 0.8), 1.1, 420)[None, :, None]
    tint = np.array([1.0, rng.uniform(0.9, 1.0), rng.uniform(0.75, 0.95)])
    return _pixels(np.asarray(image) * light * tint)


def turned(rng: np.random.Generator, scan: Pixels) -> Pixels:
    """A quarter turn."""
    return np.ascontiguousarray(np.rot90(scan, int(rng.choice([1, 3]))))


def upside_down(rng: np.random.Generator, scan: Pixels) -> Pixels:
    """A half turn."""
    del rng
    return np.ascontiguousarray(np.rot90(scan, 2))


def blurred(rng: np.random.Generator, scan: Pixels) -> Pixels:
    """Out of focus by a twentieth of the shorter side."""
    del rng
    return np.asarray(Image.fromarray(scan).filter(ImageFilter.GaussianBlur(min(scan.shape[:2]) / 20)))


def noisy(rng: np.random.Generator, scan: Pixels) -> Pixels:
    """Strong noise, standard deviation 50 of 255."""
    return _pixels(scan + rng.normal(0, 50, scan.shape))


def faces(rng: np.random.Generator, n: int, scans: Sequence[Pixels]) -> Iterator[Sourced]:
    """Faces of 25 x 25 pixels (Labeled Faces in the Wild, the half of scikit-image's subset that holds faces)."""
    del scans
    images = np.load(package_folder("skimage", "data") / "lfw_subset.npy")[:100]
    for i in rng.permutation(100)[:n].tolist():
        yield str(i), (images[i] * 255).clip(0, 255).astype(np.uint8)


def pages(rng: np.random.Generator, n: int, scans: Sequence[Pixels]) -> Iterator[Sourced]:
    """Parts of two scanned pages."""
    return crops(("page.png", "text.png"), "L")(rng, n, scans)


def screenshots(rng: np.random.Generator, n: int, scans: Sequence[Pixels]) -> Iterator[Sourced]:
    """Web pages in Chromium: headings, paragraphs, tables, buttons; light and dark."""
    del scans
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium")
        page = browser.new_page(viewport={"width": 900, "height": 640})
        for i in range(n):
            dark = rng.random() < 0.4
            cells = "".join(f"<td>{_words(rng, 1)}</td>" * 4 + "</tr><tr>" for _ in range(int(rng.integers(0, 8))))
            colours = "background:#15171a;color:#ddd" if dark else "background:#fff;color:#222"
            page.set_content(
                f"<body style='font:{int(rng.integers(11, 20))}px sans-serif;"
                f"margin:{int(rng.integers(0, 60))}px;{colours}'>"
                f"<h1>{_words(rng, 3)}</h1><p>{_words(rng, int(rng.integers(10, 200)))}</p>"
                f"<button>{_words(rng, 1)}</button><table border=1><tr>{cells}</tr></table></body>"
            )
            yield str(i), np.asarray(Image.open(BytesIO(page.screenshot())).convert("RGB"))
        browser.close()


def dicom(wanted: Callable[[str, str], bool]) -> Make:
    """Pydicom's test slices of the wanted modality and body part, at random windows, each several times."""

    def make(rng: np.random.Generator, n: int, scans: Sequence[Pixels]) -> Iterator[Sourced]:
        del scans
        import pydicom

        folder = package_folder("pydicom", "data", "test_files")
        names = {
            "693_J2KI.dcm": ("CT", "body"),
            "CT_small.dcm": ("CT", "body"),
            "J2K_pixelrep_mismatch.dcm": ("CT", "head"),
            "JPEG2000.dcm": ("NM", "whole body"),
            "examples_jpeg2k.dcm": ("US", ""),
            "examples_palette.dcm": ("US", "heart"),
            "examples_rgb_color.dcm": ("US", "heart"),
            "examples_overlay.dcm": ("MR", "abdomen"),
        }
        chosen = [name for name, facts in names.items() if wanted(*facts)]
        slices = {}
        for name in chosen:
            array: NDArray[Any] = pydicom.dcmread(folder / name).pixel_array
            slices[name] = array
        for i in range(n):
            name = chosen[i % len(chosen)]
            array = slices[name]
            if array.ndim == 2 and array.dtype != np.uint8:
                low, high = np.percentile(array, [rng.uniform(0, 20), rng.uniform(97, 99.8)])
                array = ((array - low) / max(high - low, 1) * 255).clip(0, 255).astype(np.uint8)
            yield name, np.asarray(crop(Image.fromarray(array), rng) if i >= len(chosen) else Image.fromarray(array))

    return make


def one_mri(rng: np.random.Generator, n: int, scans: Sequence[Pixels]) -> Iterator[Sourced]:
    """Matplotlib's sample: one axial brain MRI slice of another scanner, at windows of its own."""
    del scans
    path = package_folder("matplotlib", "mpl-data", "sample_data") / "s1045.ima.gz"
    array = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint16).reshape(256, 256)
    for _ in range(n):
        high = np.percentile(array, rng.uniform(98, 99.9))
        yield "s1045", (array / high * 255).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Kind:
    """One kind of picture.

    Attributes:
        title: For the table.
        make: Gives pictures.
        n: How many.
        final: True if it was not looked at while the gate was designed.
        counted: False for what is a scan of the right kind in an odd state: reported, not counted.
    """

    title: str
    make: Make
    n: int = 100
    final: bool = False
    counted: bool = True


KINDS: tuple[Kind, ...] = (
    Kind("photos, colour", crops(DESIGN_PHOTOS), 140),
    Kind("photos, gray", crops(DESIGN_PHOTOS, "L"), 140),
    Kind("text pages, drawn", each(text_page)),
    Kind("plots", each(plot), 60),
    Kind("blank", each(blank)),
    Kind("gradients", each(gradient)),
    Kind("white noise", each(white_noise)),
    Kind("scan in a viewer's window", changed(in_a_window)),
    Kind("inverted scan", changed(inverted)),
    Kind("head phantom of CT (Shepp-Logan, simulated)", each(modified_shepp_logan)),
    Kind("other photos, colour", crops(FINAL_PHOTOS), 160, final=True),
    Kind("other photos, gray", crops(FINAL_PHOTOS, "L"), 160, final=True),
    Kind("textures: brick, grass, gravel", crops(TEXTURES), 90, final=True),
    Kind("faces, 25 px", faces, 100, final=True),
    Kind("microscopy and eye grounds", crops(MICROSCOPY), 100, final=True),
    Kind("microscopy and eye grounds, gray", crops(MICROSCOPY, "L"), 100, final=True),
    Kind("scanned pages", pages, 60, final=True),
    Kind("web pages in Chromium", screenshots, 60, final=True),
    Kind("white words on black", each(white_on_black), final=True),
    Kind("drawn shapes", each(shapes), final=True),
    Kind("checkerboards and stripes", each(checkers), final=True),
    Kind("clouds (1/f noise)", each(clouds), final=True),
    Kind("chest radiograph (simulated)", each(chest_like), final=True),
    Kind("abdominal CT (simulated)", each(abdomen_like), final=True),
    Kind("film sheet of scans", changed(montage), final=True),
    Kind("scan in false colours", changed(false_colours), final=True),
    Kind("scan photographed from a screen", changed(photographed), final=True),
    Kind("scan, quarter turn", changed(turned), final=True, counted=False),
    Kind("scan, upside down", changed(upside_down), final=True, counted=False),
    Kind("scan, blurred", changed(blurred), final=True, counted=False),
    Kind("scan, strong noise", changed(noisy), final=True, counted=False),
)
"""What is asked of every model; `benchmarks.gate` adds the other real set and DICOM samples of other modalities."""
