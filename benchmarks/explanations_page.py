"""The results page of scored heatmaps, from the files that `benchmarks.explanations` leaves.

In: RUNS/explanations/*/explanations.json, RUNS/*/evaluation.json and RUNS/explanations/speed.json. Out: the Markdown
of `docs/results/explanations.md`, where sections without files stay as they stand. Every figure is read; only what was
seen in pictures is written here by hand.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from benchmarks.audits import estimate, read
from benchmarks.explanations_studies import STAMP, STUDIES, TRAINED, Study, train_words
from benchmarks.results import finished
from benchmarks.sections import measured, merged, table

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "results" / "explanations.md"
MEASURES = ("pointing", "energy", "iou", "box_hit", "ap30", "ap50")
BLIND = "@random-weights"
HEAD = """# Heatmaps scored against boxes

Made by `python -m benchmarks.explanations --data DATA --weights WEIGHTS --runs RUNS`; every figure is read from a \
file of a command. 95% intervals by groups of copies and likely patients. A heatmap shows influence, not location. \
[Heatmaps](../explanation/heatmaps.md) says what each figure and each control means. **▲** stands where the interval \
of the paired difference lies above zero against every control.
"""
PICTURES = """The pictures of this set have no stated licence, so none is printed here; \
`RUNS/explanations/NAME/explanations.html` shows 24 of each study, the twelve with least heat in the boxes first. \
Seen there:

- **boxes-attend**, Grad-CAM: the heat is one compact spot. In eleven of the twelve worst pictures it touches the box \
or lies beside it, most often on boxes of one or two places of the 14 x 14 map, where a spot as wide as the map can \
draw it covers several times the box. The worst one is a glioma of two boxes on a sagittal slice that is taken for a \
meningioma: its spot lies between the two. In two pictures one of two boxes gets no heat.
- **boxes**, HiResCAM: small specks, in the better half of the pictures on the lesion's rim or its brightest part. In \
the worst, specks on the ventricles or single bright vessels far from the box, while the class is right: there the \
answer rests on something else, or on the lesion's surroundings.
- **yesno**, Grad-CAM: in the worst pictures the heat lies on the skull, the ear, the eye or the jaw, on the far side \
of the head from the lesion, while the answer is "yes" with 0.86 and more. Large bright lesions are hit, small ones \
are not. Nothing in these pictures says that this network looks at the lesion.
- **4class**, HiResCAM: without copies of training images nearly all that is left are gliomas. In the worst pictures \
specks lie on the cortex, the jaw or the neck, far from a lesion that the eye finds at once, while the answer is \
"glioma" with 0.96 and more: it rests on something else. In the better half a part of the heat lies on the lesion, \
beside specks elsewhere.
"""


def short_lines(studies: dict[str, dict[str, Any]]) -> list[str]:
    """Targets and what was found, on the run's own test images."""
    rows = []
    if not {"boxes", "boxes-attend"} <= set(studies):
        return []
    for name in ("boxes", "boxes-attend"):
        score = studies[name]["score"]
        best = _best(score)
        overall, centre = score["sources"][best]["overall"], score["sources"]["centre"]["overall"]
        energy = overall["energy"]["value"] / centre["energy"]["value"]
        blind = score["gaps"][f"{best}{BLIND}"]["uniform"]
        rows.append(
            [
                name,
                score["sources"][best]["title"],
                estimate(overall["pointing"]),
                f"{estimate(overall['energy'])}, {energy:.1f} times the centre's",
                f"pointing {estimate(blind['pointing'], signed=True)}, energy {estimate(blind['energy'], signed=True)}",
            ]
        )
    header = ["run", "best method by energy", "pointing (target 0.80)", "energy (target: twice the centre's)"]
    return table([*header, "its random weights minus uniform heat (target: none)"], rows)


def _best(score: dict[str, Any]) -> str:
    methods = [str(name) for name, row in score["sources"].items() if row["kind"] == "method"]
    return max(methods, key=lambda name: score["sources"][name]["overall"]["energy"]["value"])


