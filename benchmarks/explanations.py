"""Score heatmaps of the trained recipes against the boxes of brain-mri-boxes; write `docs/results/explanations.md`.

    python -m benchmarks.explanations --data DATA --weights WEIGHTS --runs runs [--only NAME ...] [--table-only]

Takes the runs of `benchmarks.results`, and trains one more: the boxes recipe with `train.attend=boxes`. Each study is
an ordinary `tumorscope explain --score` command into RUNS/explanations/NAME; the page holds no figure that is not
read from its `explanations.json` or a run folder.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.audits import estimate, read, table
from benchmarks.results import JOBS, finished

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "results" / "explanations.md"
DATA = "brain-mri-boxes"
BOXES = next(job for job in JOBS if job.name == "boxes")
ATTEND = "boxes-attend"
MEASURES = ("pointing", "energy", "iou", "box_hit", "ap30", "ap50")


@dataclass(frozen=True)
class Study:
    """A run scored on the boxes set.

    Attributes:
        name: Folder of the study.
        run: Run folder below RUNS.
        title: For the page.
        mapping: Class names of the boxes set that the model calls otherwise.
    """

    name: str
    run: str
    title: str
    mapping: tuple[str, ...] = ()

    def words(self, data: str, runs: str) -> list[str]:
        """The words of the `explain --score` command."""
        words = ["explain", f"{runs}/{self.run}", "--score", "--data", f"{data}/{DATA}"]
        for pair in self.mapping:
            words += ["--map", pair]
        return [*words, "--out", f"{runs}/explanations/{self.name}"]


STUDIES = (
    Study("boxes", "boxes", "brain-mri-boxes-resnet50 with MobileNetV2, its own test images without copies"),
    Study("boxes-attend", ATTEND, "The same recipe with attend = boxes"),
    Study(
        "4class",
        "4class-efficientnet",
        "brain-mri-4class-efficientnet with EfficientNet-Lite0, on the boxes set",
        ("No Tumor=notumor",),
    ),
    Study(
        "yesno",
        "yesno/repeat-1-fold-1",
        "brain-mri-yesno-resnet50 with EfficientNet-Lite0 (one fold), on the boxes set",
        ("Glioma=yes", "Meningioma=yes", "Pituitary=yes", "No Tumor=no"),
    ),
)


def attend_words(data: str, weights: str, out: str) -> list[str]:
    """The command that trains the boxes recipe with attention kept inside the boxes."""
    return [*BOXES.command(data, weights, out), "--set", "train.attend=boxes"]


def study_lines(study: Study, found: dict[str, Any]) -> list[str]:
    """One study's section."""
    score = found["score"]
    lines = [
        f"## {study.title}",
        "",
        f"{found['data']['what']} n = {found['data']['n']:,}, of which {found['data']['with_boxes']:,} have a box.",
        "",
        "```",
        shlex.join(["tumorscope", *study.words("DATA", "RUNS")]),
        "```",
        "",
    ]
    methods = [name for name, row in score["sources"].items() if row["kind"] == "method"]
    rows = []
    for name, row in score["sources"].items():
        cells = []
        for measure in MEASURES:
            gaps = score["gaps"].get(name, {}) if name in methods else {}
            better = bool(gaps) and all(control[measure]["better"] for control in gaps.values())
            cells.append(estimate(row["overall"][measure]) + (" **better than all controls**" if better else ""))
        rows.append([row["title"], *cells])
    lines += table(["heat", *MEASURES], rows)
    cascade = "; ".join(
        f"{score['sources'][name]['title']} {estimate(steps[-1]['similarity'], signed=True)}"
        for name, steps in score["cascade"].items()
    )
    lines += [f"Rank correlation with the maps of the fully randomised network (n = 32): {cascade}.", ""]
    rows = [
        [r["name"], estimate(r["accuracy"]), "–" if r["change"] is None else estimate(r["change"], signed=True)]
        for r in found["removal"]["rows"]
    ]
    lines += table([f"picture (n = {found['removal']['n']:,})", "accuracy", "change"], rows)
    rows = [
        [name, estimate(one["deletion_area"]), estimate(one["insertion_area"])]
        for name, one in found["curves"]["methods"].items()
    ]
    lines += table([f"order (n = {found['curves']['n']})", "area under deletion", "area under insertion"], rows)
    return lines


def attend_lines(runs: Path) -> list[str]:
    """What `attend = "boxes"` did to accuracy."""
    if not finished(runs / ATTEND):
        return []
    rows = []
    for name, run in (("plain", "boxes"), ('attend = "boxes"', ATTEND)):
        evaluation = read(runs / run / "evaluation.json")
        clean = evaluation["subsets"]["no copy in training"]
        rows.append(
            [name, estimate(evaluation["metrics"]["accuracy"]), estimate(clean["metrics"]["accuracy"]), str(clean["n"])]
        )
    words = shlex.join(["tumorscope", *attend_words("DATA", "WEIGHTS", f"runs/{ATTEND}")])
    return [
        "## What attention inside the boxes costs",
        "",
        f"`{words}`",
        "",
        *table(["training", "accuracy on Val", "accuracy without copies", "n without copies"], rows),
    ]


def page(runs: Path) -> str:
    """The results page as Markdown."""
    lines = [
        "# Heatmaps scored against boxes",
        "",
        "Made by `python -m benchmarks.explanations --data DATA --weights WEIGHTS --runs RUNS`; every figure is read "
        "from a file of a command. 95% intervals by groups of copies and likely patients. A heatmap shows influence, "
        "not location; a method is better than a control only where the interval of the paired difference lies above "
        "zero.",
        "",
    ]
    for study in STUDIES:
        path = runs / "explanations" / study.name / "explanations.json"
        if path.is_file():
            lines += study_lines(study, read(path))
    lines += attend_lines(runs)
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data", help="folder of the public sets")
    parser.add_argument("--weights", default="../shared/weights", help="folder of the local weights")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--only", nargs="*", choices=[study.name for study in STUDIES])
    parser.add_argument("--table-only", action="store_true", help="write the page from what is there")
    arguments = parser.parse_args()
    runs = str(arguments.runs)
    for study in STUDIES:
        if arguments.table_only or (arguments.only and study.name not in arguments.only):
            continue
        if (arguments.runs / "explanations" / study.name / "explanations.html").is_file():
            continue
        if study.run == ATTEND and not finished(arguments.runs / ATTEND):
            words = attend_words(arguments.data, arguments.weights, f"{runs}/{ATTEND}")
            resume = ["--resume"] if (arguments.runs / ATTEND).exists() else []
            subprocess.run([sys.executable, "-m", "tumorscope", *words, *resume], check=True)
        subprocess.run([sys.executable, "-m", "tumorscope", *study.words(arguments.data, runs)], check=True)
    PAGE.write_text(page(arguments.runs), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
