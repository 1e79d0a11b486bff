"""One lesion: where it grows, how it pushes, how it looks.

Glioma lies inside the brain, ragged, with oedema and often a dead core in an enhancing ring. Meningioma grows
from the dura, even and well outlined, with a fluid cleft and a dural tail. Pituitary tumours are small, round
and sit in the sella. Radii, places and shares are a sketch of textbook descriptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tumorscope.data.phantom.anatomy import (
    CRANIUM,
    CRANIUM_AXES,
    SELLA,
    SOFT,
    Depths,
    base_height,
    cranial_depth,
)
from tumorscope.data.phantom.fields import Array, Noise, Points, ball, band_noise, blend, ramp

Centre = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Lesion:
    """One tumour, or the place where slices are taken in a head without one.

    Attributes:
        label: Class name.
        centre: Position in head space.
        radius: Mean radius in head units (0.1 is about 9 mm).
        axes: Stretch of each axis.
        ragged: Amplitude of the outline's noise, relative to the radius.
        outline: Noise of the outline.
        uptake: Brightness of the enhancing part, 0 none .. 1 full.
        core: Depth at which the dead or cystic core starts, relative to the radius; 1 for no core.
        oedema: Reach of the swelling around it, in head units; 0 for none.
        push: How far neighbouring tissue is moved, relative to the radius.
        anchor: Point on the dura that a meningioma grows from; None for the others.
        midline: Side (-1, 1) that a tumour on the falx keeps to; 0 for no such limit.
    """

    label: str
    centre: Centre
    radius: float
    axes: Centre
    ragged: float
    outline: Noise
    uptake: float
    core: float
    oedema: float
    push: float
    anchor: Centre | None = None
    midline: float = 0.0


@dataclass(frozen=True, eq=False)
class _Scene:
    """What the painters share; `image` is changed."""

    lesion: Lesion
    points: Points
    depths: Depths
    image: Array
    tissue: Mapping[str, float]
    noise: Array
    depth: Array
    inside: Array


def draw_lesion(rng: np.random.Generator, *, label: str) -> Lesion:
    """A random lesion of class `label`; for "notumor" a place drawn like those of the three others."""
    kind = str(rng.choice(["glioma", "meningioma", "pituitary"])) if label == "notumor" else label
    make = {"glioma": _glioma, "meningioma": _meningioma, "pituitary": _pituitary}[kind]
    return make(rng, label)


def _point(at: Centre) -> Points:
    x, y, z = (np.array([v], np.float32) for v in at)
    return Points(x, y, z)


def _stretch(rng: np.random.Generator, spread: float) -> Centre:
    a, b, c = np.exp(rng.normal(0, spread, 3))
    return float(a), float(b), float(c)


def _glioma(rng: np.random.Generator, label: str) -> Lesion:
    radius = float(rng.uniform(0.17, 0.29))
    while True:
        at = (
            float(rng.uniform(0.17, 0.46)),
            float(rng.uniform(-0.55, 0.52)),
            float(rng.uniform(-0.18, 0.50)),
        )
        depth = float(cranial_depth(_point(at))[0])
        if depth > 0.75 * radius + 0.05:
            break
    side = float(rng.choice([-1.0, 1.0]))
    high_grade = rng.random() < 0.93
    return Lesion(
        label=label,
        centre=(side * at[0], at[1], at[2]),
        radius=radius,
        axes=_stretch(rng, 0.15),
        ragged=float(rng.uniform(0.20, 0.36)),
        outline=band_noise(rng, cells=32, wavelength=1.6 * radius + 0.12, spread=0.45),
        uptake=float(rng.uniform(0.85, 1.0)) if high_grade else float(rng.uniform(0.0, 0.15)),
        core=float(rng.uniform(0.2, 0.36)) if high_grade else 1.0,
        oedema=float(rng.uniform(0.10, 0.24)) if high_grade else float(rng.uniform(0.02, 0.08)),
        push=float(rng.uniform(0.15, 0.45)),
    )


def _meningioma(rng: np.random.Generator, label: str) -> Lesion:
    radius = float(rng.uniform(0.17, 0.28))
    side = float(rng.choice([-1.0, 1.0]))
    place = rng.random()
    midline = 0.0
    if place < 0.20:  # falx
        ax, ay, az = 0.0, float(rng.uniform(-0.55, 0.6)), float(rng.uniform(0.30, 0.55))
        inward = np.array([side, 0.0, 0.0])
        midline = side
    elif place < 0.35:  # floor of the front or middle fossa
        ax, ay = side * float(rng.uniform(0.14, 0.34)), float(rng.uniform(0.42, 0.60))
        if rng.random() < 0.5:
            ax, ay = side * float(rng.uniform(0.32, 0.44)), float(rng.uniform(0.04, 0.24))
        az = float(base_height(_point((ax, ay, 0.0)))[0])
        inward = np.array([-0.3 * side, 0.0, 1.0]) / np.hypot(0.3, 1.0)
    else:  # convexity, or the back of the head below the tent
        polar, turn = float(rng.uniform(-0.05, 0.85)), float(rng.uniform(-0.45, 0.45))
        if place < 0.45:
            polar, turn = float(rng.uniform(-0.50, -0.35)), float(rng.uniform(-0.35, -0.15))
        flat = np.sqrt(1 - polar * polar)
        direction = np.array([side * flat * np.cos(np.pi * turn), flat * np.sin(np.pi * turn), polar])
        ax, ay, az = (float(v) for v in np.array(CRANIUM) + direction * np.array(CRANIUM_AXES))
        inward = -direction / np.array(CRANIUM_AXES)
        inward /= np.linalg.norm(inward)
    anchor = (ax, ay, az)
    reach = float(rng.uniform(0.3, 0.75)) * radius
    x, y, z = (float(a + reach * d) for a, d in zip(anchor, inward, strict=True))
    return Lesion(
        label=label,
        centre=(x, y, z),
        radius=radius,
        axes=_stretch(rng, 0.08),
        ragged=float(rng.uniform(0.03, 0.09)),
        outline=band_noise(rng, cells=32, wavelength=0.45, spread=0.4),
        uptake=float(rng.uniform(0.8, 1.0)),
        core=1.0,
        oedema=float(rng.uniform(0.05, 0.14)) if rng.random() < 0.3 else 0.0,
        push=float(rng.uniform(0.25, 0.55)),
        anchor=anchor,
        midline=midline,
    )


def _pituitary(rng: np.random.Generator, label: str) -> Lesion:
    radius = float(rng.uniform(0.105, 0.175))
    x, y, z = SELLA
    return Lesion(
        label=label,
        centre=(x + float(rng.normal(0, 0.012)), y + float(rng.normal(0, 0.012)), z + 0.45 * radius),
        radius=radius,
        axes=(1.0, 0.9, float(rng.uniform(0.95, 1.35))),
        ragged=float(rng.uniform(0.03, 0.10)),
        outline=band_noise(rng, cells=32, wavelength=0.3, spread=0.4),
        uptake=float(rng.uniform(0.75, 1.0)),
        core=float(rng.uniform(0.3, 0.6)) if rng.random() < 0.12 else 1.0,
        oedema=0.0,
        push=float(rng.uniform(0.1, 0.3)),
    )


def displace(lesion: Lesion, points: Points) -> Points:
    """Where the tissue seen at `points` was before the lesion pushed it; bone does not move."""
    if lesion.label == "notumor":
        return points
    dx, dy, dz = (p - np.float32(c) for p, c in zip(points, lesion.centre, strict=True))
    far = (dx * dx + dy * dy + dz * dz) / np.float32((1.7 * lesion.radius) ** 2)
    pull = np.float32(lesion.push) * np.exp(-far) * np.clip(cranial_depth(points) / np.float32(0.10), 0, 1)
    return Points(points.x - pull * dx, points.y - pull * dy, points.z - pull * dz)


def paint_lesion(lesion: Lesion, points: Points, depths: Depths, image: Array, tissue: Mapping[str, float]) -> Array:
    """Draw the lesion into `image` in place.

    Args:
        lesion: What to draw.
        points: Where each pixel lies, not displaced.
        depths: Depth fields of the head at the displaced points.
        image: Picture of the head; changed.
        tissue: Brightness of each tissue.

    Returns:
        Weight of the tumour in each pixel, 0..1, without its oedema; all zero for "notumor".
    """
    if lesion.label == "notumor":
        return np.zeros_like(image)
    r = lesion.radius
    ax, ay, az = (r * a for a in lesion.axes)
    noise = lesion.outline.at(points)
    scene = _Scene(
        lesion=lesion,
        points=points,
        depths=depths,
        image=image,
        tissue=tissue,
        noise=noise,
        depth=ball(points, lesion.centre, (ax, ay, az)) + np.float32(lesion.ragged * r) * noise,
        inside=ramp(depths.brain, SOFT),
    )
    return {"glioma": _paint_glioma, "meningioma": _paint_meningioma, "pituitary": _paint_pituitary}[lesion.label](
        scene
    )


def _paint_pituitary(s: _Scene) -> Array:
    """In and above the sella; it may sink into the air space below."""
    lesion, points, depth, image, tissue = s.lesion, s.points, s.depth, s.image, s.tissue
    r = lesion.radius
    body = ramp(depth, SOFT)
    waist = ball(points, SELLA, (0.8 * r, 0.7 * r, 0.7 * r))
    body = np.maximum(body, ramp(waist, SOFT))
    value = tissue["gm"] + lesion.uptake * (tissue["enhanced_gland"] - tissue["gm"])
    blend(image, tissue["dura"], 0.5 * ramp(depth + 0.014, SOFT))
    blend(image, value * (1 + 0.03 * s.noise), body)
    if lesion.core < 1:
        blend(image, tissue["necrosis"], 0.8 * ramp(depth - lesion.core * r, 0.04))
    return body


def _paint_glioma(s: _Scene) -> Array:
    """Ragged; high grade with a patchy ring round a dead core, low grade washed out."""
    lesion, depth, noise, depths, image, tissue = s.lesion, s.depth, s.noise, s.depths, s.image, s.tissue
    r, grain = lesion.radius, lesion.outline.at(s.points, scale=3.0)
    fingers = np.clip((depths.cortex - 0.02) / np.float32(0.05), 0, 1) * np.float32(0.85) + np.float32(0.15)
    swelling = ramp(depth + lesion.oedema * (1 + 0.35 * noise), 0.06) * fingers
    if lesion.oedema:
        blend(image, tissue["oedema"], 0.9 * swelling * s.inside)
    within = ramp(depths.brain - 0.015, SOFT)
    if lesion.core >= 1:  # low grade: no ring, washed-out edge
        body = ramp(depth, 0.05) * within
        value = tissue["solid"] + lesion.uptake * (tissue["enhanced"] - tissue["solid"])
        blend(image, value * (1 + 0.06 * noise), 0.92 * body)
        return body
    body = ramp(depth, SOFT) * within
    blend(image, tissue["solid"], body)
    rim = ramp(depth, SOFT) * ramp(lesion.core * r * (1 + 0.5 * noise) - depth, 0.03) * within
    value = tissue["solid"] + lesion.uptake * (tissue["enhanced"] - tissue["solid"])
    blend(image, value * (1 + 0.12 * grain), rim * ramp(noise + 0.6 * grain + 1.3, 1.0))
    blend(image, tissue["necrosis"], ramp(depth - lesion.core * r * (1 + 0.5 * noise), 0.04) * within)
    return body


def _paint_meningioma(s: _Scene) -> Array:
    """Even and sharp, on the dura, with a fluid cleft towards the brain and a tail along the dura."""
    lesion, points, depth, depths, inside = s.lesion, s.points, s.depth, s.depths, s.inside
    image, tissue, r = s.image, s.tissue, s.lesion.radius
    if lesion.midline:
        depth = np.minimum(depth, np.float32(lesion.midline) * points.x - np.float32(0.004))
    if lesion.oedema:
        halo = ramp(depth + lesion.oedema, 0.06) * np.clip((depths.cortex - 0.02) / np.float32(0.05), 0, 1)
        blend(image, tissue["oedema"], 0.8 * halo * inside)
    blend(image, tissue["csf"], 0.75 * ramp(depth + 0.018, SOFT) * inside)
    body = ramp(depth, SOFT) * inside
    value = tissue["solid_dural"] + lesion.uptake * (tissue["enhanced"] - tissue["solid_dural"])
    blend(image, value, body)
    if lesion.anchor is not None:
        near = ramp(ball(points, lesion.anchor, (1.7 * r, 1.7 * r, 1.7 * r)), 0.05)
        sheet = np.abs(points.x) + 0.006 if lesion.midline else np.abs(depths.brain - np.float32(0.008))
        blend(image, value, near * ramp(0.014 - sheet, 0.015) * ramp(depths.brain + 0.015, 0.02))
    return body
