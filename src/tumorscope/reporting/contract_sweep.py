"""What the page of a sweep needs from `sweep.json`, checked once, with every mistake in one message.

In: parsed JSON. Out: frozen models. Keys that are not listed are ignored.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from tumorscope.reporting.contract import Part

Value = str | bool | int | float


class _Finite(Part):
    """A part whose numbers are finite."""

    model_config = ConfigDict(allow_inf_nan=False)


class SweptKey(_Finite):
    """One recipe key and what was tried: `choices`, or a range."""

    key: str
    choices: tuple[Value, ...] = ()
    low: float | None = None
    high: float | None = None
    log: bool = False


class SweptPoint(_Finite):
    """One point: its values, its score on each fold, their mean and its standard error."""

    slot: int
    state: Literal["done", "left early", "failed"]
    point: dict[str, Value]
    mean: float | None = None
    se: float | None = None
    folds: tuple[float, ...] = ()
    epochs: tuple[int, ...] = ()
    seconds: float = 0.0
    attempt: int = 1
    reason: str = ""
    finished: float | None = None


class Shares(_Finite):
    """Share of each key in the variance of the scores; `method` says how, or why there are none."""

    method: str
    shares: dict[str, float] = Field(default_factory=dict)


class Winner(Part):
    """A run that followed: its folder and the point that it trains."""

    folder: str
    slot: int


class SweepFile(_Finite):
    """`sweep.json` of a sweep with at least one finished point."""

    recipe: str
    metric: str
    sampler: Literal["grid", "random", "tpe"]
    folds: int
    images: int
    space: tuple[SweptKey, ...]
    trials: tuple[SweptPoint, ...]
    best: SweptPoint
    importance: Shares
    title: str = ""
    tumorscope: str = ""
    command: str = ""
    summary: str = ""
    plan: str = ""
    prune: bool = False
    points: int | None = None
    lost: int = 0
    seconds: float = 0.0
    seed: int | None = None
    fixed: dict[str, Any] = Field(default_factory=dict)
    classes: dict[str, int] = Field(default_factory=dict)
    identity: dict[str, str] = Field(default_factory=dict)
    stamps: tuple[str, ...] = ()
    winners: tuple[Winner, ...] = ()
