"""Command lines that make the same result again, as reports and results give them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence

PathLike = str | os.PathLike[str]


def rebuild_command(
    recipe: str,
    data: str,
    overrides: Sequence[str],
    *,
    split: PathLike | None = None,
    seeds: int = 1,
    folds: int | None = None,
    repeats: int = 1,
    devices: int = 1,
    accept_leaks: bool = False,
) -> str:
    """The command line that makes the same run again; the output folder is left for the reader to choose."""
    words = ["tumorscope", "train", recipe, "--data", data, "--out", "RUN"]
    for override in overrides:
        words += ["--set", override]
    for name, value, usual in (
        ("split", split, None),
        ("seeds", seeds, 1),
        ("folds", folds, None),
        ("repeats", repeats, 1),
        ("devices", devices, 1),
    ):
        if value != usual:
            words += [f"--{name}", str(value)]
    if accept_leaks:
        words.append("--accept-leaks")
    return shlex.join(words)


def audit_command(data: str, split: PathLike | None) -> str:
    """The command line that makes the same audit again."""
    words = ["tumorscope", "audit", data, "--out", "AUDIT"]
    return shlex.join(words if split is None else [*words, "--split", str(split)])


def leak_price_command(recipe: str, data: str, overrides: Sequence[str], seeds: int) -> str:
    """The command line that measures the same leak price again."""
    words = ["tumorscope", "leak-price", recipe, "--data", data, "--out", "RUNS"]
    for override in overrides:
        words += ["--set", override]
    return shlex.join([*words, "--seeds", str(seeds)] if seeds > 1 else words)


def score_command(
    run: str,
    data: str,
    methods: Sequence[str],
    mapping: Mapping[str, str],
    *,
    lesion_free: Sequence[str] = (),
    shuffled: PathLike | None = None,
    trained_on: str | None = None,
) -> str:
    """The command line that scores the same heatmaps again."""
    words = ["tumorscope", "explain", run, "--score", "--data", data]
    for method in methods:
        words += ["--method", method]
    for theirs, ours in mapping.items():
        words += ["--map", f"{theirs}={ours}"]
    for name in lesion_free:
        words += ["--lesion-free", name]
    if shuffled is not None:
        words += ["--shuffled", str(shuffled)]
    if trained_on is not None:
        words += ["--trained-on", trained_on]
    return shlex.join(words)
