"""`checkpoint.pt`: all that the next epoch needs, stored between epochs and checked before it is used again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tumorscope.core.errors import IntegrityError
from tumorscope.core.files import atomic_path
from tumorscope.training.module import StageModule
from tumorscope.training.plan import Plan


@dataclass
class FitState:
    """Everything between two epochs; plain values and tensors only, so that it can be stored without pickle code.

    Attributes:
        recipe_sha256: Recipe it belongs to.
        split_sha256: Split it belongs to.
        stage: Position of the running stage.
        epoch: Epochs of that stage done.
        rows: One row an epoch, over all stages.
        best_value: Best monitored value so far, over all stages.
        best_row: Position of its row.
        waited: Epochs of this stage without improvement of the early-stopping figure.
        stop_value: Best early-stopping figure of this stage.
        seconds: Training time of each epoch in seconds.
        stopped: Names of stages that stopped early.
        plan: Execution plan it began with.
        frozen: For each stage begun, how its frozen part was run.
    """

    recipe_sha256: str
    split_sha256: str
    stage: int = 0
    epoch: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    best_value: float | None = None
    best_row: int = -1
    waited: int = 0
    stop_value: float | None = None
    seconds: list[float] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    plan: dict[str, Any] = field(default_factory=dict)
    frozen: dict[str, str] = field(default_factory=dict)


def save_checkpoint(path: Path, state: FitState, module: StageModule, best: Mapping[str, Tensor]) -> None:
    """Store all that the next epoch needs, atomically."""
    scheduler = None if module.scheduler is None else module.scheduler.state_dict()
    with atomic_path(path) as temporary:
        torch.save(
            {
                "state": asdict(state),
                "network": module.network.state_dict(),
                "optimizer": module.optimizer.state_dict(),
                "scheduler": scheduler,
                "best": dict(best),
            },
            temporary,
        )


def _read_checkpoint(path: Path) -> dict[str, Any]:
    try:
        stored: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        Plan(**stored["state"]["plan"])
    except Exception as error:
        raise IntegrityError(
            f"the checkpoint cannot be read: {type(error).__name__}",
            where=path,
            fix="train again into a new folder",
        ) from error
    return stored


def load_checkpoint(path: Path, *, recipe_sha256: str, split_sha256: str) -> dict[str, Any]:
    """Read a checkpoint of this very recipe and split; tensors and plain values only, never code.

    Raises:
        IntegrityError: If it is damaged or belongs to another recipe or split.
    """
    stored = _read_checkpoint(path)
    state = stored["state"]
    for name, expected in (("recipe", recipe_sha256), ("split", split_sha256)):
        if state[f"{name}_sha256"] != expected:
            raise IntegrityError(
                f"the checkpoint was made with another {name}",
                expected=f"{name} {expected[:12]}…, found {state[f'{name}_sha256'][:12]}…",
                where=path,
                fix="resume with the same recipe, overrides and data, or train into a new folder",
            )
    return stored


def begun_plan(folder: Path) -> Plan | None:
    """The execution plan that a stopped run in `folder` began with; None without a checkpoint."""
    path = folder / "checkpoint.pt"
    if not path.is_file():
        return None
    return Plan(**_read_checkpoint(path)["state"]["plan"])
