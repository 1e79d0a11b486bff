"""`make bench`: time every work against the baseline, in turns, and write `docs/results/performance.md`.

    python -m benchmarks.speed --data DATA [--only NAME ...] [--repeats 3] [--json runs/speed.json] [--table-only]
                               [--peers ENV]

Every timing is a process of its own, one after another: baseline with 0 and with 2 loader workers (the better one
counts), then tumorscope, and again. A ratio is that of the medians, with the smallest and the largest of the turns.
With `--peers` (an environment made by `benchmarks.speed.peers make-env ENV`) fastai, Ultralytics and timm's loop take
their turns too where they train the same network. Finished works stay in the JSON file and are not timed again, so
that a stopped call goes on. Needs an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.speed.works import WORKS, Work
from tumorscope.core.files import write_json
from tumorscope.core.machine import machine, versions

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "results" / "performance.md"
LONG = ("efficientnet-lite0", "efficientnet-b0", "resnet50", "tinyvgg")
"""Works whose recipes run so long that the plan tries compilation: they are timed compiled as well."""


PEERS = {
    "resnet50": ("timm", "fastai", "ultralytics"),
    "efficientnet-b0": ("timm", "fastai", "ultralytics"),
    "efficientnet-lite0": ("timm", "fastai"),
}
"""Works that a peer can train as they are; Ultralytics has torchvision's networks, which know no Lite0."""