def study_lines(study: Study, found: dict[str, Any], runs: Path) -> list[str]:
    """One study's section."""
    score, data = found["score"], found["data"]
    left = "; ".join(f"{n:,} {reason}" for reason, n in data["left_out"].items() if n)
    lines = [
        f"{data['what']} n = {data['n']:,}, of which {data['with_boxes']:,} have a box."
        + (f" Left out: {left}." if left else ""),
        *_accuracy_line(study, runs),
        "",
        "```",
        *(_commands(list(study.trained)) if not study.name.startswith("boxes") else []),
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
    rows = [
        [r["name"], estimate(r["accuracy"]), "–" if r["change"] is None else estimate(r["change"], signed=True)]
        for r in found["removal"]["rows"]
    ]
    lines += table([f"picture (n = {found['removal']['n']:,})", "accuracy", "change"], rows)
    rows = [
        [name, estimate(one["deletion_area"]), estimate(one["insertion_area"])]
        for name, one in found["curves"]["methods"].items()
    ]
    return lines + table([f"order (n = {found['curves']['n']})", "area under deletion", "area under insertion"], rows)


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


def attend_lines(runs: Path, studies: dict[str, dict[str, Any]]) -> list[str]:
    """What `attend = "boxes"` did to accuracy, to the heat, and to what the answer depends on."""
    rows = []
    for run in ("boxes", "boxes-attend"):
        if run not in studies or not finished(runs / run):
            return []
        evaluation = read(runs / run / "evaluation.json")
        clean = evaluation["subsets"]["no copy in training"]
        removed = {row["name"]: row for row in studies[run]["removal"]["rows"]}
        heat = studies[run]["score"]["sources"]["grad-cam"]["overall"]
        rows.append(
            [
                run,
                f"{estimate(clean['metrics']['accuracy'])}, n = {clean['n']}",
                estimate(evaluation["metrics"]["accuracy"]),
                estimate(heat["pointing"]),
                estimate(heat["energy"]),
                estimate(removed["box removed"]["change"], signed=True),
                estimate(removed["same box elsewhere removed"]["change"], signed=True),
                estimate(removed["only the box"]["accuracy"]),
                estimate(removed["only the border"]["accuracy"]),
            ]
        )
    lines = _shuffled_lines(studies)
    header = ["run", "accuracy without copies", "accuracy on all of Val", "pointing, Grad-CAM", "energy, Grad-CAM"]
    header += ["change, box removed", "change, same box elsewhere", "only the box", "only the border"]
    lines = [*table(header, rows), *lines, "Trained by", "", "```"]
    lines += _commands([run for study in STUDIES if study.name.startswith("boxes") for run in study.trained])
    return [*lines, "```", ""]


def _commands(runs: list[str]) -> list[str]:
    """The training commands of some runs, each once."""
    return [
        shlex.join(["tumorscope", *train_words(run, "DATA", "WEIGHTS", f"RUNS/{run}")]) for run in dict.fromkeys(runs)
    ]


def _shuffled_lines(studies: dict[str, dict[str, Any]]) -> list[str]:
    """Each method against the same method of a network of the same recipe that was taught shuffled labels."""
    rows = []
    for run in ("boxes", "boxes-attend"):
        score = studies[run]["score"]
        for name, gaps in score["gaps"].items():
            other = f"{name}@shuffled labels"
            if other in gaps:
                cells = [estimate(score["sources"][other]["overall"][m]) for m in ("pointing", "energy")]
                cells += [estimate(gaps[other][m], signed=True) for m in ("pointing", "energy")]
                rows.append([run, score["sources"][name]["title"], *cells])
    if not rows:
        return []
    header = ["run", "heat", "pointing, shuffled labels", "energy, shuffled labels"]
    header += ["pointing minus that", "energy minus that"]
    return [
        "A network of the same recipe that was taught shuffled labels, two epochs long, shows what the boxes alone "
        "teach: with attention, it points at lesions without knowing a class. What the classes add is the difference.",
        "",
        *table(header, rows),
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


def page(runs: Path) -> str:
    """The results page as Markdown."""
    places = {study.name: runs / "explanations" / study.name / "explanations.json" for study in STUDIES}
    studies = {name: read(path) for name, path in places.items() if path.is_file()}
    titles = {study.title: study for study in STUDIES}
    new = {
        "In short": short_lines(studies),
        'What attend = "boxes" does': attend_lines(runs, studies),
        "How fine a map can be": ceiling_lines(studies["boxes"]["score"]) if "boxes" in studies else [],
        **{t: study_lines(s, studies[s.name], runs) if s.name in studies else [] for t, s in titles.items()},
        "Cost": speed_lines(runs),
        "Pictures that were looked at": PICTURES.splitlines(),
    }
    return merged(PAGE, HEAD, list(new), new)


def write_page(runs: Path) -> Path:
    """Write `docs/results/explanations.md`."""
    PAGE.write_text(page(runs), encoding="utf-8")
    return PAGE
