"""Audit the four public sets and write `docs/results/audit.md` from what the commands leave.

    python -m benchmarks.audits --data DATA --weights WEIGHTS --runs runs [--prices] [--table-only]

Each audit is an ordinary `tumorscope audit` command into RUNS/audit/NAME, each leak price (trained with `--prices`
only, which takes hours) an ordinary `tumorscope leak-price` command into RUNS/prices/NAME. The page also takes in,
where they are there, RUNS/copies.json (`python -m benchmarks.copies --data DATA/brain-mri-4class --json
RUNS/copies.json`) and docs/results/judged-pairs.csv (pairs judged by eye).
The page holds no figure that is not read from one of these files.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.sections import table
from tumorscope.core.files import write_json
from tumorscope.evaluation.intervals import wilson
from tumorscope.reporting.audit_verdict import gravest_first

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "results" / "audit.md"
JUDGED = ROOT / "docs" / "results" / "judged-pairs.csv"
SETS = {
    "breastmnist": "breastmnist/breastmnist.npz",
    "brain-mri-yesno": "brain-mri-yesno",
    "brain-mri-4class": "brain-mri-4class",
    "brain-mri-boxes": "brain-mri-boxes",
}
PRICES = {
    "tinyvgg": ("brain-mri-4class-tinyvgg", ("image.size_px=112", "stage.all.epochs=10"), 3),
    "efficientnet": (
        "brain-mri-4class-efficientnet",
        (
            "image.size_px=112",
            "model.name=tf_efficientnet_lite0",
            "model.weights={weights}/tf_efficientnet_lite0.in1k.safetensors",
            "stage.all.epochs=4",
            "stage.all.lr=3e-4",
            "stage.all.schedule=one_cycle",
        ),
        1,
    ),
}
"""Leak prices: recipe, overrides, seeds of each arm.

