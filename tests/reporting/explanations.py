"""Folders of scored heatmaps with made-up figures: three methods, two models that know nothing, four controls.

No two estimates are alike, so that each number on a page can be traced to its place in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.files import save_npz, write_json
from tumorscope.reporting.explanations_page import render_explanations

Bytes = NDArray[np.uint8]
Change = Callable[[dict[str, Any]], object]
SIDE_PX = 192
MEASURES = {
    "pointing": "share of images whose hottest pixel lies in a box (Zhang et al. 2018, without its tolerance)",
    "energy": "share of the heat that lies in the boxes (Wang et al. 2020, Score-CAM)",
    "iou": "overlap of the heat above a threshold with the boxes (intersection over union)",
    "box_hit": "share of images where the box round the largest heat overlaps a box by one half (Choe et al. 2020)",
    "ap30": "average precision of boxes made from heat, at an overlap of 0.3",
    "ap50": "average precision of boxes made from heat, at an overlap of 0.5",
}
CLASSES = ("glioma", "meningioma", "pituitary")
VALUES: dict[str, tuple[float, ...]] = {
    "grad-cam": (0.781, 0.402, 0.331, 0.382, 0.412, 0.213),
    "layer-cam": (0.824, 0.451, 0.372, 0.421, 0.443, 0.245),
    "integrated-gradients": (0.612, 0.263, 0.154, 0.095, 0.106, 0.024),
    "grad-cam@random-weights": (0.131, 0.102, 0.093, 0.031, 0.042, 0.011),
    "layer-cam@random-weights": (0.142, 0.113, 0.104, 0.032, 0.043, 0.012),
    "integrated-gradients@random-weights": (0.213, 0.124, 0.105, 0.033, 0.034, 0.013),
    "grad-cam@shuffled labels": (0.232, 0.145, 0.116, 0.054, 0.065, 0.016),
    "layer-cam@shuffled labels": (0.243, 0.156, 0.117, 0.055, 0.066, 0.017),
    "integrated-gradients@shuffled labels": (0.254, 0.137, 0.108, 0.046, 0.047, 0.014),
    "uniform": (0.087, 0.088, 0.089, 0.008, 0.009, 0.001),
    "centre": (0.287, 0.178, 0.189, 0.097, 0.098, 0.019),
    "edges": (0.186, 0.129, 0.107, 0.026, 0.027, 0.006),
    "mean-box": (0.388, 0.268, 0.229, 0.159, 0.148, 0.048),
}
TITLES = {
    "grad-cam": ("Grad-CAM", "Selvaraju et al. 2017"),
    "layer-cam": ("Layer-CAM", "Jiang et al. 2021"),
    "integrated-gradients": ("Integrated Gradients", "Sundararajan, Taly and Yan 2017"),
    "uniform": ("the same heat everywhere", ""),
    "centre": ("a Gaussian at the centre", ""),
    "edges": ("edges of the image (Sobel)", ""),
    "mean-box": ("where training boxes lie", ""),
}
METHODS = ("grad-cam", "layer-cam", "integrated-gradients")
CONTROLS = ("uniform", "centre", "edges", "mean-box")
FINAL = {"grad-cam": 0.137, "layer-cam": 0.158, "integrated-gradients": 0.719}


def estimate(value: float, half: float, *, least: float = -1.0) -> dict[str, Any]:
    return {
        "value": round(value, 12),
        "low": round(max(value - half, least), 12),
        "high": round(value + 1.1 * half, 12),
        "method": "bootstrap-groups",
    }


def _source(name: str) -> dict[str, Any]:
    method, _, other = name.partition("@")
    title, paper = TITLES[method]
    label = "random weights" if other == "random-weights" else other
    place = list(VALUES).index(name)
    return {
        "title": f"{title}, {label}" if other else title,
        "kind": "control" if method in CONTROLS else "method" if not other else other if label != other else "model",
        "method": method if method in METHODS else None,
        "source": paper,
        "thresholds": {"iou": 0.25 + place / 100, "box": 0.35 + place / 100, "chosen_on": 61},
        "empty": 2 if name == "integrated-gradients" else 0,
        "overall": {
            m: estimate(v, 0.004 + 0.06 * v, least=0.0002) for m, v in zip(MEASURES, VALUES[name], strict=True)
        },
        "per_class": {
            label: {"n": 40 + i}
            | {
                m: estimate(v * (0.8 + 0.17 * i), 0.07 * v)
                for m, v in zip(MEASURES, VALUES[name], strict=True)
                if not m.startswith("ap")
            }
            for i, label in enumerate(CLASSES)
        },
    }


def _gaps() -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name, own_values in VALUES.items():
        if name in CONTROLS:
            continue
        own = [f"{name}@random-weights", f"{name}@shuffled labels"] if name in METHODS else []
        found[name] = {}
        for other in [*own, *CONTROLS]:
            pairs = zip(MEASURES, own_values, VALUES[other], strict=True)
            gaps = {m: estimate(a - b, 0.02 + 0.05 * (a + b)) for m, a, b in pairs}
            found[name][other] = {m: g | {"better": g["low"] > 0, "worse": g["high"] < 0} for m, g in gaps.items()}
    return found


def score() -> dict[str, Any]:
    """What `explaining.score.score` returns, made up."""
    return {
        "format": 1,
        "n": 214,
        "with_boxes": 123,
        "searched": 198,
        "best": "layer-cam",
        "best_by": "validation images",
        "classes": [*CLASSES, "no tumor"],
        "lesion_classes": list(CLASSES),
        "measures": dict(MEASURES),
        "sources": {name: _source(name) for name in VALUES},
        "gaps": _gaps(),
        "cascade": {
            name: [
                {"groups": g, "of": 10, "n": 32, "similarity": estimate(1 - (1 - last) * (0.35 + 0.065 * g), 0.03)}
                for g in (1, 3, 6, 8, 10)
            ]
            for name, last in FINAL.items()
        },
        "not_applicable": {"attention-gradients": "it needs a transformer"},
        "resamples": 2000,
        "seed": 7,
    }


def content(pictures: int = 4) -> dict[str, Any]:
    """`explanations.json`."""
    rows = (
        ("whole image", 0.893, None),
        ("box removed", 0.574, -0.319),
        ("same box elsewhere removed", 0.866, -0.027),
        ("only the box", 0.715, -0.178),
    )
    shares = [round(0.05 * i, 2) for i in range(21)]
    speeds = {"grad-cam": 5.1, "layer-cam": 6.2, "integrated-gradients": 7.3, "random order": 2.4}
    return {
        "format": 1,
        "run": {"recipe": "brain-mri-4class", "title": "Brain MRI, ResNet-50", "bundle": "ab" * 32},
        "data": {
            "name": "brain-mri-boxes",
            "n": 214,
            "with_boxes": 123,
            "what": "Its test images without a copy in training, because a model may know a copy by heart.",
            "left_out": {"copy of a training image": 61, "no box although the class has boxes": 16},
        },
        "command": "tumorscope explain runs/a1 --score --data 'my boxes'",
        "score": score(),
        "removal": {
            "n": 123,
            "rows": [
                {
                    "name": name,
                    "n": 117 if "elsewhere" in name else 123,
                    "accuracy": estimate(value, 0.041),
                    "change": None if moved is None else estimate(moved, 0.033),
                }
                for name, value, moved in rows
            ],
            "beyond": estimate(-0.292, 0.044),
            "changed": {"box removed": 0.831, "same box elsewhere removed": 0.774},
            "border": {
                "n": 214,
                "whole": estimate(0.907, 0.03),
                "accuracy": estimate(0.357, 0.05),
                "change": estimate(-0.55, 0.05),
                "answers": dict(zip([*CLASSES, "no tumor"], (11, 3, 9, 191), strict=True)),
                "present": dict(zip([*CLASSES, "no tumor"], (60, 41, 22, 91), strict=True)),
            },
        },
        "shuffled": {"differences": ["stage.all.epochs = 2 instead of 8"]},
        "curves": {
            "n": 64,
            "shares": shares,
            "methods": {
                name: {
                    "deletion": [round(0.27 + 0.63 * float(np.exp(-speed * s)), 4) for s in shares],
                    "insertion": [round(0.9 - 0.6 * float(np.exp(-speed * s)), 4) for s in shares],
                    "deletion_area": estimate(0.27 + 0.63 / speed, 0.021),
                    "insertion_area": estimate(0.9 - 0.6 / speed, 0.022),
                    "gaps": {
                        control: {"deletion": estimate(-0.1 / speed, 0.02), "insertion": estimate(0.2 / speed, 0.03)}
                        for control in ("random order", "another image's map")
                        if name != "random order"
                    },
                }
                for name, speed in speeds.items()
            },
        },
        "gallery": [_entry(i) for i in range(pictures)],
    }


def _entry(i: int) -> dict[str, Any]:
    label = CLASSES[i % 3]
    return {
        "path": f"Val/{label}/images/{i:04}.jpg",
        "label": label,
        "predicted": CLASSES[(i + (i % 2)) % 3],
        "prob": 0.981 - 0.037 * (i % 9),
        "method": "layer-cam",
        "pointing": float(i > 2),
        "energy": round(0.013 + 0.021 * i, 3),
        "boxes": [{"label": label, "cx": 0.35 + 0.02 * (i % 7), "cy": 0.4 + 0.03 * (i % 5), "w": 0.2, "h": 0.17}],
    }


def pixels(pictures: int = 4) -> tuple[Bytes, Bytes]:
    """(k, S, S) gray thumbnails with an oval in them, and (k, S, S) heat with one warm place."""
    grid = (np.arange(SIDE_PX) + 0.5) / SIDE_PX
    y, x = grid[:, None], grid[None]
    images, heats = [], []
    for i in range(pictures):
        inside = ((x - 0.5) / 0.36) ** 2 + ((y - 0.5) / 0.44) ** 2
        images.append(np.where(inside < 1, 70 + 60 * inside, 4 + i))
        middle = 0.3 + 0.09 * (i % 5), 0.65 - 0.07 * (i % 4)
        heats.append(255 * np.exp(-((x - middle[0]) ** 2 + (y - middle[1]) ** 2) / 0.02))
    return np.stack(images).round().astype(np.uint8), np.stack(heats).round().astype(np.uint8)


def write_explanations(folder: Path, found: dict[str, Any] | None = None, *, pictures: int = 4) -> Path:
    """A folder with `explanations.json` and `gallery.npz`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "explanations.json", content(pictures) if found is None else found)
    write_gallery(folder, *pixels(pictures))
    return folder


def changed(folder: Path, change: Change, *, pictures: int = 4) -> str:
    """The page after a change of the file."""
    found = content(pictures)
    change(found)
    return render_explanations(write_explanations(folder, found, pictures=pictures)).read_text(encoding="utf-8")


def write_gallery(folder: Path, images: NDArray[Any], heats: NDArray[Any]) -> Path:
    path = folder / "gallery.npz"
    with path.open("wb") as handle:
        save_npz(handle, images=images, heats=heats)
    return path


def estimates_in(value: Any) -> Iterator[dict[str, Any]]:
    """Every estimate of a JSON value."""
    if isinstance(value, dict):
        if {"value", "low", "high"} <= set(value):
            yield value
        else:
            for part in value.values():
                yield from estimates_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from estimates_in(part)
