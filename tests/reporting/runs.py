"""Synthetic run folders, complete and realistic: two classes with 156 test images, four with 1,311.

`python -m tests.reporting.runs FOLDER` writes both with their reports, for looking at them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.files import read_json, sha256_value, write_json, write_text
from tumorscope.core.types import DatasetInfo, Pixels
from tumorscope.evaluation.conformal import describe_sets, fit_conformal
from tumorscope.evaluation.evaluation import evaluate
from tumorscope.evaluation.operating import choose_operating_point
from tumorscope.evaluation.predictions import Predictions, read_csv
from tumorscope.evaluation.repeated import aggregate_seeds

Floats = NDArray[np.float64]
SIDE_PX = 160


@dataclass(frozen=True)
class Kind:
    """What distinguishes one synthetic run from another."""

    recipe: str
    title: str
    reproduces: str
    model: str
    parameters: int
    classes: tuple[str, ...]
    positive: str | None
    counts: dict[str, tuple[int, ...]]
    stages: tuple[tuple[str, str, int, int], ...]
    info: DatasetInfo
    size_px: int
    sharpness: float
    boxes: bool
    copies: int
    pictures: int


BINARY = Kind(
    recipe="breastmnist-cnn",
    title="BreastMNIST, small CNN",
    reproduces="S0 (claim: 86% validation accuracy)",
    model="cnn28",
    parameters=421_642,
    classes=("malignant", "normal, benign"),
    positive="malignant",
    counts={"train": (147, 399), "val": (21, 57), "test": (42, 114)},
    stages=(("all", "all", 33, 50),),
    info=DatasetInfo(
        name="breastmnist",
        title="BreastMNIST (MedMNIST v2)",
        licence="CC BY 4.0",
        citation="Yang et al. 2023, Scientific Data 10:41; Al-Dhabyani et al. 2020, Data in Brief 28:104863",
        homepage="https://medmnist.com",
        modality="breast ultrasound",
    ),
    size_px=28,
    sharpness=2.3,
    boxes=False,
    copies=0,
    pictures=36,
)
FOUR = Kind(
    recipe="brain-mri-4class-efficientnet",
    title="Brain MRI, four classes, EfficientNet-B0",
    reproduces="S2 (claim: 99.96% test accuracy and weighted F1)",
    model="efficientnet_b0",
    parameters=4_012_672,
    classes=("glioma", "meningioma", "notumor", "pituitary"),
    positive=None,
    counts={"train": (1123, 1139, 1356, 1239), "val": (198, 200, 239, 214), "test": (300, 306, 405, 300)},
    stages=(("head", "head", 3, 3), ("all", "all", 14, 20)),
    info=DatasetInfo(
        name="brain-mri-4class",
        title="Brain Tumor MRI Dataset (Nickparvar)",
        licence="CC0",
        citation="Masoud Nickparvar, Kaggle, 2021",
        homepage="https://www.kaggle.com/datasets/masoudnickparvar/brain-tumor-mri-dataset",
        modality="brain MRI",
    ),
    size_px=224,
    sharpness=6.0,
    boxes=True,
    copies=216,
    pictures=64,
)


def write_run(folder: Path, kind: Kind = BINARY, *, seed: int = 0) -> Path:
    """Write every file of a run folder and return the folder."""
    rng = np.random.default_rng([seed, len(kind.classes)])
    folder.mkdir(parents=True, exist_ok=True)
    test, val = (predictions(kind, part, rng) for part in ("test", "val"))
    test.write_csv(folder / "predictions.csv")
    val.write_csv(folder / "predictions-val.csv")
    write_json(folder / "run.json", run_json(kind, seed))
    write_json(folder / "data.json", data_json(kind))
    write_json(folder / "evaluation.json", evaluation_json(kind, test, val))
    write_json(folder / "audit.json", audit_json(kind))
    write_text(folder / "metrics.csv", metrics_csv(kind, rng))
    write_text(
        folder / "recipe.resolved.toml",
        f'name = "{kind.recipe}"\n\n[train]\nseed = {seed}\nbatch_size = 32\n',
    )
    opening = {
        "purpose": "train: final evaluation",
        "split": "test",
        "n": len(test),
        "data_sha256": "5e" * 32,
    }
    opening = {"time": "2031-02-03T04:05:06+00:00", **opening}
    write_text(folder / "ledger.jsonl", f"{_line(opening)}\n")
    write_samples(folder, kind, test, rng)
    return folder


def _line(value: dict[str, Any]) -> str:
    import json

    return json.dumps(value)


def predictions(kind: Kind, part: str, rng: np.random.Generator) -> Predictions:
    """Softmax answers that are mostly right."""
    targets = np.repeat(np.arange(len(kind.classes)), kind.counts[part])
    logits = rng.normal(size=(targets.size, len(kind.classes)))
    logits[np.arange(targets.size), targets] += kind.sharpness * rng.gamma(3.0, 1 / 3, targets.size)
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    paths = [f"{part}/{kind.classes[t]}/image-{i:05d}.jpg" for i, t in enumerate(targets)]
    return Predictions.build(
        paths, targets=targets, probs=probs, classes=kind.classes, positive=kind.positive, split=part
    )


def run_json(kind: Kind, seed: int) -> dict[str, Any]:
    done = 0
    stages = []
    for name, trainable, run, planned in kind.stages:
        best = done + max(1, run - 4 if run < planned else run)
        stages.append(
            {
                "name": name,
                "trainable": trainable,
                "epochs_run": run,
                "epochs_planned": planned,
                "best_epoch": best,
                "stopped_early": run < planned,
                "frozen": "" if trainable == "all" else "the frozen part ran once, on 1 plain view of each image",
            }
        )
        done += run
    return {
        "tumorscope": "0.1.0",
        "recipe": kind.recipe,
        "title": kind.title,
        "reproduces": kind.reproduces,
        "command": f"tumorscope train {kind.recipe} --data {kind.info.name} --out runs/a1",
        "seed": seed,
        "model": {
            "name": kind.model,
            "parameters": kind.parameters,
            "trainable": {"head": 5_124, "all": kind.parameters},
            "weights": "none" if kind.size_px == 28 else "imagenet",
            "weights_sha256": None if kind.size_px == 28 else "a1" * 32,
            "size_px": kind.size_px,
            "channels": 1 if kind.size_px == 28 else 3,
            "mean": [0.5] if kind.size_px == 28 else [0.485, 0.456, 0.406],
            "std": [0.5] if kind.size_px == 28 else [0.229, 0.224, 0.225],
        },
        "stages": stages,
        "plan": {
            "device": "cpu",
            "precision": "bf16",
            "memory_format": "channels_last",
            "threads": 2,
            "compile": False,
            "reason": "measured images a second: bf16/channels_last 56/s, fp32/contiguous 18/s",
        },
        "machine": {
            "cpu": "Example CPU @ 2.60GHz",
            "threads": "2",
            "system": "Linux",
            "architecture": "x86_64",
        },
        "versions": {
            "tumorscope": "0.1.0",
            "python": "3.11.9",
            "torch": "2.15.0",
            "timm": "1.0.20",
            "numpy": "2.3.1",
        },
        "hashes": {k: sha256_value(k) for k in ("data", "split", "recipe", "code", "bundle")},
        "stamps": ["leaks accepted: 216 test images have a copy in train"] if kind.copies else [],
        "control": None,
        "temperature": 1.27,
    }


def findings(kind: Kind) -> list[dict[str, Any]]:
    """What an audit might have found."""
    found: list[dict[str, Any]] = [
        {
            "code": "DATA020",
            "severity": "warning",
            "title": "One picture has two labels",
            "detail": "1 picture stands in train as malignant and in test as benign.",
            "count": 2,
            "paths": ["train/a.jpg", "test/b.jpg"],
        }
    ]
    if kind.copies:
        found = [
            {
                "code": "LEAK001",
                "severity": "error",
                "title": "Test images have exact copies in train",
                "detail": f"{kind.copies} of {sum(kind.counts['test'])} test images are in training too.",
                "count": kind.copies,
                "paths": [f"Testing/notumor/Te-no_{i:04d}.jpg" for i in range(kind.copies)],
            },
            {
                "code": "SHORTCUT001",
                "severity": "warning",
                "title": "Size and colour mode predict the class",
                "detail": "A rule on width, height and mode reaches 41.2% (majority 30.9%).",
                "count": 1311,
                "paths": [],
            },
            {
                "code": "DATA011",
                "severity": "info",
                "title": "Gray and colour files are mixed",
                "detail": "4,117 gray and 2,902 RGB files; all decode to gray pictures.",
                "count": 7019,
                "paths": [],
            },
        ]
    return found


def audit_json(kind: Kind) -> dict[str, Any]:
    """The findings again, and two checks that found nothing."""
    rows = [
        {**{k: v for k, v in f.items() if k != "paths"}, "outcome": "finding", "examples": f["paths"]}
        for f in findings(kind)
    ]
    for code, outcome, detail in (
        ("CUT001", "fine", "Balanced accuracy 0.26 (0.22 to 0.31), chance 0.25."),
        ("LEAK015", "not applicable", "The data names no patients."),
    ):
        rows.append(
            {
                "code": code,
                "severity": "warning",
                "title": "A check that found nothing.",
                "outcome": outcome,
                "detail": detail,
                "count": 0,
                "examples": [],
                "figures": {},
            }
        )
    return {"tumorscope": "0.1.0", "command": "", "findings": rows, "pairs": {}, "groups": {}, "data": {}}


def data_json(kind: Kind) -> dict[str, Any]:
    counts = {part: dict(zip(kind.classes, row, strict=True)) for part, row in kind.counts.items()}
    used = sum(sum(row) for row in kind.counts.values())
    excluded = [
        {
            "path": f"Training/glioma/Tr-gl_{i:04d} copy.jpg",
            "reason": "truncated",
            "detail": "ends in row 131 of 224",
        }
        for i in range(3 if kind.copies else 0)
    ]
    return {
        "root": "/home/someone/Downloads/data",
        "layout": "medmnist" if not kind.copies else "class-folders",
        "summary": f"{used:,} images, {len(kind.classes)} classes, official split.",
        "classes": list(kind.classes),
        "positive": kind.positive,
        "inputs": used + len(excluded),
        "used": used,
        "excluded": excluded,
        "counts": counts,
        "findings": findings(kind),
        "info": {k: getattr(kind.info, k) for k in ("name", "title", "licence", "citation", "homepage", "modality")},
        "sha256": "5e" * 32,
        "split": {
            "policy": "official",
            "seed": 0,
            "counts": counts,
            "sha256": "c4" * 32,
            "origin": "official test folder; validation drawn from train",
            "crossing_copies": kind.copies,
            "note": "Copies and patients never cross from train to validation.",
        },
    }


def evaluation_json(kind: Kind, table: Predictions, validation: Predictions) -> dict[str, Any]:
    """The real evaluation of the synthetic answers; the histogram baseline is made up."""
    rng = np.random.default_rng(7)
    rough = rng.dirichlet(np.ones(len(kind.classes)), len(table))
    rough[np.arange(len(table)), table.targets] += 0.25
    first = np.arange(len(table)) < kind.copies
    found = evaluate(
        table,
        train_counts=dict(zip(kind.classes, kind.counts["train"], strict=True)),
        histogram_probs=rough / rough.sum(1, keepdims=True),
        threshold=choose_operating_point(validation) if kind.positive else None,
        temperature=1.27,
        subsets={"no exact copy in training": ~first, "exact copy in training": first} if kind.copies else {},
        provenance={"command": "tumorscope train", "hashes": {}},
        data_warnings=[f"{f['code']} {f['title']}: {f['detail']}" for f in findings(kind)],
        bootstrap=100,
    )
    value: dict[str, Any] = found.to_json()
    sets = fit_conformal(validation.probs, validation.targets, classes=kind.classes)
    return {**value, "prediction_sets": describe_sets(sets, table)}


def metrics_csv(kind: Kind, rng: np.random.Generator) -> str:
    lines = ["stage,epoch,lr,train_loss,train_accuracy,val_loss,val_accuracy"]
    epoch = 0
    for name, _, run, _ in kind.stages:
        for _ in range(run):
            epoch += 1
            fall = np.exp(-epoch / 7)
            noise = rng.normal(0, 0.012, 4)
            figures = (
                0.12 + 0.55 * fall,
                0.97 - 0.3 * fall,
                0.3 + 0.35 * fall + 0.004 * epoch,
                0.88 - 0.2 * fall,
            )
            lines.append(
                f"{name},{epoch},0.001," + ",".join(f"{v + e:.4f}" for v, e in zip(figures, noise, strict=True))
            )
    return "\n".join(lines) + "\n"


def write_samples(folder: Path, kind: Kind, table: Predictions, rng: np.random.Generator) -> None:
    wrong, right = np.flatnonzero(~table.correct), np.flatnonzero(table.correct)
    chosen = np.r_[wrong[: kind.pictures // 2], rng.choice(right, kind.pictures // 2, replace=False)]
    images, entries = [], []
    for i in chosen.tolist():
        centre, size = rng.uniform(0.38, 0.62, 2), rng.uniform(0.07, 0.14)
        images.append(picture(rng, centre, size, ultrasound=not kind.boxes))
        label = kind.classes[table.targets[i]]
        boxes = [{"label": label, "cx": centre[0], "cy": centre[1], "w": 2.4 * size, "h": 2.4 * size}]
        if rng.random() < 0.1:
            boxes.append({"label": kind.classes[0], "cx": 0.3, "cy": 0.6, "w": 0.15, "h": 0.2})
        entries.append(
            {
                "path": table.paths[i],
                "label": label,
                "predicted": kind.classes[table.predicted[i]],
                "prob": float(table.probs[i].max()),
                "correct": bool(table.correct[i]),
                "boxes": boxes if kind.boxes else [],
            }
        )
    np.savez_compressed(folder / "samples.npz", images=np.stack(images))
    write_json(folder / "samples.json", entries)


def picture(rng: np.random.Generator, centre: Floats, size: float, *, ultrasound: bool) -> Pixels:
    """(160, 160) uint8: a head-like disc with a bright blob, or speckle with a dark one."""
    y, x = np.mgrid[0:SIDE_PX, 0:SIDE_PX] / SIDE_PX
    blob = np.exp(-(((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (size / 1.4) ** 2))
    grain = rng.normal(0, 1, (20, 20)).repeat(8, 0).repeat(8, 1)
    if ultrasound:
        return as_pixels(120 + 28 * grain - 95 * blob - 60 * y)
    head = ((x - 0.5) / 0.4) ** 2 + ((y - 0.5) / 0.46) ** 2
    body = np.where(head < 0.86, 85 + 9 * grain, np.where(head < 1, 165, 4))
    return as_pixels(body + 120 * blob * (head < 0.86))


def as_pixels(values: Floats) -> Pixels:
    """Values clipped to 0..255 as bytes."""
    return np.asarray(np.clip(values, 0, 255), dtype=np.uint8)


def write_summary(folder: Path, *, seeds: int = 5, kind: Kind = BINARY) -> Path:
    """A series: one run folder a seed, without their reports, and the summary that the trainer writes."""
    tables: dict[str, list[Predictions]] = {"predictions.csv": [], "predictions-val.csv": []}
    children = []
    for seed in range(seeds):
        run = write_run(folder / f"seed-{seed}", kind, seed=seed)
        metrics = read_json(run / "evaluation.json")["metrics"]
        figures = {k: metrics[k] for k in ("accuracy", "auroc", "balanced_accuracy")}
        child = {"name": run.name, "repeat": seed, "seed": seed, "n": 156, "epochs": 33, "bundle": "b" * 64}
        children.append({**child, **figures})
        for file, found in tables.items():
            found.append(read_csv(run / file, positive=kind.positive))
    test, val = (aggregate_seeds(found, bootstrap=100).to_json() for found in tables.values())
    summary = {
        "recipe": kind.recipe,
        "title": kind.title,
        "folds": None,
        "test": test,
        "validation": val,
        "children": children,
        "command": f"tumorscope train {kind.recipe} --data {kind.info.name} --out RUN --seeds {seeds}",
    }
    write_json(folder / "summary.json", summary)
    return folder


def smaller(kind: Kind, **changes: Any) -> Kind:
    """`kind` with some of its fields changed."""
    return replace(kind, **changes)


if __name__ == "__main__":
    from tumorscope.reporting.render import render_report
    from tumorscope.reporting.summary import render_summary

    for label, kind in (("binary", BINARY), ("four", FOUR)):
        print(render_report(write_run(Path(sys.argv[1]) / label, kind)))
    several = write_summary(Path(sys.argv[1]) / "several")
    for one in sorted(several.glob("seed-*")):
        render_report(one)
    print(render_summary(several))
