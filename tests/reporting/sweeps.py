"""A planted sweep: `sweep.json` as the searcher writes it, with scores that follow a known rule."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from tests.reporting.runs import write_summary
from tumorscope.core.files import write_json

RATES, BATCHES, OPTIMIZERS = (1e-3, 1e-4, 1e-5), (32, 64), ("adam", "adamw", "rmsprop")


def planted(**changes: Any) -> dict[str, Any]:
    """A grid of 18 points on 3 folds; the learning rate decides, then the optimizer; one point failed, one was lost."""
    trials: list[dict[str, Any]] = []
    for slot, (rate, batch, optimizer) in enumerate(itertools.product(RATES, BATCHES, OPTIMIZERS)):
        mean = 0.9 - 0.12 * RATES.index(rate) - 0.01 * OPTIMIZERS.index(optimizer) - 0.002 * BATCHES.index(batch)
        trials.append(
            {
                "slot": slot,
                "state": "done",
                "point": {"stage.all.lr": rate, "train.batch_size": batch, "stage.all.optimizer": optimizer},
                "mean": mean,
                "se": 0.015,
                "folds": [mean - 0.02, mean, mean + 0.02],
                "epochs": [25, 25, 24],
                "seconds": 21.5 + slot,
                "cpu_seconds": 20.0,
                "attempt": 2 if slot == 4 else 1,
                "reason": "",
                "finished": 1000.0 + (slot * 7) % 18,
            }
        )
    trials[17] |= {"state": "failed", "mean": None, "se": None, "folds": [], "epochs": [], "reason": "loss became nan"}
    trials[16] |= {"state": "left early", "se": None, "folds": trials[16]["folds"][:1], "epochs": [25]}
    return {
        "recipe": "breastmnist-cnn",
        "title": "BreastMNIST, small CNN",
        "tumorscope": "0.1.0",
        "command": "tumorscope sweep breastmnist-cnn --data 'my data.npz' --out SWEEP",
        "summary": "breastmnist: 780 images in 2 classes",
        "metric": "val_auroc",
        "sampler": "grid",
        "folds": 3,
        "images": 624,
        "classes": {"malignant": 168, "normal, benign": 456},
        "seed": 0,
        "plan": "cpu, fp32, contiguous, 1 thread",
        "prune": True,
        "points": 18,
        "lost": 1,
        "seconds": 301.0,
        "fixed": {"stage.all.epochs": 25, "augment.scale": [0.9, 1.1]},
        "space": [
            {"key": "stage.all.lr", "choices": list(RATES)},
            {"key": "train.batch_size", "choices": list(BATCHES)},
            {"key": "stage.all.optimizer", "choices": list(OPTIMIZERS)},
        ],
        "trials": trials,
        "best": trials[0],
        "importance": {
            "method": "functional ANOVA over a random forest (Hutter et al. 2014)",
            "shares": {"train.batch_size": 0.01, "stage.all.lr": 0.93, "stage.all.optimizer": 0.06},
        },
        "identity": {"recipe": "a" * 64, "data": "b" * 64},
        "stamps": [],
        "winners": [],
        **changes,
    }


def write_sweep(folder: Path, *, winner: bool = True, **changes: Any) -> Path:
    """The folder of a planted sweep, with the series of its best point."""
    folder.mkdir(parents=True, exist_ok=True)
    if winner:
        changes = {"winners": [{"folder": "winner", "recipe_sha256": "c" * 64, "slot": 0}], **changes}
        write_summary(folder / "winner", seeds=2)
        (folder / "winner" / "summary.html").write_text("<!doctype html>", encoding="utf-8")
    write_json(folder / "sweep.json", planted(**changes))
    return folder
