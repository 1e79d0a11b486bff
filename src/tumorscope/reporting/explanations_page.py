"""Scored heatmaps made readable: `explanations.html`, one self-contained page beside `explanations.json`.

In: a folder with `explanations.json` and, for its pictures, `gallery.npz`. Out: the score of every method next to its
controls, the check with random weights, what happens when the boxes are taken away, and pictures with their boxes and
heat. No request; the only script moves the opacity of the heat. The same files give the same bytes.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tumorscope.core.errors import DataError
from tumorscope.core.files import write_text
from tumorscope.explaining.heat import coloured
from tumorscope.reporting.contract import Est, Sample, checked
from tumorscope.reporting.contract_explanations import CascadeStep, ExplanationsFile, Heatmap, HeatScore, HeatSource
from tumorscope.reporting.explanations_figures import RANDOM_ORDER, cascade_figure, curve_figures, in_order, named
from tumorscope.reporting.explanations_verdict import (
    MARKS,
    RESEMBLES,
    TONE_WORDS,
    Standing,
    change,
    last_step,
    methods,
    standing,
    tone,
    verdict,
)
from tumorscope.reporting.load import parsed, stored_arrays
from tumorscope.reporting.montage import Tile, data_address
from tumorscope.reporting.render import environment, script_source, template_text

DATA_NAME = "explanations.json"
PICTURES_NAME = "gallery.npz"
PAGE_NAME = "explanations.html"
AGAIN = "run `tumorscope explain RUN --score` again"
MOST_PICTURES = 60
"""Pictures shown; about 25 kB of page each."""
OPACITY = 60
"""Opacity of the hottest place in percent, until the reader moves it."""
DETECTION = frozenset({"ap30", "ap50"})
"""Measures over all images that were searched for boxes; the others are over images with boxes."""
CHANCE = "uniform"
"""The control that stands for chance: the same heat everywhere."""


@dataclass(frozen=True)
class Row:
    """One row of the score: a source of heat, with its standing by each measure where it is a method."""

    name: str
    title: str
    source: HeatSource
    standings: dict[str, Standing]


@dataclass(frozen=True)
class Check:
    """What random weights do to one method: its last cascade step, and its blind maps against chance."""

    title: str
    tone: str
    step: CascadeStep | None
    steps: tuple[CascadeStep, ...]
    blind: Est | None


@dataclass(frozen=True)
class Heated:
    """One picture of the gallery: its tile, its heat as a `data:` address, and what the heat scored."""

    tile: Tile
    heat: str
    entry: Heatmap
    title: str


def render_explanations(folder: Path) -> Path:
    """Write `explanations.html` into a folder of scored heatmaps and return its path.

    Args:
        folder: Holds `explanations.json`; pictures are shown if `gallery.npz` is there, and named as missing if not.

    Raises:
        DataError: If `explanations.json` is missing, or one of the two files is damaged.
    """
    path = folder / DATA_NAME
    if not path.is_file():
        raise DataError(
            f"{DATA_NAME} is missing",
            expected="a folder written by `tumorscope explain RUN --score`",
            where=folder,
            fix=f"{AGAIN}, or give another folder",
        )
    found = checked(ExplanationsFile, parsed(path, again=AGAIN), where=path, again=AGAIN)
    page = environment().get_template("explanations.html.j2").render(_context(found, _pictures(folder, found)))
    return write_text(folder / PAGE_NAME, page)


def _context(found: ExplanationsFile, pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None) -> dict[str, Any]:
    score = found.score
    checks = {name: _check(score, name) for name in methods(score)}
    script = template_text("explanations.js")
    return {
        "e": found,
        "score": score,
        "verdict": verdict(score),
        "groups": _groups(score),
        "checks": list(checks.values()),
        "cascade": cascade_figure(score),
        "curves": curve_figures(found.curves, score) if found.curves is not None else (),
        "curve_names": in_order(found.curves.methods) if found.curves is not None else (),
        "curve_gaps": [
            (name, control, gaps)
            for name, one in (found.curves.methods if found.curves is not None else {}).items()
            for control, gaps in one.gaps.items()
        ],
        "gallery": _gallery(found, *pictures) if pictures is not None else None,
        "shown_checks": [
            check for name, check in checks.items() if any(entry.method == name for entry in found.gallery)
        ],
        "left_out": max(0, len(found.gallery) - MOST_PICTURES),
        "classes": list(dict.fromkeys(label for s in score.sources.values() for label in s.per_class)),
        "measures": list(score.measures),
        "interval_methods": list(
            dict.fromkeys(e.method for s in score.sources.values() for e in s.overall.values() if e.method)
        ),
        "ramp": _png(np.arange(256, dtype=np.uint8)[None]),
        "opacity": OPACITY,
        "detection": DETECTION,
        "random_order": RANDOM_ORDER,
        "resembles": RESEMBLES,
        "marks": MARKS,
        "tone_words": TONE_WORDS,
        "tone": tone,
        "named": named,
        "own_style": template_text("explanations.css"),
        "script": Markup(script),
        "script_hash": script_source(script),
    }


def _groups(score: HeatScore) -> list[tuple[str, list[Row]]]:
    """Rows of the table under their headings: methods, the same of models that know nothing, maps without a model."""
    order = methods(score)
    groups: dict[str, list[Row]] = {"Methods": []}
    for name in order:
        standings = {measure: standing(score, name, measure) for measure in score.measures}
        groups["Methods"].append(Row(name, score.sources[name].title, score.sources[name], standings))
    blind = [n for n, s in score.sources.items() if s.kind in {"random-weights", "model"}]
    for name in sorted(blind, key=lambda n: order.index(score.sources[n].method or "")):
        source = score.sources[name]
        own = score.sources[source.method or ""].title
        label = source.title.removeprefix(f"{own}, ")
        groups.setdefault(f"The same methods, {label}", []).append(Row(name, own, source, {}))
    groups["Controls without a model"] = [
        Row(n, s.title, s, {}) for n, s in score.sources.items() if s.kind == "control"
    ]
    return [(heading, rows) for heading, rows in groups.items() if rows]


def _check(score: HeatScore, name: str) -> Check:
    steps = score.cascade.get(name, ())
    blind = next((n for n, s in score.sources.items() if s.kind == "random-weights" and s.method == name), "")
    gap = score.gaps.get(blind, {}).get(CHANCE, {}).get("energy")
    return Check(score.sources[name].title, change(steps), last_step(steps), steps, gap)


def _pictures(folder: Path, found: ExplanationsFile) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """(k, H, W) images and heats of the gallery; None where the file is not there."""
    path = folder / PICTURES_NAME
    if not (path.is_file() and found.gallery):
        return None
    images, heats = stored_arrays(path, "images", "heats", again=AGAIN)
    fits = all(a.dtype == np.uint8 and a.ndim == 3 and len(a) == len(found.gallery) and a.size for a in (images, heats))
    if not fits or images.shape != heats.shape:
        raise DataError(
            f"{PICTURES_NAME} holds images {images.dtype} {images.shape} and heats {heats.dtype} {heats.shape}"
            f" for {len(found.gallery)} entries in {DATA_NAME}",
            expected="uint8 (k, H, W) twice, one picture an entry",
            where=path,
            fix=f"{AGAIN} to write both",
        )
    return images, heats


def _gallery(found: ExplanationsFile, images: NDArray[np.uint8], heats: NDArray[np.uint8]) -> list[Heated]:
    return [
        Heated(
            tile=Tile(
                Sample(
                    path=entry.path,
                    label=entry.label,
                    predicted=entry.predicted,
                    prob=entry.prob,
                    correct=entry.label == entry.predicted,
                    boxes=entry.boxes,
                ),
                data_address(image),
            ),
            heat=_png(heat),
            entry=entry,
            title=named(found.score, entry.method),
        )
        for entry, image, heat in zip(found.gallery[:MOST_PICTURES], images, heats, strict=False)
    ]


def _png(heat: NDArray[np.uint8]) -> str:
    """Heat (H, W) as a `data:` address: the 256 colours of `coloured` as a palette with its own opacity, lossless."""
    from PIL import Image

    colours = coloured(np.linspace(0, 1, 256, dtype=np.float32)[None])[0]
    image = Image.fromarray(np.ascontiguousarray(heat)).convert("L")
    image.putpalette(colours[:, :3].tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True, transparency=colours[:, 3].tobytes())
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
