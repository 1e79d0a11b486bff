"""Which network, augmentation and averaging `breastmnist-cnn` ships: cross-validation on train + validation only.

    python -m benchmarks.breastmnist_settings --data DATA/breastmnist/breastmnist.npz [--repeats 2]

Four folds; copies (and likely patients) are kept in one fold. The official test part is never read. Prints AUROC and
accuracy, mean over folds of the last eighth of the epochs, with the standard error over folds, and the seconds of
training.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tumorscope.core.types import Targets
from tumorscope.data.copies.survey import survey
from tumorscope.data.load import load
from tumorscope.data.splitting import groups_of
from tumorscope.imaging.augment import AugmentSpec
from tumorscope.imaging.loader import BatchLoader
from tumorscope.models.registry import build_model

STRONG = AugmentSpec(flip_horizontal=0.5, rotate_deg=15, translate=0.08, scale=(0.9, 1.1), brightness=0.1, contrast=0.2)
MILD = AugmentSpec(flip_horizontal=0.5, rotate_deg=8, translate=0.05, scale=(0.95, 1.05), brightness=0.05, contrast=0.1)
FLIPS = AugmentSpec(flip_horizontal=0.5)
FOLDS = 4


@dataclass(frozen=True)
class Setting:
    """One candidate."""

    convs: int
    batch_norm: bool
    augment: AugmentSpec
    epochs: int
    dropout: float = 0.3
    average: float = 0.0
    smoothing: float = 0.0
    weight_decay: float = 1e-4
    batch: int = 32
    one_cycle: float = 0.0
    bf16: bool = False


SETTINGS = {
    "1 conv, no norm, strong": Setting(1, False, STRONG, 50, 0.4),
    "1 conv, no norm, mild": Setting(1, False, MILD, 50, 0.4),
    "1 conv, no norm, flips": Setting(1, False, FLIPS, 50, 0.4),
    "2 convs, no norm, mild": Setting(2, False, MILD, 40),
    "1 conv, norm, mild": Setting(1, True, MILD, 40),
    "2 convs, norm, mild": Setting(2, True, MILD, 40),
    "2 convs, norm, strong": Setting(2, True, STRONG, 60),
    "2 convs, norm, mild, EMA .98": Setting(2, True, MILD, 40, average=0.98),
    "2 convs, norm, mild, EMA .995": Setting(2, True, MILD, 40, average=0.995),
    "2 convs, norm, mild, EMA .98, 80": Setting(2, True, MILD, 80, average=0.98),
    "2 convs, norm, strong, EMA .98": Setting(2, True, STRONG, 60, average=0.98),
    "2 convs, norm, mild, EMA .98, smooth": Setting(2, True, MILD, 40, average=0.98, smoothing=0.1),
    "2 convs, norm, mild, EMA .98, drop .5": Setting(2, True, MILD, 40, 0.5, average=0.98),
    "2 convs, norm, mild, bf16": Setting(2, True, MILD, 40, bf16=True),
    "2 convs, one cycle 3e-3, 8": Setting(2, True, MILD, 8, one_cycle=3e-3, bf16=True),
    "2 convs, one cycle 3e-3, 12": Setting(2, True, MILD, 12, one_cycle=3e-3, bf16=True),
    "2 convs, one cycle 3e-3, 16": Setting(2, True, MILD, 16, one_cycle=3e-3, bf16=True),
    "2 convs, one cycle 6e-3, 12": Setting(2, True, MILD, 12, one_cycle=6e-3, bf16=True),
    "2 convs, one cycle 3e-3, 12, batch 64": Setting(2, True, MILD, 12, one_cycle=3e-3, bf16=True, batch=64),
    "1 conv, norm, one cycle 3e-3, 12": Setting(1, True, MILD, 12, one_cycle=3e-3, bf16=True),
    "1 conv, norm, one cycle 3e-3, 20": Setting(1, True, MILD, 20, one_cycle=3e-3, bf16=True),
}


def _averaging(decay: float) -> Any:
    return get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # not typed by torch


def fold(
    setting: Setting,
    images: NDArray[np.uint8],
    targets: Targets,
    *,
    train: NDArray[np.int64],
    held_out: NDArray[np.int64],
    seed: int,
) -> tuple[float, float, float]:
    """AUROC and accuracy on the held-out images, mean of the last eighth of the epochs; and seconds of training."""
    torch.manual_seed(seed)
    built = build_model(
        "cnn28",
        outputs=1,
        channels=1,
        size_px=28,
        dropout=setting.dropout,
        options={"convs": setting.convs, "batch_norm": setting.batch_norm},
    )
    loader = BatchLoader(
        images,
        targets,
        rows=train,
        batch_size=setting.batch,
        normalisation=built.normalisation,
        augment=setting.augment,
        shuffle=True,
        seed=seed,
        channels_last=True,
    )
    built.module.to(memory_format=torch.channels_last)
    check = BatchLoader(images, targets, rows=held_out, batch_size=256, normalisation=built.normalisation)
    optimizer = torch.optim.Adam(built.module.parameters(), lr=1e-3, weight_decay=setting.weight_decay)
    averaged = AveragedModel(built.module, multi_avg_fn=_averaging(setting.average), use_buffers=True)
    judged = averaged if setting.average else built.module
    steps = setting.epochs * len(loader)
    schedule: torch.optim.lr_scheduler.LRScheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    if setting.one_cycle:
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, setting.one_cycle, total_steps=steps, cycle_momentum=False
        )
    share = float((targets[train] == 0).mean())
    weight = torch.tensor((1 - share) / share)
    rows = []
    seconds = 0.0
    for epoch in range(setting.epochs):
        loader.epoch = epoch
        begun = time.perf_counter()
        built.module.train()
        for batch, truth, _ in loader:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=setting.bf16):
                logits = built.module(batch)[:, 0].float()
            soft = (truth == 0).float() * (1 - setting.smoothing) + setting.smoothing / 2
            loss = functional.binary_cross_entropy_with_logits(logits, soft, pos_weight=weight)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            if setting.average:
                averaged.update_parameters(built.module)
        seconds += time.perf_counter() - begun
        judged.eval()
        with torch.inference_mode():
            scores = torch.cat([judged(batch)[:, 0] for batch, _, _ in check]).numpy()
        malignant = targets[held_out] == 0
        rows.append((float(roc_auc_score(malignant, scores)), float(((scores > 0) == malignant).mean())))
    auroc, accuracy = np.mean(rows[-max(1, setting.epochs // 8) :], axis=0)
    return float(auroc), float(accuracy), seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--repeats", type=int, default=1, help="other folds and seeds, this often")
    parser.add_argument("--only", nargs="*", choices=list(SETTINGS))
    arguments = parser.parse_args()
    manifest = load(arguments.data)
    images = np.stack(list(manifest.pixels()))[:, None]
    rows = np.array([i for i, r in enumerate(manifest.records) if r.split != "test"])
    targets = manifest.targets
    groups = groups_of(manifest, survey(manifest))[rows]
    for name in arguments.only or SETTINGS:
        results = []
        for repeat in range(1, arguments.repeats + 1):
            parts = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=repeat).split(rows, targets[rows], groups)
            results += [
                fold(SETTINGS[name], images, targets, train=rows[a], held_out=rows[b], seed=100 * repeat + seed)
                for seed, (a, b) in enumerate(parts)
            ]
        auroc, accuracy, seconds = np.mean(results, axis=0)
        errors = np.std(results, axis=0, ddof=1) / len(results) ** 0.5
        sys.stdout.write(
            f"{name:38} AUROC {auroc:.3f} ± {errors[0]:.3f}  accuracy {accuracy:.3f} ± {errors[1]:.3f}  "
            f"{seconds:.1f} s  (n = {len(rows)}, {len(results)} folds)\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
