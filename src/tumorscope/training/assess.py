"""Opening the test part: predictions table, evaluation with baselines and subsets, thumbnails, and the ledger entry.

In: probabilities of a part of a manifest. Out: `predictions.csv`, `evaluation.json`, `samples.npz` and
`samples.json` in the run folder. Each opening of test is logged in `ledger.jsonl` before its figures exist.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.files import atomic_path, save_npz, write_json
from tumorscope.core.types import Probs
from tumorscope.data.copies.survey import Survey
from tumorscope.data.manifest import Manifest
from tumorscope.data.split import Split
from tumorscope.evaluation.baselines import histogram_baseline
from tumorscope.evaluation.conformal import Conformal, describe_sets
from tumorscope.evaluation.evaluation import evaluate
from tumorscope.evaluation.operating import OperatingPoint
from tumorscope.evaluation.predictions import Predictions
from tumorscope.imaging.boxes import boxes_in_pixels, boxes_to_input
from tumorscope.imaging.preprocess import Preprocessing, preprocess
from tumorscope.training.parts import overlaps

SAMPLES = 12
"""Wrong answers, and as many right ones, in the montage."""
THUMBNAIL_PX = 160

Rows = Mapping[str, NDArray[np.int64]]


def open_ledger(folder: Path, *, purpose: str, part: str, n: int, data_sha256: str) -> int:
    """Log that a part was opened, before it is; returns how often that data's part was opened so far."""
    path = folder / "ledger.jsonl"
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "purpose": purpose,
        "split": part,
        "n": n,
        "data_sha256": data_sha256,
    }
    with path.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(entry, sort_keys=True) + "\n")
        handle.flush()
        os.fsync(handle.fileno())
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return sum(entry["split"] == part and entry["data_sha256"] == data_sha256 for entry in lines)


def predictions_table(
    manifest: Manifest, split: Split, *, part: str, rows: NDArray[np.int64], probs: Probs
) -> Predictions:
    """Predictions of one part; patients, or groups of copies, are what resampling keeps together.

    Args:
        manifest: The data.
        split: Its groups name the copies.
        part: Name of the part.
        rows: (n,) positions in the manifest.
        probs: (n, C).
    """
    records = [manifest.records[i] for i in rows.tolist()]
    return Predictions.build(
        [r.path for r in records],
        targets=manifest.targets[rows],
        probs=probs,
        classes=manifest.classes,
        positive=manifest.positive,
        split=part,
        patients=[r.patient for r in records],
        copies=[str(split.groups[r.path]) if r.path in split.groups else None for r in records],
    )


def assess(
    manifest: Manifest,
    split: Split,
    survey: Survey,
    *,
    predictions: Predictions,
    rows: Rows,
    histograms: NDArray[np.float64],
    operating_point: OperatingPoint | None,
    sets: Conformal,
    temperature: float,
    provenance: dict[str, Any],
    out: Path,
) -> dict[str, Any]:
    """Evaluate a part against its baselines and write everything about it to `out`.

    Args:
        manifest: The data.
        split: Its parts.
        survey: Its copies; those of test images in training make subsets with figures of their own.
        predictions: Of the test part.
        rows: Positions of train, val and test in the manifest.
        histograms: (N, bins) intensity histograms of all images.
        operating_point: Chosen on validation, or None.
        sets: Limits of prediction sets, from validation.
        temperature: Fitted on validation.
        provenance: Hashes, versions, machine, command.
        out: Run folder.

    Returns:
        The content of `evaluation.json`.
    """
    targets = manifest.targets
    baseline = histogram_baseline(
        histograms[rows["train"]],
        train_targets=targets[rows["train"]],
        test_hist=histograms[rows["test"]],
        classes=manifest.classes,
    )
    found = overlaps(manifest, split, survey, rows["test"])
    warnings = [
        f"{f.code} {f.title.rstrip('.')}: {f.detail}" for f in manifest.findings if f.severity in ("warning", "error")
    ]
    evaluation = evaluate(
        predictions,
        train_counts=split.counts(manifest)["train"],
        histogram_probs=baseline,
        threshold=operating_point,
        temperature=temperature,
        subsets={name: mask for one in found for name, mask in one.subsets().items()},
        provenance=provenance,
        data_warnings=[*warnings, *(one.warning() for one in found)],
    ).to_json()
    evaluation["prediction_sets"] = describe_sets(sets, predictions)
    predictions.write_csv(out / "predictions.csv")
    write_json(out / "evaluation.json", evaluation)
    write_samples(manifest, predictions, rows["test"], out)
    return evaluation


def choose_samples(predictions: Predictions) -> tuple[list[int], list[int]]:
    """Positions of wrong answers (most confident first) and of right ones (by class in turn, least sure first)."""
    confidence = predictions.probs.max(axis=1)
    order = np.lexsort((np.array(predictions.paths), -confidence)).tolist()
    wrong = [i for i in order if not predictions.correct[i]][:SAMPLES]
    per_class = [
        [i for i in reversed(order) if predictions.correct[i] and predictions.targets[i] == target]
        for target in range(len(predictions.classes))
    ]
    right = [column[k] for k in range(SAMPLES) for column in per_class if k < len(column)][:SAMPLES]
    return wrong, right


def write_samples(manifest: Manifest, predictions: Predictions, rows: NDArray[np.int64], out: Path) -> None:
    """Thumbnails for the report's montage, so that it can be rendered again without the data.

    Args:
        manifest: Gives pixels and boxes.
        predictions: Table of the part, in the order of `rows`.
        rows: (n,) positions in the manifest.
        out: `samples.npz` (images (k, S, S, 3) uint8) and `samples.json` go there.
    """
    wrong, right = choose_samples(predictions)
    chosen = [*wrong, *right]
    preprocessing = Preprocessing(size_px=THUMBNAIL_PX, channels=3, fit="pad")
    images: list[NDArray[np.uint8]] = []
    entries: list[dict[str, Any]] = []
    indices = [int(rows[i]) for i in chosen]
    for i, index, pixels in zip(chosen, indices, manifest.pixels(indices), strict=True):
        image, geometry = preprocess(pixels, preprocessing)
        images.append(image.transpose(1, 2, 0))
        record = manifest.records[index]
        boxes = []
        for box in record.boxes:
            pixels_of = boxes_in_pixels([box], width_px=record.width_px, height_px=record.height_px)
            for left, top, right_x, bottom in boxes_to_input(pixels_of, geometry, size_px=THUMBNAIL_PX).tolist():
                boxes.append(
                    {
                        "label": box.label,
                        "cx": (left + right_x) / 2 / THUMBNAIL_PX,
                        "cy": (top + bottom) / 2 / THUMBNAIL_PX,
                        "w": (right_x - left) / THUMBNAIL_PX,
                        "h": (bottom - top) / THUMBNAIL_PX,
                    }
                )
        predicted = int(predictions.predicted[i])
        entries.append(
            {
                "path": record.path,
                "label": record.label,
                "predicted": manifest.classes[predicted],
                "prob": float(predictions.probs[i, predicted]),
                "correct": bool(predictions.correct[i]),
                "boxes": boxes,
            }
        )
    stacked = np.stack(images) if images else np.zeros((0, THUMBNAIL_PX, THUMBNAIL_PX, 3), np.uint8)
    with atomic_path(out / "samples.npz") as temporary, temporary.open("wb") as handle:
        save_npz(handle, images=stacked)
    write_json(out / "samples.json", entries)
