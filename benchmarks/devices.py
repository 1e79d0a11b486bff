"""One process with two threads against two processes with one, at equal global batch: seconds an epoch.

    python -m benchmarks.devices [--out runs/devices] [--page-only]

Trains on phantom scans through the command line, each way in turns, and writes `OUT/devices.json` and
`docs/results/devices.md` from it. No figure of the page is written by hand.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.sections import measured, merged, stamp, table
from tumorscope.core.files import read_json, write_json

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "results" / "devices.md"
TITLE = "Two cores"
TURNS = 2
SKIPPED = 1
"""Epochs left out at the start of each run: caches and memory are first filled there."""
BUSY = 1.3
"""Ratio of two turns of one process above which the machine was busy with other work."""
DATA = "phantom:patients=96,slices=3"
WAYS = {"1 process, 2 threads": (1, 2), "2 processes, 1 thread each": (2, 1)}
WORKS = {
    "EfficientNet-Lite0, 224 px, batch 32": (
        "model.name=tf_efficientnet_lite0",
        "image.size_px=224",
        "stage.all.epochs=3",
    ),
    "cnn_bn, 96 px, batch 32": ("stage.all.epochs=6",),
}
HEAD = """# Many processes

Made by `python -m benchmarks.devices`; every figure is read from its JSON file. How it works:
[train with many processes](../howto/many-processes.md)."""


def words(work: str, way: str, out: Path) -> list[str]:
    """The command, without the program's name."""
    devices, threads = WAYS[way]
    sets = [word for key in WORKS[work] for word in ("--set", key)]
    plan = f"bf16,channels_last,{threads},plain"
    return ["train", "demo", "--data", DATA, "--out", str(out), *sets, "--plan", plan, "--devices", str(devices)]


def measure(out: Path) -> dict[str, Any]:
    """Every work by every way, in turns."""
    runs: list[dict[str, Any]] = []
    for turn in range(TURNS):
        for work in WORKS:
            for way in WAYS:
                folder = out / f"{len(runs)}"
                shutil.rmtree(folder, ignore_errors=True)
                subprocess.run(
                    [sys.executable, "-m", "tumorscope", *words(work, way, folder)],
                    check=True,
                    stdout=subprocess.DEVNULL,
                )
                timing = read_json(folder / "timing.json")
                runs.append(
                    {
                        "work": work,
                        "way": way,
                        "turn": turn,
                        "epoch_seconds": timing["epoch_seconds"],
                        "images": timing["images_per_epoch"],
                        "val": sum(read_json(folder / "data.json")["split"]["counts"]["val"].values()),
                    }
                )
    return {"stamp": stamp(), "runs": runs}


def section(content: Mapping[str, Any]) -> list[str]:
    """The section's lines."""
    rows: list[Sequence[str]] = []
    baselines: dict[str, list[float]] = {}
    for work in WORKS:
        for turn in range(TURNS):
            medians: list[float] = []
            for way in WAYS:
                (run,) = [r for r in content["runs"] if (r["work"], r["way"], r["turn"]) == (work, way, turn)]
                seconds = run["epoch_seconds"][SKIPPED:]
                medians.append(statistics.median(seconds))
                rows.append(
                    (
                        work,
                        str(turn + 1),
                        way,
                        f"{run['images']} + {run['val']}",
                        f"{medians[-1]:.2f} ({min(seconds):.2f} to {max(seconds):.2f})",
                        str(len(seconds)),
                        f"{medians[0] / medians[-1]:.2f}",
                    )
                )
            baselines.setdefault(work, []).append(medians[0])
    notes = [
        f"- {work}: one process took {max(found) / min(found):.1f} times as long in one turn as in the other. The "
        "machine was not idle then, and the turn with the longer times is no measure of speed."
        for work, found in baselines.items()
        if max(found) > BUSY * min(found)
    ]
    return [
        measured([content["stamp"]]),
        "",
        f"Phantom scans (`{DATA}`), training + validation; all layers are trained, from random weights, in bf16 and "
        f"channels-last. Median (min to max) of the epochs of a run without its first; {TURNS} turns, and the ratio "
        "within each. The "
        "processes talk over the loopback interface; with two of them, batch norms and gradients wait for the other.",
        "",
        *table(["work", "turn", "way", "images", "seconds an epoch", "epochs", "times as fast"], rows),
        *notes,
        *([""] if notes else []),
        "Each run: `tumorscope " + " ".join(words(next(iter(WORKS)), list(WAYS)[1], Path("RUN"))) + "`",
    ]


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/devices"))
    parser.add_argument("--page-only", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    path = arguments.out / "devices.json"
    if not arguments.page_only:
        write_json(path, measure(arguments.out))
    PAGE.write_text(merged(PAGE, HEAD, [TITLE], {TITLE: section(read_json(path))}), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
