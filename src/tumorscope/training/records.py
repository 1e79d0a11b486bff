"""What a finished run says about itself: `data.json`, `timing.json`, and `run.json` last."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tumorscope
from tumorscope.core.files import write_json
from tumorscope.data.copies.survey import Survey
from tumorscope.data.manifest import Manifest
from tumorscope.data.split import Split, crossing, patient_groups
from tumorscope.models.freeze import apply_freeze
from tumorscope.models.registry import BuiltModel
from tumorscope.training.fit import FitResult
from tumorscope.training.recipe import Recipe


def code_sha256() -> str:
    """Hash over the package's own source files: which code made a result."""
    root = Path(tumorscope.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _origin(manifest: Manifest, split: Split) -> str:
    """Where the parts come from, in words."""
    if split.policy == "official":
        return "official"
    if split.policy in ("deduplicated", "patient-likely") and manifest.has_official_split:
        return "official, twins left out"
    return "made here"


def write_records(
    out: Path,
    recipe: Recipe,
    manifest: Manifest,
    split: Split,
    survey: Survey,
    built: BuiltModel,
    result: FitResult,
    provenance: dict[str, Any],
    *,
    temperature: float,
    stamps: Sequence[str],
    processes: int,
) -> None:
    """`data.json`, `run.json` and `timing.json`; times stand apart, so that equal runs give equal records."""
    write_json(
        out / "data.json",
        {
            **manifest.describe(),
            "split": {
                "policy": split.policy,
                "seed": split.seed,
                "counts": split.counts(manifest),
                "sha256": split.sha256,
                "origin": _origin(manifest, split),
                "crossing_copies": len(crossing(manifest, split, survey.copies)),
                "crossing_patients": len(crossing(manifest, split, patient_groups(manifest))),
                "note": split.note,
            },
        },
    )
    write_json(
        out / "timing.json",
        {
            "epoch_seconds": result.seconds,
            "training_seconds": sum(result.seconds),
            "images_per_epoch": result.images_per_epoch,
            "resumed": result.resumed,
            "plan": result.plan.reason,
            "host_cpus": os.cpu_count(),
            "python": platform.python_version(),
        },
    )
    # run.json comes last: where it stands, the run is finished
    trainable = {}
    for name, stage in recipe.stage.items():
        trainable[name] = apply_freeze(built, stage.trainable)
    plan = {k: v for k, v in asdict(result.plan).items() if k != "reason"}
    write_json(
        out / "run.json",
        {
            "tumorscope": tumorscope.__version__,
            "recipe": recipe.name,
            "title": recipe.title,
            "reproduces": recipe.reproduces,
            "command": provenance["command"],
            "seed": recipe.train.seed,
            "model": {
                "name": recipe.model.name,
                "parameters": built.parameters,
                "trainable": trainable,
                "weights": built.weights,
                "weights_sha256": built.weights_sha256,
                "size_px": recipe.image.size_px,
                "channels": recipe.image.channels,
                "mean": built.normalisation.mean,
                "std": built.normalisation.std,
            },
            "stages": result.stages,
            "plan": plan,
            "processes": processes,
            "machine": provenance["machine"],
            "versions": provenance["versions"],
            "hashes": provenance["hashes"],
            "stamps": list(stamps),
            "control": None if recipe.train.control == "none" else recipe.train.control,
            "monitor": recipe.train.monitor,
            "temperature": temperature,
        },
    )
