"""Sections of the page of scored heatmaps: one study, its commands, how fine maps can be, what they cost.

In: `explanations.json` of a study, parsed, and the folder of runs. Out: lines of Markdown, every figure read.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from benchmarks.audits import estimate, read
from benchmarks.explanations_studies import STAMP, TRAINED, Study, train_words
from benchmarks.sections import measured, table
from tumorscope.explaining.score import VALIDATION

MEASURES = ("pointing", "energy", "iou", "box_hit", "ap30", "ap50")
BLIND = "@random-weights"


def study_lines(study: Study, found: dict[str, Any], runs: Path) -> list[str]:
    """One study's section."""
    score, data = found["score"], found["data"]
    left = "; ".join(f"{n:,} {reason}" for reason, n in data["left_out"].items() if n)
    lines = [
        f"{data['what']} n = {data['n']:,}, of which {data['with_boxes']:,} have a box."
        + (f" Left out: {left}." if left else ""),
        _classes_line(found),
        *_accuracy_line(study, runs),
        "",
        "```",
        *(commands(list(study.trained)) if not study.name.startswith("boxes") else []),
        shlex.join(["tumorscope", *study.words("DATA", "RUNS")]),
        "```",
        "",
        measured([read(runs / "explanations" / study.name / STAMP)]),
        "",
    ]
    rows = []
    for name, row in score["sources"].items():
        gaps = score["gaps"].get(name, {}) if row["kind"] == "method" else {}
        cells = []
        for measure in MEASURES:
            above = bool(gaps) and all(control[measure]["better"] for control in gaps.values())
            cells.append(estimate(row["overall"][measure]) + (" **▲**" if above else ""))
        rows.append([row["title"], *cells])
    lines += table(["heat", *MEASURES], rows)
    lines += _blind_lines(score)
    return [*lines, *_removal_lines(found["removal"]), *_curve_lines(found["curves"], score)]


def _classes_line(found: dict[str, Any]) -> str:
    """How many images of each class, and what the figures without lesions rest on."""
    present = found["removal"]["border"]["present"]
    free = found["score"]["searched"] - found["data"]["with_boxes"]
    classes = ", ".join(f"{name} {n:,}" for name, n in present.items())
    chosen = next(iter(found["score"]["sources"].values()))["thresholds"]["chosen_on"]
    thresholds = f"chosen on {chosen} validation images with boxes" if chosen else "fixed at half of a map's maximum"
    return (
        f"Images by class: {classes}. Average precision searches {free:,} without a lesion besides. Thresholds for "
        f"IoU and boxes: {thresholds}.{_controls_line(found['score'])}"
    )


def _controls_line(score: dict[str, Any]) -> str:
    """Which controls a study lacks, and what its leading method was chosen on."""
    kinds = {row["kind"] for row in score["sources"].values()}
    lacks = [
        name
        for name, there in (
            ("where training boxes lie", "mean-box" in score["sources"]),
            ("shuffled labels", "model" in kinds),
        )
        if not there
    ]
    said = f" Not among the controls: {' and '.join(lacks)}; **▲** says less here." if lacks else ""
    if score["best_by"] != VALIDATION:
        said += " The method of its pictures was chosen on the scored images."
    return said


def _removal_lines(found: dict[str, Any]) -> list[str]:
    """Accuracies with parts of the picture taken away."""
    rows = [
        [
            r["name"],
            f"{r['n']:,}",
            estimate(r["accuracy"]),
            "–" if r["change"] is None else estimate(r["change"], signed=True),
        ]
        for r in found["rows"]
    ]
    lines = table(["images with boxes", "n", "accuracy", "change"], rows)
    if found["beyond"] is not None:
        changed = ", ".join(f"{value:.2f} ({name})" for name, value in found["changed"].items())
        lines += [
            f"Removing the box changes accuracy by {estimate(found['beyond'], signed=True)} beyond what the same box "
            f"elsewhere on the scan does (paired). A pixel of the picture changes by {changed} gray levels on average.",
            "",
        ]
    border = found["border"]
    most = max(border["present"].values()) / border["n"]
    answers = ", ".join(f"{name} {n:,}" for name, n in border["answers"].items())
    lines += [
        f"The border alone, all {border['n']:,} images: {estimate(border['accuracy'])} right, of the whole images "
        f"{estimate(border['whole'])}; always the most frequent class: {most:.3f}. Answered: {answers}.",
        "",
    ]
    return lines


