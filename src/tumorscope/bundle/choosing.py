"""Which backend is fastest for this bundle on this machine, at equal answers, by timed batches; remembered.

In: a bundle and the number of images that come at a time. Out: a `Choice`. A backend that is not installed, does not
work here or answers differently is left out, and the reason says so.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tumorscope.bundle.backends import (
    BACKENDS,
    BATCH_IMAGES,
    Backend,
    find_backend,
    open_backend,
    package_versions,
)
from tumorscope.bundle.bundle import Bundle
from tumorscope.core.errors import TumorscopeError
from tumorscope.core.files import cache_root, read_json, sha256_value, write_json
from tumorscope.core.machine import machine

ROUNDS = 3
"""Timed batches of each backend, taken in turns so that a busy moment of the machine hits all of them."""
TRIAL_IMAGES = 16
"""Largest batch that is timed: more take longer and rank the same."""
GIVE_UP = 3.0
"""A backend whose first timed batch takes this many times the best so far is not timed further."""
GAIN = 1.05
"""How much faster than plain torch a backend must measure to be taken, so that noise does not choose."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A backend and why.

    Attributes:
        name: One of `BACKENDS`.
        reason: One line, with the measured images a second.
    """

    name: str
    reason: str


def choose_backend(bundle: Bundle, *, batch: int = 32, wish: str = "auto", remember: bool = True) -> Choice:
    """The fastest backend that gives torch's answers, or the one that is asked for.

    Args:
        bundle: What will be run.
        batch: Images that will come at a time; 1 for a server with one user.
        wish: "auto" to measure, or one of `BACKENDS`.
        remember: Take a choice made before for the same bundle, batch, machine and versions, and keep this one.

    Raises:
        UsageError: For an unknown wish.
    """
    if wish != "auto":
        return Choice(find_backend(wish).name, "asked for")
    batch = max(1, min(batch, TRIAL_IMAGES, BATCH_IMAGES))
    memory = cache_root() / "backends.json"
    key = sha256_value(
        {
            "bundle": bundle.identity,
            "batch": batch,
            "machine": machine(),
            "versions": package_versions(),
            "backends": [spec.name for spec in BACKENDS.values() if spec.exact],
        }
    )
    if remember and (known := _recall().get(key)):
        try:
            return Choice(**known)
        except TypeError:
            pass  # written by another version: measured again and replaced below
    choice = _measure(bundle, batch)
    if remember:
        write_json(memory, {**_recall(), key: asdict(choice)})
    return choice


def _recall() -> dict[str, Any]:
    try:
        stored = read_json(cache_root() / "backends.json")
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


def _measure(bundle: Bundle, batch: int) -> Choice:
    images = np.resize(bundle.probe, (batch, *bundle.probe.shape[1:]))
    opened: dict[str, Backend] = {}
    remarks: list[str] = []
    for spec in BACKENDS.values():
        if not spec.exact:
            continue
        if not spec.available:
            remarks.append(f"{spec.name} is not installed")
            continue
        try:
            opened[spec.name] = open_backend(spec.name, bundle)
        except TumorscopeError as error:
            remarks.append(f"{spec.name} left out: {error.found}")
    seconds: dict[str, list[float]] = {name: [] for name in opened}
    for backend in opened.values():
        backend.logits(images)
    for _ in range(ROUNDS):
        for name, backend in opened.items():
            best = min((s[0] for s in seconds.values() if s), default=float("inf"))
            if seconds[name] and seconds[name][0] > GIVE_UP * best:
                continue
            start = time.perf_counter()
            backend.logits(images)
            seconds[name].append(time.perf_counter() - start)
    typical = {name: sorted(s)[len(s) // 2] for name, s in seconds.items()}
    name = min(typical, key=typical.__getitem__)
    if typical[name] * GAIN > typical["torch"]:
        name = "torch"
    rates = ", ".join(f"{n} {batch / s:.0f}" for n, s in sorted(typical.items(), key=lambda item: item[1]))
    return Choice(name, "; ".join([f"measured images a second at batch {batch}: {rates}", *remarks]))
