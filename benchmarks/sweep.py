"""S0's grid on the real BreastMNIST: 36 points, 3 folds, two processes; how long it takes and what it finds.

    python -m benchmarks.sweep --data DATA --out FOLDER [--page-only]

Runs `tumorscope sweep` (a stopped one goes on) and writes `docs/results/sweep.md` from the folder. No figure of the
page is written by hand. Wall time is that of the search alone, without the winner's run; where the machine did other
work at the same time, processor time by the number of processes says what an idle machine takes.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "results" / "sweep.md"
RECIPE = "breastmnist-cnn"
WORKERS = 2
TARGET_MIN = 15
SHOWN = 6
BUSY = 1.3
"""Wall time over processor time a process above which the machine was busy with other work."""


def words(data: str, out: str) -> list[str]:
    """The command, without the program's name."""
    source = f"{data}/breastmnist/breastmnist.npz"
    return ["sweep", RECIPE, "--data", source, "--out", out, "--accept-leaks", "--workers", str(WORKERS)]


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def estimate(value: dict[str, Any]) -> str:
    """`0.912 (0.870 to 0.940)`."""
    return f"{value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})"


def time_lines(content: dict[str, Any]) -> list[str]:
    """What was measured, in sentences."""
    done = [t for t in content["trials"] if t["state"] == "done"]
    busy = sum(t["cpu_seconds"] for t in content["trials"])
    epochs = sum(sum(t["epochs"]) for t in done)
    wall, alone = content["seconds"] / 60, busy / 60 / WORKERS
    shared = wall > BUSY * alone
    lines = [
        f"- **{len(done)} of {content['points']} points, {content['folds']} folds each**: "
        f"{len(done) * content['folds']} trainings, {epochs:,} epochs of about "
        f"{content['images'] * (content['folds'] - 1) // content['folds']} images.",
        f"- Processor time {busy / 60:.1f} min, {busy / len(done):.1f} s a point, {busy / epochs:.2f} s an epoch "
        f"with its validation; by {WORKERS} processes {alone:.1f} min.",
    ]
    if shared:
        lines.append(
            f"- Wall time {wall:.1f} min, while the machine did other work in turns: no measure of speed. On "
            f"{WORKERS} idle cores the processor time above gives {alone:.1f} min and "
            f"{len(done) / alone:.1f} points a minute."
        )
    else:
        lines.append(f"- **Wall time {wall:.1f} min, {len(done) / wall:.1f} points a minute**, starts included.")
    took = alone if shared else wall
    lines.append(f"- Target: under {TARGET_MIN} min on two cores. {'Reached.' if took < TARGET_MIN else 'Missed.'}")
    if content["lost"]:
        lines.append(f"- {content['lost']} trials were lost to stopped processes and tried again; none counts twice.")
    return lines


def page(out: Path) -> str:
    """The results page as Markdown."""
    content = read(out / "sweep.json")
    metric = content["metric"].removeprefix("val_").upper()
    done = sorted((t for t in content["trials"] if t["state"] == "done"), key=lambda t: (-t["mean"], t["slot"]))
    best = content["best"]
    near = sum(t["mean"] >= best["mean"] - best["se"] for t in done)
    keys = [axis["key"] for axis in content["space"]]
    lines = [
        "# S0's grid as a sweep",
        "",
        "Made by `python -m benchmarks.sweep --data DATA --out FOLDER`; every figure is read from the sweep's folder.",
        "",
        "```bash",
        shlex.join(["tumorscope", *words("DATA", "SWEEP")]),
        "```",
        "",
        "## Time",
        "",
        *time_lines(content),
    ]
    runs = sorted((out / content["winners"][-1]["folder"]).glob("seed-*/run.json")) if content["winners"] else []
    if runs:
        record = read(runs[0])
        lines.append(
            f"- {record['machine']['cpu']}, {content['cores']} cores, torch {record['versions']['torch']}; plan "
        )
        lines[-1] += f"{content['plan']} a process."
    lines += [
        "",
        "## What it found",
        "",
        f"{metric} on validation, mean of {content['folds']} folds and its standard error. The best {SHOWN} and the "
        f"worst of {len(done)}:",
        "",
        f"| point | {' | '.join(k.rpartition('.')[2] for k in keys)} | {metric} | standard error |",
        f"|---|{'---|' * len(keys)}---|---|",
    ]
    for trial in [*done[:SHOWN], done[-1]]:
        values = " | ".join(str(trial["point"][k]) for k in keys)
        lines.append(f"| {trial['slot']} | {values} | {trial['mean']:.3f} | {trial['se']:.3f} |")
    shares = sorted(content["importance"]["shares"].items(), key=lambda pair: -pair[1])
    lines += [
        "",
        f"- {near} of {len(done)} points lie within one standard error of the best: which of them came first is "
        "largely chance.",
        f"- Share in the differences ({content['importance']['method']}): "
        + ", ".join(f"`{key}` {100 * share:.0f}%" for key, share in shares)
        + ".",
    ]
    summary = out / content["winners"][-1]["folder"] / "summary.json" if content["winners"] else None
    if summary is not None and summary.is_file():
        test = read(summary)["test"]
        figures = {k: estimate(test["metrics"][k]["mean"]) for k in ("auroc", "accuracy", "balanced_accuracy")}
        lines += [
            f"- The winner on the {test['n']} test images, mean of {test['runs']} seeds: AUROC {figures['auroc']}, "
            f"accuracy {figures['accuracy']}, balanced accuracy {figures['balanced_accuracy']}. Its validation figure "
            f"in the sweep was {best['mean']:.3f}: the best of {len(done)}, and so too good.",
            "- The recipe as shipped, chosen by cross-validation before, is in [recipes](recipes.md).",
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Sweep, or go on, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data", help="folder with the data sets")
    parser.add_argument("--out", type=Path, default=Path("runs/sweep-breastmnist"))
    parser.add_argument("--page-only", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    if not arguments.page_only:
        command = words(arguments.data, str(arguments.out))
        subprocess.run([sys.executable, "-m", "tumorscope", *command], check=True)
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(arguments.out), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
