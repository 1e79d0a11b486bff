"""Which epoch is kept: the one whose monitored figure is best, or the last."""

from __future__ import annotations

import math


def better(monitor: str, value: float, best: float | None, min_delta: float = 0.0) -> bool:
    """True if `value` improves on `best` by more than `min_delta`; losses fall, the other figures rise."""
    if math.isnan(value):
        return False
    if best is None:
        return True
    return value < best - min_delta if monitor == "val_loss" else value > best + min_delta


def chosen_by(monitor: str, row: dict[str, float], *, epochs: int) -> float:
    """The figure that chooses the epoch: the monitored one, or for "last" the epochs so far, NaN after a divergence."""
    if monitor == "last":
        return float(epochs) if math.isfinite(row["train_loss"]) else math.nan
    return row[monitor]
