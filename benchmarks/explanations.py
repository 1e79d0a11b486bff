"""Score heatmaps of the trained recipes against the boxes of brain-mri-boxes; write `docs/results/explanations.md`.

    python -m benchmarks.explanations --data DATA --weights WEIGHTS --runs runs [--only NAME ...] [--table-only]

Takes the runs of `benchmarks.results`, and trains what it needs besides: the boxes recipe with `train.attend=boxes`,
and both with shuffled labels. Each study is an ordinary `tumorscope explain --score` command into
RUNS/explanations/NAME; the page (`benchmarks.explanations_page`) holds no figure that is not read from a file.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.explanations_page import write_page
from benchmarks.explanations_studies import STAMP, STUDIES, train_words
from benchmarks.results import finished
from benchmarks.sections import stamp
from tumorscope.core.files import write_json


def main() -> None:
    """Train and score what is missing, and write the page."""
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
        for run in study.trained:
            if not finished(arguments.runs / run):
                words = train_words(run, arguments.data, arguments.weights, f"{runs}/{run}")
                resume = ["--resume"] if (arguments.runs / run).exists() else []
                subprocess.run([sys.executable, "-m", "tumorscope", *words, *resume], check=True)
        subprocess.run([sys.executable, "-m", "tumorscope", *study.words(arguments.data, runs)], check=True)
        write_json(arguments.runs / "explanations" / study.name / STAMP, stamp())
    sys.stdout.write(f"{write_page(arguments.runs)}\n")


if __name__ == "__main__":
    main()