def timed(module: str, *words: str, python: str = sys.executable) -> dict[str, Any]:
    """What one timing process prints."""
    done = subprocess.run(
        [python, "-m", f"benchmarks.speed.{module}", *words],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def time_work(work: Work, data: str, repeats: int, peers: Path | None) -> dict[str, Any]:
    """Seconds of baseline and tumorscope, one value a turn."""
    what = "whole" if work.whole else "epoch"
    python = "" if peers is None else str(peers / "bin" / "python")
    first = {
        workers: timed("seed_loop", work.name, "--data", data, "--workers", workers)[what] for workers in ("0", "2")
    }
    workers = min(first, key=first.__getitem__)
    row: dict[str, Any] = {"what": what, "workers": int(workers), "baseline": [first[workers]], "ours": []}
    other: dict[str, list[float]] = {"compiled": []} if work.name in LONG else {}
    for turn in range(repeats):
        if turn:
            row["baseline"].append(timed("seed_loop", work.name, "--data", data, "--workers", workers)[what])
        found = timed("ours", work.name, "--data", data)
        row["ours"].append(found[what])
        row["plan"], row["frozen"] = found["plan"], found["frozen"]
        for name, seconds in other.items():
            seconds.append(timed("ours", work.name, "--data", data, "--compile")[what])
            row[name] = seconds
        for name in PEERS.get(work.name, ()) if python else ():
            found = timed("peers", name, work.name, "--data", data, python=python)
            row.setdefault("peers", {}).setdefault(name, []).append(found[what])
    return row


def ratios(row: dict[str, Any], ours: str) -> tuple[float, float, float]:
    """Ratio of the medians, smallest and largest ratio of a turn."""
    turns = [a / b for a, b in zip(row["baseline"], row[ours], strict=True)]
    return median(row["baseline"]) / median(row[ours]), min(turns), max(turns)


def page(found: dict[str, Any]) -> str:
    """The results page as Markdown."""
    lines = [
        "# Speed of training",
        "",
        "Made by `make bench ARGS='--data DATA'` (`python -m benchmarks.speed`); every figure is read from its JSON "
        "file.",
        "The baseline is `benchmarks/speed/seed_loop.py`: the student systems' way to train, faithfully written out "
        "(Pillow decodes each epoch, torchvision transforms image by image, the better of 0 and 2 loader workers, "
        "float32, contiguous, the frozen part run every epoch). Ours decodes into a new cache within the timing of a "
        "whole recipe. Both run validation after each epoch, on the same images with the same network, size, batch "
        "and number of epochs. Processes take turns on an otherwise idle machine.",
        "",
        f"Machine: {found['machine']['cpu']}, {found['machine']['threads']} threads; "
        f"torch {found['versions']['torch']}.",
        "",
        "| work | images | timed | baseline, s | tumorscope, s | ratio (min to max) | target | plan |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for work in WORKS:
        row = found["works"].get(work.name)
        if row is None:
            continue
        for ours in ("ours", "compiled"):
            if ours in row:
                middle, low, high = ratios(row, ours)
                plan = row["plan"] + (", compiled" if ours == "compiled" else "")
                lines.append(
                    f"| {work.title} | {work.train} + {work.val} | {row['what']} | {median(row['baseline']):.2f} "
                    f"| {median(row[ours]):.2f} | {middle:.1f} ({low:.1f} to {high:.1f}) | {work.target} | {plan} |"
                )
    lines += ["", f"n = {found['repeats']} turns each. Images: training + validation, taken by a fixed seed.", ""]
    notes = [
        f"- {work.title}: {row['frozen']}."
        for work in WORKS
        if (row := found["works"].get(work.name)) and row["frozen"]
    ]
    lines += [*notes, ""] if notes else []
    rows = [(work, row) for work in WORKS if "peers" in (row := found["works"].get(work.name, {}))]
    if rows:
        lines += [
            "## Against what a user would pick instead",
            "",
            "`benchmarks/speed/peers.py`: the same network, images, size, batch and epochs, random initial weights.",
            "",
            "| work | peer | its seconds | tumorscope, s | ratio (min to max) |",
            "| --- | --- | --- | --- | --- |",
        ]
        for work, row in rows:
            best = min((n for n in ("ours", "compiled") if n in row), key=lambda n: median(row[n]))
            for name, seconds in row["peers"].items():
                turns = [a / b for a, b in zip(seconds, row[best], strict=True)]
                lines.append(
                    f"| {work.title} | {name} | {median(seconds):.2f} | {median(row[best]):.2f} "
                    f"| {median(seconds) / median(row[best]):.1f} ({min(turns):.1f} to {max(turns):.1f}) |"
                )
        lines.append("")
    peak = found.get("peak")
    row = found["works"].get("resnet50")
    if peak and row:
        work = next(w for w in WORKS if w.name == "resnet50")
        best = min(median(row[name]) for name in ("ours", "compiled") if name in row)
        # validation is a forward pass: a third of a training step's arithmetic
        gflop = (work.train + work.val / 3) * peak["resnet50_gflop"]
        lines += [
            f"A matrix product of side 4096 runs at {peak['fp32_gflops']:.0f} GFLOP/s in fp32 and "
            f"{peak['bf16_gflops']:.0f} in bf16. ResNet-50's epoch above runs at {gflop / best:.0f} GFLOP/s "
            f"({peak['resnet50_gflop']:.1f} GFLOP for a training step of one image), "
            f"{gflop / best / peak['bf16_gflops']:.2f} of the bf16 product (target 0.55).",
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data", help="folder of the public sets")
    parser.add_argument("--only", nargs="*", choices=[work.name for work in WORKS])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("runs/speed.json"))
    parser.add_argument("--peers", type=Path, help="environment with the peers")
    parser.add_argument("--table-only", action="store_true")
    arguments = parser.parse_args()
    found: dict[str, Any] = {"works": {}}
    if arguments.json.is_file():
        found = json.loads(arguments.json.read_text(encoding="utf-8"))
    if not arguments.table_only:
        found |= {"machine": machine(), "versions": versions(), "repeats": arguments.repeats}
        if "peak" not in found:
            found["peak"] = timed("peak")
        for work in WORKS:
            if work.name in found["works"] or (arguments.only and work.name not in arguments.only):
                continue
            found["works"][work.name] = time_work(work, arguments.data, arguments.repeats, arguments.peers)
            write_json(arguments.json, found)
            middle, low, high = ratios(found["works"][work.name], "ours")
            sys.stdout.write(f"{work.title}: {middle:.1f} ({low:.1f} to {high:.1f}), target {work.target}\n")
            sys.stdout.flush()
    PAGE.write_text(page(found), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
