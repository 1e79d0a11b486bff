"""One synthetic head: scalp, skull, folded cortex, white matter, ventricles, brain stem, face, vessels.

In: head-space points of a slice plane and the brightness of each tissue. Out: the picture, plus the depth
fields that lesions need. Everything is an implicit function of the point, so any plane through one head
shows the same anatomy. The shapes are a sketch of textbook anatomy, not measured from any person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tumorscope.data.phantom.fields import Array, Noise, Points, ball, band_noise, blend, mirror, ramp

SOFT = 0.022
"""Width of a tissue edge in head units."""
CRANIUM = (0.0, -0.03, 0.05)
CRANIUM_AXES = (0.70, 0.86, 0.78)
SELLA = (0.0, 0.21, -0.29)
"""Where the pituitary gland sits."""


@dataclass(frozen=True, eq=False)
class Head:
    """One patient's anatomy, drawn once; every slice samples the same head.

    Attributes:
        fold: Noise whose zero surfaces are the sulci.
        shape: Very slow noise that distorts the whole head.
        smooth: Slow noise for patchiness.
        fine: Grain of tissue.
        ventricles: Width factor of the (right, left) lateral ventricle.
        atrophy: 0 young .. 1 wide sulci.
        scalp: Thickness of skin and fat.
        skull: Thickness of bone.
        marrow: How much bright marrow the bone shows, 0..1.
        warp: Amplitude of the slow distortion.
        cyst: Centre and radius of an arachnoid cyst, or None.
        patches: Strength of age-related bright patches beside the ventricles, 0..1.
        choroid: Brightness of the choroid plexus, 0..1.
        vessels: Half width of the cortical vessels; 0 for none to be seen.
        falx: Half width of the midline membrane.
    """

    fold: Noise
    shape: Noise
    smooth: Noise
    fine: Noise
    ventricles: tuple[float, float]
    atrophy: float
    scalp: float
    skull: float
    marrow: float
    warp: float
    cyst: tuple[tuple[float, float, float], float] | None
    patches: float
    choroid: float
    vessels: float
    falx: float


@dataclass(frozen=True, eq=False)
class Depths:
    """Distances in head units, positive inside.

    Attributes:
        brain: Into the inside of the skull, from dura.
        cortex: Into white matter, from the nearest grey-matter surface; below 0.04 is grey matter.
    """

    brain: Array
    cortex: Array


@dataclass(frozen=True, eq=False)
class _Scene:
    """What the painters share: one head seen on one plane. `image` is changed as they go."""

    head: Head
    p: Points
    side: Points
    vault: Array
    brain: Array
    slow: Array
    fine: Array
    tissue: Mapping[str, float]
    image: Array


def draw_head(rng: np.random.Generator) -> Head:
    """A random head."""
    size = float(rng.lognormal(0.0, 0.28))
    tilt = float(np.clip(rng.normal(0, 0.25), -0.5, 0.5))
    cyst = None
    if rng.random() < 0.08:
        side = float(rng.choice([-1.0, 1.0]))
        cyst = ((side * float(rng.uniform(0.42, 0.52)), float(rng.uniform(0.1, 0.4)), -0.25), 0.13)
    return Head(
        fold=band_noise(rng, cells=64, wavelength=float(rng.uniform(0.13, 0.165)), spread=0.25),
        shape=band_noise(rng, cells=16, wavelength=1.8, spread=0.4),
        smooth=band_noise(rng, cells=32, wavelength=0.75, spread=0.4),
        fine=band_noise(rng, cells=48, wavelength=0.13, spread=0.8),
        ventricles=(size * (1 + tilt), size * (1 - tilt)),
        atrophy=float(rng.beta(1.3, 2.2)),
        scalp=float(rng.uniform(0.04, 0.085)),
        skull=float(rng.uniform(0.045, 0.075)),
        marrow=float(rng.uniform(0, 1)),
        warp=float(rng.uniform(0.01, 0.035)),
        cyst=cyst,
        patches=float(rng.uniform(0.3, 1.0)) if rng.random() < 0.3 else 0.0,
        choroid=float(rng.uniform(0.2, 0.9)) if rng.random() < 0.5 else 0.0,
        vessels=float(rng.uniform(0.004, 0.010)) if rng.random() < 0.6 else 0.0,
        falx=float(rng.uniform(0.005, 0.013)),
    )


def base_height(points: Points) -> Array:
    """Height of the skull base below each point: three steps from front to back, a saddle at the sella."""
    ax = np.abs(points.x)
    middle = -0.27 - 0.19 * ramp(ax - 0.19, 0.12)
    front = -0.17 + 0.10 * ramp(ax - 0.22, 0.25)
    back = -0.66 + 0.28 * ramp(ax - 0.47, 0.12)
    to_front = ramp(points.y - 0.36, 0.12)
    to_back = ramp(-0.12 - points.y, 0.20)
    height: Array = middle * (1 - to_front) * (1 - to_back) + front * to_front + back * to_back
    return height


def cranial_depth(points: Points) -> Array:
    """Distance into the cranium, positive inside, from the vault or the base, whichever is nearer."""
    return np.minimum(ball(points, CRANIUM, CRANIUM_AXES), (points.z - base_height(points)) * np.float32(0.8))


def paint(head: Head, points: Points, tissue: Mapping[str, float]) -> tuple[Array, Depths]:
    """The head without any lesion.

    Args:
        head: The anatomy.
        points: Where each pixel lies.
        tissue: Brightness of each tissue, about 0..1.

    Returns:
        The picture as float32, and the depth fields at the same pixels.
    """
    wobble = np.float32(head.warp) * head.shape.at(points)
    p = Points(points.x + wobble, points.y + 0.7 * wobble, points.z - wobble)
    side = mirror(p)
    vault = ball(p, CRANIUM, CRANIUM_AXES)
    scene = _Scene(
        head=head,
        p=p,
        side=side,
        vault=vault,
        brain=np.minimum(vault, (p.z - base_height(p)) * np.float32(0.8)),
        slow=head.smooth.at(points),
        fine=head.fine.at(points),
        tissue=tissue,
        image=np.zeros_like(points.x),
    )
    _outside(scene)
    _face(scene)
    cortex = _cerebrum(scene)
    _hindbrain(scene)
    _ventricles(scene)
    _vessels(scene)
    return scene.image, Depths(scene.brain, cortex)


def _outside(s: _Scene) -> None:
    """Soft tissue, scalp, bone round the brain."""
    head, p, vault, slow, image, tissue = s.head, s.p, s.vault, s.slow, s.image, s.tissue
    shell = head.scalp + head.skull + 0.012
    face = np.maximum(ball(p, (0.0, 0.40, -0.50), (0.52, 0.56, 0.62)), ball(p, (0.0, 0.97, -0.42), (0.10, 0.15, 0.20)))
    jaw = ball(p, (0.0, 0.52, -0.86), (0.40, 0.45, 0.34))
    neck = np.minimum(ball(Points(p.x, p.y, np.zeros_like(p.z)), (0, -0.22, 0), (0.47, 0.50, 0.47)), -0.3 - p.z)
    outer = np.maximum.reduce([vault + np.float32(shell), face, jaw, neck])
    flesh = tissue["muscle"] + (tissue["fat"] - tissue["muscle"]) * 0.6 * ramp(0.7 * s.fine + 0.5 * slow - 0.4, 1.6)
    blend(image, flesh, ramp(outer, SOFT))
    rind = ramp(outer, SOFT) * ramp(head.scalp - outer, SOFT)
    blend(image, tissue["fat"] * (1 + 0.12 * slow), rind)
    # Bone: a band outside the vault above the base, and a plate under the base.
    band = ramp(vault + np.float32(head.skull + 0.012), SOFT) * ramp(p.z - base_height(p) + 0.05, 0.05)
    blend(image, tissue["bone"], band)
    middle = head.skull / 2 + 0.006
    core = ramp(0.2 * head.skull - np.abs(vault + np.float32(middle)), SOFT) * band
    blend(image, tissue["marrow"], core * (head.marrow * ramp(slow + 0.6, 1.2)))


def _face(s: _Scene) -> None:
    """Air spaces and bone below the brain, eyes."""
    p, side, brain, fine, image, tissue = s.p, s.side, s.brain, s.fine, s.image, s.tissue
    below = ramp(-brain - 0.01, SOFT)
    for centre, axes, septa in (
        ((0.0, 0.36, -0.43), (0.15, 0.15, 0.10), 0.2),
        ((0.0, 0.66, -0.30), (0.11, 0.20, 0.14), 0.9),
        ((0.0, 0.66, -0.60), (0.14, 0.28, 0.16), 0.9),
        ((0.27, 0.58, -0.56), (0.13, 0.16, 0.16), 0.0),
        ((0.50, -0.14, -0.50), (0.14, 0.17, 0.14), 1.0),
        ((0.0, 0.20, -0.85), (0.09, 0.10, 0.35), 0.3),
    ):
        cave = ramp(ball(side, centre, axes), SOFT) * below
        blend(image, tissue["bone"] + septa * 0.6 * tissue["marrow"] * ramp(fine - 0.4, 0.5), cave)
    clivus = ramp(ball(p, (0.0, 0.08, -0.50), (0.13, 0.12, 0.20)), SOFT) * below
    blend(image, 0.9 * tissue["marrow"], clivus)
    orbit = ramp(ball(side, (0.29, 0.66, -0.27), (0.17, 0.26, 0.15)), SOFT)
    blend(image, tissue["fat"], orbit * below)
    nerve = ramp(0.022 - np.hypot(side.x - 0.29 + 0.45 * (0.74 - p.y), p.z + 0.27), SOFT)
    blend(image, tissue["muscle"], nerve * orbit * below)
    globe = ball(side, (0.29, 0.80, -0.27), (0.125, 0.125, 0.125))
    blend(image, tissue["muscle"], ramp(globe + 0.012, SOFT))
    blend(image, tissue["csf"], ramp(globe - 0.008, SOFT))
    blend(image, tissue["wm"], ramp(ball(side, (0.29, 0.90, -0.27), (0.05, 0.025, 0.05)), SOFT))


def _cerebrum(s: _Scene) -> Array:
    """Dura, fluid, folded cortex, white matter, deep nuclei. Returns the cortex depth."""
    head, p, side, brain, slow, fine = s.head, s.p, s.side, s.brain, s.slow, s.fine
    image, tissue = s.image, s.tissue
    inside = ramp(brain + 0.004, SOFT)
    blend(image, tissue["csf"], inside)
    blend(image, tissue["dura"], 0.8 * ramp(0.010 - np.abs(brain + 0.002), SOFT))

    # Folds run inwards from the surface: the noise is read with the radial direction squeezed.
    radius = np.sqrt(p.x * p.x + p.y * p.y + p.z * p.z) + np.float32(1e-3)
    squeeze = np.float32(0.62) * radius ** np.float32(-0.62)
    fold = np.abs(head.fold.at(Points(p.x * squeeze, p.y * squeeze, p.z * squeeze)))
    sulcus = fold * (np.float32(0.034) * np.sqrt(radius))
    surface = _surface(s)
    depth = 0.19 + 0.05 * slow
    beyond = np.maximum(surface - depth, 0)
    centre = ball(p, (0.0, -0.05, 0.02), (0.32, 0.40, 0.24))
    midline = side.x + np.maximum(centre, 0) * 3
    sylvian = np.maximum(np.abs(p.z + 0.04 + 0.03 * slow - 0.25 * (side.x - 0.5)), 0.9 * np.abs(p.y - 0.06) - 0.22)
    sylvian = np.maximum(sylvian, 0.42 - side.x)
    insula = np.maximum(
        np.abs(side.x - 0.40 - 0.035 * slow - 0.5 * (p.y - 0.03) ** 2),
        np.maximum(np.abs(p.y - 0.03) - 0.24, np.abs(p.z - 0.02) - 0.12),
    )
    cleft = np.minimum(sylvian, insula)
    cortex: Array = np.minimum.reduce([surface, sulcus + beyond, midline - 0.012, cleft - 0.006])

    matter = ramp(surface, SOFT)
    grain = 1 + 0.035 * fine
    blend(image, tissue["gm"] * grain, matter)
    blend(image, tissue["wm"] * (1 + 0.03 * slow) * grain, matter * ramp(cortex - 0.030, 0.025))
    wide = 0.003 + 0.012 * head.atrophy
    blend(
        image,
        tissue["csf"],
        inside * ramp(wide - sulcus - beyond, 0.015) * ramp(depth - 0.02 - surface, 0.08),
    )
    blend(image, tissue["csf"], inside * ramp(0.006 + 0.4 * wide - cleft, SOFT))
    blend(image, tissue["csf"], inside * ramp(0.008 + 0.5 * wide - midline, SOFT))
    blend(image, tissue["dura"], 0.9 * inside * ramp(head.falx - midline, 0.014) * ramp(p.z - 0.0, 0.1))

    for at, axes in (
        ((0.10, -0.10, 0.03), (0.085, 0.14, 0.09)),
        ((0.13, 0.19, 0.10), (0.045, 0.10, 0.07)),
        ((0.25, 0.05, 0.01), (0.065, 0.17, 0.10)),
    ):
        blend(image, (0.75 * tissue["gm"] + 0.25 * tissue["wm"]) * grain, ramp(ball(side, at, axes), 0.03))
    return cortex


def _surface(s: _Scene) -> Array:
    """Depth below the surface of the brain, which shrinks away from the dura with age."""
    depth: Array = s.brain - np.float32(0.012 + 0.022 * s.head.atrophy)
    return depth


def _hindbrain(s: _Scene) -> None:
    """Cerebellum with fine leaves, brain stem, cord, and the fluid round them."""
    p, side, slow, fine, image, tissue = s.p, s.side, s.slow, s.fine, s.image, s.tissue
    inside, surface, grain = ramp(s.brain + 0.004, SOFT), _surface(s), 1 + 0.035 * fine
    tent = np.minimum(-0.20 - 0.30 * (side.x - 0.1) - p.z, -0.16 - p.y)
    folia = np.sin(70 * np.hypot(p.y + 0.30, p.z + 0.30) + 3 * slow + 2.0 * fine)
    under = ramp(tent, SOFT) * inside
    blend(image, tissue["csf"], under * ramp(0.03 - np.abs(tent), SOFT))
    lobe = ramp(np.minimum(tent - 0.02, surface - 0.01), SOFT) * inside
    leaf = ramp(folia - 0.1, 0.9) * ramp(np.minimum(tent, surface) - 0.03, 0.05)
    blend(image, (tissue["gm"] + 0.6 * (tissue["wm"] - tissue["gm"]) * leaf) * grain, lobe)
    blend(image, tissue["wm"], lobe * ramp(ball(side, (0.19, -0.42, -0.40), (0.15, 0.14, 0.07)), 0.04))
    axis_y = -0.14 + 0.16 * (p.z + 0.35)
    cistern = np.minimum(0.175 - np.hypot(p.x, p.y - axis_y - 0.03), -0.10 - p.z)
    blend(image, tissue["csf"], ramp(np.minimum(cistern, p.z + 0.62), SOFT) * inside)
    suprasellar = ball(p, (0.0, 0.17, -0.21), (0.13, 0.12, 0.065))
    blend(image, tissue["csf"], ramp(suprasellar, SOFT) * inside)
    pons = ball(p, (0.0, -0.10, -0.36), (0.15, 0.13, 0.14))
    stem = np.minimum(0.125 - 0.065 * ramp(-0.5 - p.z, 0.2) - np.hypot(p.x, p.y - axis_y), 0.0 - p.z)
    canal = np.minimum(0.095 - np.hypot(p.x, p.y - axis_y), -0.6 - p.z)
    blend(image, tissue["bone"], ramp(canal + 0.03, SOFT))
    blend(image, tissue["csf"], ramp(canal, SOFT))
    blend(image, (0.3 * tissue["gm"] + 0.7 * tissue["wm"]) * grain, ramp(np.maximum(pons, stem), SOFT))


def _ventricles(s: _Scene) -> None:
    """Fluid spaces, what lies in and beside them, and a cyst."""
    head, p, side, brain, slow, fine = s.head, s.p, s.side, s.brain, s.slow, s.fine
    image, tissue = s.image, s.tissue
    inside = ramp(brain, SOFT)
    width = np.where(p.x < 0, np.float32(head.ventricles[0]), np.float32(head.ventricles[1]))
    grow = np.sqrt(width)
    along = (p.y - np.float32(-0.03)) / np.float32(0.38)
    axis_x = 0.075 + 0.075 * along * along + 0.03 * (grow - 1)
    axis_z = 0.17 - 0.09 * along * along
    body = (
        1 - np.sqrt(((side.x - axis_x) / (0.055 * width)) ** 2 + ((p.z - axis_z) / (0.075 * grow)) ** 2 + along**6)
    ) * 0.05
    atrium = ball(side, (0.23, -0.36, 0.06), (0.07, 0.12, 0.09)) + 0.03 * (width - 1)
    horn = ball(side, (0.33, -0.06, -0.22), (0.025, 0.13, 0.03)) + 0.012 * (width - 1)
    third = ball(p, (0.0, -0.03, -0.03), (0.04, 0.17, 0.12)) + 0.012 * (width - 1) - 0.012
    fourth = ball(p, (0.0, -0.27, -0.38), (0.06, 0.05, 0.11))
    lateral = np.maximum(body, atrium)
    spaces: Array = np.maximum.reduce([lateral, horn, third, fourth])
    if head.patches:
        halo = ramp(spaces + 0.035 + 0.03 * slow, 0.03) + ramp(slow + 0.6 * fine - 2.0, 0.3) * ramp(brain - 0.2, 0.1)
        blend(image, tissue["oedema"], head.patches * np.clip(halo, 0, 1) * inside * ramp(p.z + 0.05, 0.1))
    blend(image, tissue["csf"], ramp(spaces, SOFT) * inside)
    if head.choroid:
        plexus = ramp(ball(side, (0.22, -0.33, 0.05), (0.035, 0.06, 0.035)) + 0.01 * fine, SOFT) * ramp(atrium, SOFT)
        blend(image, tissue["vein"], head.choroid * plexus)
    if head.cyst:
        centre, radius = head.cyst
        blend(image, tissue["csf"], ramp(ball(p, centre, (radius, radius, radius)), SOFT) * inside)


def _vessels(s: _Scene) -> None:
    """The normal gland, the arteries at the base, the venous sinuses, cortical veins."""
    head, p, side, brain, image, tissue = s.head, s.p, s.side, s.brain, s.image, s.tissue
    gland = ball(p, SELLA, (0.055, 0.04, 0.028))
    blend(image, 0.6 * tissue["vein"] + 0.4 * tissue["gm"], ramp(gland, SOFT))
    carotid = 0.024 - np.hypot(side.x - 0.115, p.y - 0.19 - 0.25 * (p.z + 0.3))
    blend(image, tissue["artery"], ramp(np.minimum(carotid, 0.12 - np.abs(p.z + 0.34)), SOFT))
    basilar = 0.016 - np.hypot(p.x, p.y - 0.055 - 0.16 * (p.z + 0.35))
    blend(image, tissue["artery"], ramp(np.minimum(basilar, 0.13 - np.abs(p.z + 0.36)), SOFT))
    sagittal = np.minimum(0.035 - 0.8 * side.x, 0.03 - np.abs(brain - 0.012)) + 0.3 * np.minimum(p.z + 0.1, 0)
    transverse = 0.03 - np.hypot(p.z + 0.20 + 0.15 * side.x, brain - 0.012) + 0.5 * np.minimum(-0.2 - p.y, 0)
    blend(image, tissue["vein"], ramp(np.maximum(sagittal, transverse), SOFT) * ramp(-p.y + 0.5, 0.2))
    if head.vessels:
        tube = head.vessels - 0.05 * np.hypot(s.slow + 0.2 * s.fine, head.fold.at(p, scale=0.45) - 0.3)
        blend(image, tissue["vein"], ramp(tube, 0.015) * ramp(brain, SOFT))
