"""Evaluate a finished run again: on its own test part, or on data it has never seen.

In: a run folder and a Manifest. Out: a folder `evaluations/NAME` inside the run with predictions and evaluation.
Each opening of a test part is logged in the run's ledger; images that also stand in the run's training data (same
file or same pixels, and copies by picture where that data is given) are counted and evaluated apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from tumorscope.bundle.predictor import Predictor
from tumorscope.core.errors import UsageError
from tumorscope.core.files import read_json, write_json
from tumorscope.core.screen import bar
from tumorscope.data.copies.groups import COPY_KINDS
from tumorscope.data.copies.survey import survey
from tumorscope.data.manifest import Manifest
from tumorscope.data.relabel import relabel
from tumorscope.data.seen import copies_of_training, same_in_training
from tumorscope.data.split import Split
from tumorscope.data.splitting import groups_of
from tumorscope.evaluation.conformal import describe_sets, from_json
from tumorscope.evaluation.evaluation import evaluate
from tumorscope.evaluation.operating import OperatingPoint
from tumorscope.imaging.cache import open_cache
from tumorscope.training.assess import open_ledger, predictions_table, write_samples


def evaluate_on(
    run: Path,
    manifest: Manifest,
    *,
    name: str,
    part: str = "all",
    mapping: Mapping[str, str] | None = None,
    trained_on: Manifest | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Evaluate a run's bundle on other data.

    Args:
        run: Run folder.
        manifest: The data.
        name: Folder under `evaluations/`; letters, digits, dot, dash and underscore.
        part: "all", or "test" for the official test part of the data.
        mapping: Class names of the data that are called otherwise in the model.
        trained_on: The data that the run was trained on: near copies of its training images are told apart then.
        console: Where progress goes.

    Returns:
        The content of the new `evaluation.json`.

    Raises:
        UsageError: If the name is not usable, or the part does not exist.
        DataError: If classes do not match, or the run was not trained on `trained_on`.
        IntegrityError: If the bundle fails its checks.
    """
    console = console or Console(stderr=True)
    if not re.fullmatch(r"[\w.-]{1,80}", name) or name.startswith("."):
        raise UsageError(
            f"cannot use {name!r} as a folder name", where="--name", fix="use letters, digits, dot and dash"
        )
    folder = run / "evaluations" / name
    if (folder / "evaluation.json").is_file():
        before = read_json(folder / "evaluation.json")["provenance"]
        if (before["hashes"]["evaluated_data"], before["part"]) != (manifest.sha256, part):
            raise UsageError(
                f"the run has an evaluation named {name!r}, of other data or another part",
                where=folder,
                fix="choose another --name; nothing was overwritten",
            )
    evaluated_sha256 = manifest.sha256
    if trained_on is None:
        seen = same_in_training(run, manifest)
    else:
        seen = copies_of_training(run, manifest, trained_on, kinds=COPY_KINDS)
    predictor = Predictor.load(run)
    card = predictor.bundle.card
    manifest = replace(relabel(manifest, card.classes, mapping or {}), positive=card.positive)
    chosen = [i for i, r in enumerate(manifest.records) if part in ("all", r.split)]
    if not chosen:
        raise UsageError(
            f"the data has no {part} part",
            expected="all, or a part the data has",
            where="--part",
            fix="--part all",
        )
    rows = np.array(chosen, dtype=np.int64)
    with bar(console, "decode") as progress:
        cache = open_cache(
            [manifest.records[i].pixels_sha256 for i in chosen],
            lambda: manifest.pixels(chosen),
            card.preprocessing,
            progress=progress,
        )
    folder.mkdir(parents=True, exist_ok=True)
    opened = open_ledger(run, purpose=f"evaluate {name}", part=part, n=len(rows), data_sha256=manifest.sha256)
    with bar(console, "predict") as progress:
        probs = predictor.probs(predictor.logits(cache.images, progress=progress))
    groups = groups_of(manifest, survey(manifest))
    split = Split(
        assignment={manifest.records[i].path: "test" for i in chosen},
        policy="external",
        seed=0,
        data_sha256=manifest.sha256,
        groups={r.path: int(g) for r, g in zip(manifest.records, groups, strict=True)},
    )
    predictions = predictions_table(manifest, split, part=part, rows=rows, probs=probs)
    clean = ~seen[rows]
    warnings = []
    subsets = {}
    if not clean.all():
        what, how = ("exact copy", "the same file or pixels") if trained_on is None else ("copy", "a copy")
        warnings.append(
            f"{int((~clean).sum()):,} of {len(clean):,} images have {how} in the run's "
            "training data: this is no external test for them"
        )
        subsets = {f"no {what} in training": clean, f"{what} in training": ~clean}
    record = read_json(run / "data.json")
    run_record = read_json(run / "run.json")
    point = None
    if card.threshold is not None and card.positive is not None:
        point = OperatingPoint(card.threshold, card.positive, "of the run", "val", 0)
    evaluation = evaluate(
        predictions,
        train_counts=record["split"]["counts"]["train"],
        threshold=point,
        temperature=card.temperature,
        subsets=subsets,
        data_warnings=warnings,
        provenance={
            "run": run_record["recipe"],
            "hashes": {**run_record["hashes"], "evaluated_data": evaluated_sha256},
            "opened": opened,
            "part": part,
        },
    ).to_json()
    if card.prediction_sets is not None:
        sets = from_json(card.prediction_sets, card.classes)
        evaluation["prediction_sets"] = describe_sets(sets, predictions)
    predictions.write_csv(folder / "predictions.csv")
    write_json(folder / "evaluation.json", evaluation)
    write_json(folder / "data.json", manifest.describe())
    write_samples(manifest, predictions, rows, folder)
    return evaluation
