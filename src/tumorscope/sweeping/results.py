"""What a sweep leaves: `sweep.json`, `trials.csv`, `best.toml`, and which run followed.

In: the journal. Out: one row a point, the best of them, the share of each key in the differences, and files that need
neither the journal nor optuna to be read.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import tumorscope
from tumorscope.core.errors import DataError
from tumorscope.core.files import read_json, write_json, write_text
from tumorscope.data.manifest import Manifest
from tumorscope.evaluation.cells import escape_cell
from tumorscope.sweeping.folds import Folds
from tumorscope.sweeping.space import Space
from tumorscope.sweeping.trial import standard_error
from tumorscope.training.recipe import Recipe, Sweep, load_recipe, to_toml

if TYPE_CHECKING:
    from tumorscope.sweeping.journal import Entry, Journal

RECORD, TABLE, BEST = "sweep.json", "trials.csv", "best.toml"


def described(space: Space, sweep: Sweep) -> str:
    """The search in words."""
    if sweep.sampler == "grid":
        return f"grid of {space.size:,} points over {len(space.axes)} keys"
    name = {"random": "random search", "tpe": "tree-structured Parzen estimator"}[sweep.sampler]
    return f"{name} over {len(space.axes)} keys"


def about(recipe: Recipe, manifest: Manifest, space: Space, folds: Folds, usable: Manifest) -> dict[str, Any]:
    """What the sweep is about, for its record."""
    sweep = recipe.sweep
    assert sweep is not None
    return {
        "tumorscope": tumorscope.__version__,
        "recipe": recipe.name,
        "title": recipe.title,
        "data": asdict(manifest.info),
        "summary": manifest.summary,
        "images": len(usable),
        "classes": {c: int(np.sum(usable.targets == t)) for t, c in enumerate(usable.classes)},
        "folds": len(folds),
        "sampler": sweep.sampler,
        "metric": sweep.metric,
        "prune": sweep.prune,
        "seed": recipe.train.seed,
        "space": [a.to_json() for a in space.axes],
        "points": space.size if sweep.sampler == "grid" else sweep.trials,
        "fixed": dict(space.fixed),
        "cores": os.cpu_count(),
    }


def conclude(out: Path, record: Mapping[str, Any], journal: Journal, recipe: Recipe) -> dict[str, Any]:
    """Write the record, the table and the best recipe; returns the record.

    Raises:
        DataError: If no point was finished; says why the first one failed.
    """
    entries = journal.entries()
    rows = [_row(e) for e in last_tries(entries)]
    done = [r for r in rows if r["state"] == "done"]
    method, shares = journal.importance()
    content = {
        **record,
        "trials": rows,
        "lost": sum(e.lost for e in entries),
        "importance": {"method": method, "shares": shares},
        "best": best_of(rows, maximise=journal.maximise),
        "winners": record.get("winners", []),
    }
    write_json(out / RECORD, content)
    write_text(out / TABLE, table_text(rows, [a.key for a in journal.space.axes], content["folds"]))
    if not done:
        reason = next((r["reason"] for r in rows if r["reason"]), "the time was too short for one")
        raise DataError(
            f"no point was finished: {reason}",
            expected="at least one with a score on every fold",
            where=out,
            fix="correct the cause and sweep into a new folder, or give the same command with more time",
        )
    best = content["best"]
    write_text(out / BEST, _best_text(journal.space.recipe(recipe, best["point"]), content))
    return content


def last_tries(entries: Sequence[Entry]) -> list[Entry]:
    """One entry a point that was taken up: its last try, in the order of points."""
    last: dict[int, Entry] = {}
    for entry in entries:
        if entry.state not in ("waiting", "running"):
            last[entry.slot] = entry
    return [last[slot] for slot in sorted(last)]


def best_of(rows: Sequence[Mapping[str, Any]], *, maximise: bool) -> dict[str, Any] | None:
    """The finished row with the best mean; the first of equal ones."""
    done = [dict(r) for r in rows if r["state"] == "done"]
    return min(done, key=lambda r: (-r["mean"] if maximise else r["mean"], r["slot"])) if done else None


def _row(entry: Entry) -> dict[str, Any]:
    values = [f.value for f in entry.folds]
    reason = "its process vanished again and again: memory?" if entry.lost else entry.reason
    return {
        "slot": entry.slot,
        "state": entry.state,
        "point": entry.point,
        "mean": float(np.mean(values)) if values else None,
        "se": standard_error(values),
        "folds": values,
        "rows": [dict(f.row) for f in entry.folds],
        "kept_epochs": [f.epoch for f in entry.folds],
        "epochs": [f.epochs for f in entry.folds],
        "seconds": sum(f.seconds for f in entry.folds),
        "cpu_seconds": sum(f.cpu_seconds for f in entry.folds),
        "attempt": entry.attempt,
        "reason": reason,
        "finished": entry.finished,
    }


def table_text(rows: Sequence[Mapping[str, Any]], keys: Sequence[str], folds: int) -> str:
    """`trials.csv`: a row a point."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    scores = [f"fold_{i + 1}" for i in range(folds)]
    writer.writerow(["point", "state", "mean", "se", *scores, *keys, "epochs", "seconds", "attempt", "reason"])
    for row in rows:
        values = [*row["folds"], *([None] * (folds - len(row["folds"])))]
        cells = [row["slot"], row["state"], row["mean"], row["se"], *values]
        cells += [row["point"].get(key) for key in keys]
        cells += [sum(row["epochs"]), round(row["seconds"], 3), row["attempt"], row["reason"].replace("\n", " ")]
        writer.writerow([escape_cell(c) if isinstance(c, str) else _cell(c) for c in cells])
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    return f"{value:.9g}" if isinstance(value, float) else "" if value is None else value


def _best_text(recipe: Recipe, content: Mapping[str, Any]) -> str:
    best = content["best"]
    error = "" if best["se"] is None else f", standard error {best['se']:.4f} over {content['folds']} folds"
    return (
        f"# The best of {sum(r['state'] == 'done' for r in content['trials'])} points: {content['metric']} "
        f"{best['mean']:.4f}{error}, on validation images.\n"
        "# The best of many is too good: believe the test result of the run, not this figure.\n"
        f"# Sweep: {' '.join(str(content['command']).split())}\n" + to_toml(recipe)
    )


def begin_winner(out: Path) -> tuple[str, bool]:
    """Folder of the best point's run, noted in the record, and whether it was begun before.

    Another best point after more trials gets a folder of its own: the test part is opened again, and both are named.
    """
    content = read_json(out / RECORD)
    sha256 = load_recipe(str(out / BEST)).sha256
    winners: list[dict[str, Any]] = content["winners"]
    if not winners or winners[-1]["recipe_sha256"] != sha256:
        name = "winner" if not winners else f"winner-{len(winners) + 1}"
        winners.append({"folder": name, "recipe_sha256": sha256, "slot": content["best"]["slot"]})
        write_json(out / RECORD, content)
    folder = out / winners[-1]["folder"]
    return winners[-1]["folder"], folder.is_dir() and any(folder.iterdir())
