"""From head space to pixels: slice planes, tissue contrast, and the faults of a scanner.

Contrast tables are a sketch of how T1, T1 with contrast agent, T2 and FLAIR look. Noise is Rician
(Gudbjartsson and Patz, 1995): the magnitude of a complex signal with Gaussian noise in both parts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.types import Pixels
from tumorscope.data.phantom.fields import Array, Points

PLANES: tuple[str, ...] = ("axial", "coronal", "sagittal")
NORMAL_AXIS = {"axial": 2, "coronal": 1, "sagittal": 0}

_NAMES = (
    *("muscle", "fat", "bone", "marrow", "dura", "csf", "gm", "wm", "vein", "artery"),
    *("oedema", "necrosis", "solid", "solid_dural", "enhanced", "enhanced_gland"),
)
_TABLE: dict[str, tuple[float, ...]] = {
    "t1": (0.34, 0.92, 0.05, 0.55, 0.30, 0.13, 0.44, 0.62, 0.22, 0.15, 0.36, 0.20, 0.32, 0.33, 0.33, 0.70),
    "t1c": (0.38, 0.90, 0.05, 0.50, 0.62, 0.13, 0.43, 0.55, 0.72, 0.62, 0.35, 0.20, 0.36, 0.46, 0.98, 0.86),
    "t2": (0.25, 0.72, 0.05, 0.40, 0.20, 0.97, 0.60, 0.40, 0.16, 0.05, 0.86, 0.92, 0.80, 0.78, 0.84, 0.84),
    "flair": (0.28, 0.60, 0.05, 0.35, 0.25, 0.08, 0.60, 0.44, 0.22, 0.08, 0.92, 0.40, 0.82, 0.84, 0.90, 0.84),
}
CONTRASTS: tuple[str, ...] = tuple(_TABLE)
CONTRAST_SHARES = (0.02, 0.88, 0.04, 0.06)
PLANE_SHARES = (0.6, 0.2, 0.2)


@dataclass(frozen=True)
class Scanner:
    """How one patient was scanned; every slice shares it.

    Attributes:
        plane: "axial", "coronal" or "sagittal".
        contrast: Key of the contrast table.
        tissue: Brightness of each tissue, jittered for this patient.
        tilt: Rotation of the head about x, y, z, radians.
        shift: Offset of the head in the picture, head units (across, down).
        view: Half width of the picture in head units: large makes a small head.
        stretch: Size factor of the head along x, y, z.
        noise: Standard deviation of the noise before the magnitude.
        blur: Sigma of the point spread in pixels of a 128-pixel picture.
        coarse: Acquired pixels for each pixel of the picture, at most 1.
        bias: (5,) coefficients of the log bias field.
        ghost: Strength of motion ghosts; 0 for a patient who lay still.
        ghost_step: Distance of the ghosts, as a share of the picture.
        gamma: Exponent of the display curve.
        top: Grey level, 0..1, that the 99.5 per cent quantile of the picture is shown at.
        floor: Grey level of air.
    """

    plane: str
    contrast: str
    tissue: dict[str, float]
    tilt: tuple[float, float, float]
    shift: tuple[float, float]
    view: float
    stretch: tuple[float, float, float]
    noise: float
    blur: float
    coarse: float
    bias: tuple[float, ...]
    ghost: float
    ghost_step: float
    gamma: float
    top: float
    floor: float


def draw_scanner(rng: np.random.Generator) -> Scanner:
    """A random scanner setting; nothing in it depends on the class."""
    contrast = str(rng.choice(CONTRASTS, p=CONTRAST_SHARES))
    jitter = np.exp(rng.normal(0, 0.05, len(_NAMES)))
    tissue = {n: float(v * j) for n, v, j in zip(_NAMES, _TABLE[contrast], jitter, strict=True)}
    tissue["fat"] *= float(rng.uniform(0.3, 0.85))
    sx, sy, sz = np.exp(rng.normal(0, 0.035, 3))
    tx, ty, tz = rng.normal(0, 0.06, 3)
    return Scanner(
        plane=str(rng.choice(PLANES, p=PLANE_SHARES)),
        contrast=contrast,
        tissue=tissue,
        tilt=(float(tx), float(ty), float(tz)),
        shift=(float(rng.normal(0, 0.035)), float(rng.normal(0, 0.035))),
        view=float(rng.uniform(1.03, 1.22)),
        stretch=(float(sx), float(sy), float(sz)),
        noise=float(np.exp(rng.uniform(np.log(0.008), np.log(0.038)))),
        blur=float(rng.uniform(0.25, 0.85)),
        coarse=float(rng.uniform(0.6, 1.0)),
        bias=tuple(float(v) for v in rng.normal(0, 0.11, 5)),
        ghost=float(rng.uniform(0.04, 0.13)) if rng.random() < 0.2 else 0.0,
        ghost_step=float(rng.uniform(0.06, 0.3)),
        gamma=float(rng.uniform(0.85, 1.25)),
        top=float(rng.uniform(0.65, 1.0)),
        floor=float(rng.uniform(0.0, 0.04)),
    )


def slice_points(scanner: Scanner, *, offset: float, size_px: int) -> Points:
    """Head-space position of each pixel of the slice at `offset` along the plane's normal, (size, size) each.

    Axial and coronal pictures show the patient's right on the left; sagittal ones look to the right.
    """
    ticks = ((np.arange(size_px, dtype=np.float32) + 0.5) / size_px * 2 - 1) * np.float32(scanner.view)
    across = ticks[None, :] - np.float32(scanner.shift[0]) + np.zeros((size_px, 1), np.float32)
    down = ticks[:, None] - np.float32(scanner.shift[1]) + np.zeros((1, size_px), np.float32)
    level = np.full_like(across, offset)
    if scanner.plane == "axial":
        x, y, z = across, -down - np.float32(0.02), level
    elif scanner.plane == "coronal":
        x, y, z = across, level, -down - np.float32(0.05)
    else:
        x, y, z = level, across - np.float32(0.02), -down - np.float32(0.05)
    # Turn about the point of the slice that the lesion's offset is measured on.
    turn = _rotation(scanner)
    pivot = np.zeros(3, np.float32)
    pivot[NORMAL_AXIS[scanner.plane]] = offset
    flat = np.stack([x.ravel(), y.ravel(), z.ravel()]) - pivot[:, None]
    turned = turn.astype(np.float32) @ flat + pivot[:, None]
    px, py, pz = (
        np.ascontiguousarray(t.reshape(x.shape) * np.float32(1 / s))
        for t, s in zip(turned, scanner.stretch, strict=True)
    )
    return Points(px, py, pz)


def offset_through(scanner: Scanner, centre: tuple[float, float, float]) -> float:
    """Offset of the slice whose plane holds `centre`, a point in head space."""
    axis = NORMAL_AXIS[scanner.plane]
    normal = _rotation(scanner)[:, axis]
    return float(normal @ (np.array(centre) * np.array(scanner.stretch)) / normal[axis])


def _rotation(scanner: Scanner) -> NDArray[np.float64]:
    a, b, c = scanner.tilt
    return _turn(a, 1, 2) @ _turn(b, 0, 2) @ _turn(c, 0, 1)


def _turn(angle: float, i: int, j: int) -> NDArray[np.float64]:
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = np.cos(angle)
    matrix[i, j], matrix[j, i] = -np.sin(angle), np.sin(angle)
    return matrix


def acquire(scanner: Scanner, picture: Array, *, rng: np.random.Generator) -> Pixels:
    """The 8-bit image a scanner would store for `picture`.

    Args:
        scanner: The patient's setting.
        picture: (H, H) float32, tissue brightness about 0..1.
        rng: Noise of this slice.

    Returns:
        (H, H) uint8.
    """
    from scipy import ndimage

    size = picture.shape[0]
    u = np.linspace(-1, 1, size, dtype=np.float32)[None, :]
    v = np.linspace(-1, 1, size, dtype=np.float32)[:, None]
    b = scanner.bias
    field = np.exp(b[0] * u + b[1] * v + b[2] * u * v + b[3] * (u * u - 0.33) + b[4] * (v * v - 0.33))
    signal = ndimage.gaussian_filter(picture, scanner.blur * size / 128, mode="nearest")
    fewer = max(32, round(size * scanner.coarse))
    if fewer < size:
        signal = ndimage.zoom(signal, fewer / size, order=1, mode="nearest", grid_mode=True)
    if scanner.ghost:
        shift = max(1, round(scanner.ghost_step * fewer))
        signal = signal + np.float32(scanner.ghost) * (np.roll(signal, shift, 0) + np.roll(signal, -shift, 0))
    grain = rng.standard_normal((2, *signal.shape), dtype=np.float32) * np.float32(scanner.noise)
    signal = np.hypot(signal + grain[0], grain[1])
    if fewer < size:
        signal = ndimage.zoom(signal, size / fewer, order=1, mode="nearest", grid_mode=True)
    signal = signal.astype(np.float32) * field
    high = float(np.quantile(signal, 0.995))
    shown = np.clip(signal / max(high, 1e-3), 0, 1.2) ** scanner.gamma * scanner.top
    grey = scanner.floor + (1 - scanner.floor) * shown
    pixels: Pixels = np.clip(np.rint(grey * 255), 0, 255).astype(np.uint8)
    return pixels