def _curve_lines(found: dict[str, Any], score: dict[str, Any]) -> list[str]:
    """Areas under deletion and insertion, and what they are better than."""
    rows = []
    for name, one in found["methods"].items():
        title = score["sources"][name]["title"] if name in score["sources"] else name
        cells = [estimate(one["deletion_area"]), estimate(one["insertion_area"])]
        for control in ("random order", "another image's map"):
            gaps = one["gaps"].get(control)
            cells += [estimate(gaps[side], signed=True) if gaps else "–" for side in ("deletion", "insertion")]
        rows.append([title, *cells])
    header = [f"order (n = {found['n']})", "area under deletion", "area under insertion"]
    for control in ("random order", "another image's map"):
        header += [f"deletion minus {control}", f"insertion minus {control}"]
    return table(header, rows)


def _accuracy_line(study: Study, runs: Path) -> list[str]:
    """How good a network is that was trained for this study alone; others stand on the page of recipes."""
    if study.run not in TRAINED or study.name.startswith("boxes"):
        return []
    evaluation = read(runs / study.run / "evaluation.json")
    clean = evaluation["subsets"]["no copy in training"]
    return [
        f"Its accuracy on its own official test part: {estimate(evaluation['metrics']['accuracy'])}, n = "
        f"{evaluation['n']:,}; on test images without a copy in training "
        f"{estimate(clean['metrics']['accuracy'])}, n = {clean['n']}."
    ]


def _blind_lines(score: dict[str, Any]) -> list[str]:
    """What random weights do: their maps against chance, and likeness to the trained model's."""
    rows = []
    for name, steps in score["cascade"].items():
        gaps = score["gaps"][f"{name}{BLIND}"]
        cells = [estimate(gaps[c][m], signed=True) for m in ("pointing", "energy") for c in ("uniform", "centre")]
        last = steps[-1]
        likeness = f"{estimate(last['similarity'], signed=True)}, n = {last['n']}"
        rows.append([score["sources"][f"{name}{BLIND}"]["title"], *cells, likeness])
    header = ["random weights", *(f"{m} minus {c}" for m in ("pointing", "energy") for c in ("uniform", "centre"))]
    return table([*header, "likeness to the trained model's maps"], rows)


def commands(runs: list[str]) -> list[str]:
    """The training commands of some runs, each once."""
    return [
        shlex.join(["tumorscope", *train_words(run, "DATA", "WEIGHTS", f"RUNS/{run}")]) for run in dict.fromkeys(runs)
    ]


def ceiling_lines(score: dict[str, Any]) -> list[str]:
    """What maps of a size can score at most, and what each method's did."""
    rows = [
        [f"{side} x {side}", estimate(found["pointing"]), estimate(found["energy"])]
        for side, found in score["ceilings"].items()
    ]
    return [
        "The boxes themselves, averaged over the places of a coarse map and spread out again: what a map of that size "
        f"can show of these boxes (n = {score['with_boxes']}).",
        "",
        *table(["places", "pointing", "energy"], rows),
    ]


def speed_lines(runs: Path) -> list[str]:
    """Cost of a map beside the forward pass."""
    path = runs / "explanations" / "speed.json"
    if not path.is_file():
        return []
    found = read(path)
    rows = []
    for row in found["rows"]:
        options = ", ".join(f"{key}={value}" for key, value in row["options"].items())
        rows.append(
            [
                row["model"] + (f" ({options})" if options else ""),
                row["method"],
                f"{row['forward_s']:.3f}",
                f"{row['map_s']:.3f}",
                f"{row['ratio']:.2f} ({row['least']:.2f} to {row['most']:.2f}), {row['repeats']} times",
            ]
        )
    first = found["rows"][0]
    return [
        f"{measured([found['measured']])} `python -m benchmarks.explanations_speed`: "
        f"{first['batch']} images of {first['side_px']} px, fp32, "
        f"{found['threads']} threads; medians, and the range of paired ratios. Target for Grad-CAM: at most 3.",
        "",
        *table(["network", "method", "forward pass, s", "map, s", "ratio"], rows),
    ]