Smaller pictures and fewer epochs than the recipes': six arms are trained.
"""
ACROSS = {"LEAK011": "same file", "LEAK012": "same pixels", "LEAK013": "near copy", "LEAK014": "likely patient"}
SHORTCUTS = {
    "CUT001": "size and mode",
    "CUT002": "border",
    "CUT003": "8x8 thumbnail",
    "CUT004": "histogram",
    "CUT005": "file name",
    "CUT006": "JPEG tables",
    "CUT007": "lesion removed",
}


def read(path: Path) -> Any:
    """The JSON value in a file."""
    return json.loads(path.read_text(encoding="utf-8"))


def estimate(value: dict[str, Any], *, signed: bool = False) -> str:
    """`0.912 (0.870 to 0.940)`."""
    if value["value"] is None:
        return "undefined"
    form = "+.3f" if signed else ".3f"
    return f"{value['value']:{form}} ({value['low']:{form}} to {value['high']:{form}})"


def run_audits(data: str, runs: Path) -> None:
    """Audit every set that has not been audited yet."""
    for name, place in SETS.items():
        out = runs / "audit" / name
        if (out / "audit.json").is_file():
            continue
        start = time.perf_counter()
        words = [sys.executable, "-m", "tumorscope", "audit", f"{data}/{place}", "--out", str(out)]
        done = subprocess.run(words, check=False)
        if done.returncode not in (0, 1):
            raise SystemExit(f"{name}: exit code {done.returncode}")
        write_json(out / "seconds.json", {"seconds": time.perf_counter() - start})


def price_words(name: str, data: str, weights: str, out: str) -> list[str]:
    """The words of one `leak-price` command."""
    recipe, sets, seeds = PRICES[name]
    words = ["leak-price", recipe, "--data", f"{data}/brain-mri-4class", "--out", out]
    for value in sets:
        words += ["--set", value.format(weights=weights)]
    return [*words, "--seeds", str(seeds)] if seeds > 1 else words


def run_prices(data: str, weights: str, runs: Path) -> None:
    """Train the arms of every leak price; finished runs are kept."""
    for name in PRICES:
        out = runs / "prices" / name
        words = [sys.executable, "-m", "tumorscope", *price_words(name, data, weights, str(out))]
        subprocess.run([*words, *(["--resume"] if out.exists() else [])], check=True)


def overview(audits: dict[str, dict[str, Any]]) -> list[str]:
    """One row a set: pictures, pairs, what crosses."""
    rows = []
    for name, found in audits.items():
        checks = {f["code"]: f for f in found["findings"]}
        test = sum(found["data"]["parts"].get("test", {}).values())
        crossing = [str(checks[code]["count"]) if test else "–" for code in ACROSS]
        rows.append(
            [
                name,
                f"{found['data']['images']:,}",
                f"{found['groups']['copies']:,}",
                f"{found['groups']['likely patients']:,}",
                *(f"{found['pairs'][kind]:,}" for kind in ("exact", "pixels", "near", "mirrored")),
                f"{test:,}" if test else "–",
                *crossing,
                f"{checks['LABEL001']['count'] + checks['LABEL002']['count']:,}",
            ]
        )
    header = ["set", "images", "distinct pictures", "likely patients", "exact pairs", "pixel pairs", "near pairs"]
    header += ["mirrored", "test images", *(f"test: {words} in training" for words in ACROSS.values())]
    return table([*header, "images with conflicting copies"], rows)


def shortcuts(audits: dict[str, dict[str, Any]]) -> list[str]:
    """Balanced accuracy of every shortcut check beside chance."""
    rows = []
    for name, found in audits.items():
        checks = {f["code"]: f for f in found["findings"]}
        cells = []
        chance = "–"
        for code in SHORTCUTS:
            figures = checks[code]["figures"]
            if "balanced_accuracy" in figures:
                cells.append(estimate(figures["balanced_accuracy"]))
                chance = f"{figures['chance']:.2f}"
            else:
                cells.append(checks[code]["outcome"])
        rows.append([name, chance, *cells])
    return table(["set", "chance", *(f"{code} {words}" for code, words in SHORTCUTS.items())], rows)


def findings(audits: dict[str, dict[str, Any]]) -> list[str]:
    """Every finding of every set, as the audit words it."""
    lines = []
    for name, found in audits.items():
        lines += [f"### {name}", "", f"`tumorscope audit DATA/{SETS[name]} --out AUDIT`", ""]
        for one in gravest_first(found["findings"]):
            lines.append(f"- **{one['code']}** ({one['severity']}) {one['title']} {one['detail']}")
        skipped = [f"{f['code']} ({f['detail']})" for f in found["findings"] if f["outcome"] == "skipped"]
        lines += [f"- skipped: {'; '.join(skipped)}"] if skipped else []
        lines.append("")
    return lines


def judged() -> list[str]:
    """Share of true copies among the pairs judged by eye, by kind."""
    if not JUDGED.is_file():
        return []
    with JUDGED.open(newline="", encoding="utf-8") as handle:
        pairs = list(csv.DictReader(handle))
    lines = [
        "## Pairs judged by eye",
        "",
        f"{len(pairs)} pairs of brain-mri-4class, half of each kind, drawn at random in equal numbers from ten equal "
        "ranges of the score, looked at side by side on contact sheets by one reader who saw neither kind nor score "
        "(`python -m benchmarks.judged_pairs --data DATA/brain-mri-4class --out FOLDER`; marks in "
        "`docs/results/judged-pairs.csv`). Where a range holds too few pairs, the kind's other pairs fill its place.",
        "",
    ]
    rows = []
    for kind in ("near", "patient-likely"):
        marks = Counter(p["mark"] for p in pairs if p["kind"] == kind)
        n = sum(marks.values())
        low, high = wilson(marks["copy"], n)
        scores = [float(p["score"]) for p in pairs if p["kind"] == kind]
        rows.append(
            [
                kind,
                f"{min(scores):.2f} to {max(scores):.2f}",
                str(n),
                f"{marks['copy']} ({marks['copy'] / n:.2f}, {low:.2f} to {high:.2f})",
                str(marks["same patient"]),
                str(marks["different"]),
                str(marks["unsure"]),
            ]
        )
    return lines + table(
        ["kind", "scores", "n", "same picture", "same patient, other slice", "different", "unsure"], rows
    )


def planted(runs: Path) -> list[str]:
    """Recall and precision on planted copies, and time and memory."""
    path = runs / "copies.json"
    if not path.is_file():
        return []
    found = read(path)
    lines = [
        "## Planted copies",
        "",
        "`python -m benchmarks.copies --data DATA/brain-mri-4class --scale 10000 100000 1000000 --json "
        "RUNS/copies.json`. One changed copy is planted for each of n real slices, one an own picture; their "
        "neighbouring slices stay in.",
        "",
    ]
    rows = [
        [name, str(row["n"]), f"{row['recall']:.4f}", f"{row['precision']:.4f}", f"{row['target']:.2f}"]
        for name, row in found.get("planted", {}).items()
    ]
    lines += table(["change", "n", "recall", "precision", "target of both"], rows)
    whole = found["whole_set"]
    lines += [
        f"The whole set, {whole['images']:,} images, decoding included: {whole['seconds']:.0f} s on {whole['threads']} "
        f"threads ({whole['cpu_seconds']:.0f} s of CPU time), at most {whole['peak_memory_mb']:,} MB.",
        "",
    ]
    if found.get("scaling"):
        lines += [
            "Search among made-up pictures (candidates only, no verification). The planted table, the sizes to 100,000 "
            "and the million were three calls of the command; training was paused for the second one only:",
            "",
        ]
        rows = [
            [
                f"{r['images']:,}",
                f"{r['seconds']:.0f}",
                f"{r['cpu_seconds']:.0f}",
                f"{r['peak_memory_mb']:,}",
                f"{r['recall']:.3f}",
            ]
            for r in found["scaling"]
        ]
        lines += table(["images", "seconds", "CPU seconds", "peak MB", "recall of planted candidates"], rows)
    path = runs / "large.json"
    if path.is_file():
        large = read(path)
        stopped = [f"{a['seconds']:.0f} s" for a in large["attempts"][:-1]]
        lines += [
            f"A whole audit of {large['images']:,} made-up images (`python -m benchmarks.large_audit --data "
            f"DATA/brain-mri-4class --work FOLDER --json RUNS/large.json`), stopped by Ctrl-C after "
            f"{' and '.join(stopped) or 'no time'}, then run to its end: {large['seconds']:.0f} s in all beside other "
            f"work, at most {large['peak_memory_mb']:,} MB; {large['found']:,} of "
            f"{large['planted_mirrored_copies']:,} planted mirrored copies found.",
            "",
        ]
    return lines


def prices(runs: Path) -> list[str]:
    """Tables of every leak price."""
    lines: list[str] = []
    for name in PRICES:
        path = runs / "prices" / name / "leak-price.json"
        if not path.is_file():
            continue
        price = read(path)
        command = shlex.join(["tumorscope", *price_words(name, "DATA", "WEIGHTS", "RUNS")])
        lines += [f"### {price['recipe']}", "", f"`{command}`", ""]
        lines += [
            f"{price['with_copy']:,} of {price['test_images']:,} test images have a copy in training, "
            f"{price['with_copy_or_patient']:,} a copy or (likely) their patient; seeds: {price['seeds']}.",
            "",
        ]
        rows = [
            [arm["arm"], f"{arm['train'] + arm['val']:,}", on, f"{one['n']:,}", estimate(one)]
            for arm in price["arms"]
            for on, one in arm["accuracy"].items()
        ]
        lines += table(["arm", "training + validation images", "on", "n", "accuracy (95%)"], rows)
        for arm in price["arms"]:
            if arm["short"]:
                missing = ", ".join(f"{label} {n:,}" for label, n in arm["short"].items())
                lines += [
                    f"The control `{arm['arm']}` leaves out too few images, for want of images without a twin "
                    f"({missing} short): part of its gap may be less data.",
                    "",
                ]
        rows = [
            [gap["gap"], f"{gap['of']} minus {gap['minus']}", gap["on"], f"{gap['n']:,}", estimate(gap, signed=True)]
            for gap in price["gaps"]
        ]
        lines += table(["gap", "arms", "on", "n", "accuracy (95%)"], rows)
    return ["## Price of the leak", "", *lines] if lines else []


def page(runs: Path) -> str:
    """The results page as Markdown."""
    audits = {n: read(p) for n in SETS if (p := runs / "audit" / n / "audit.json").is_file()}
    lines = [
        "# What is wrong with the public sets",
        "",
        "Made by `python -m benchmarks.audits --data DATA --runs RUNS`; every figure is read from the files of a "
        "command. Intervals are 95%.",
        "",
        "## Copies",
        "",
        *overview(audits),
        "A test image is counted under the strongest kind that concerns it. Images that are likely of one patient are "
        "neighbouring slices of one head, no copies.",
        "",
        "## Shortcuts",
        "",
        "Balanced accuracy of small models that see nothing of the disease, cross-validated with copies and likely "
        "patients kept together.",
        "",
        *shortcuts(audits),
        *judged(),
        *planted(runs),
        *prices(runs),
        "## All findings",
        "",
        *findings(audits),
    ]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="DATA", help="folder of the public sets")
    parser.add_argument("--weights", default="WEIGHTS", help="folder of the local weights")
    parser.add_argument("--prices", action="store_true", help="train the leak prices too")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--table-only", action="store_true", help="write the page from what is there")
    arguments = parser.parse_args()
    if not arguments.table_only:
        run_audits(arguments.data, arguments.runs)
        if arguments.prices:
            run_prices(arguments.data, arguments.weights, arguments.runs)
    PAGE.write_text(page(arguments.runs), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
