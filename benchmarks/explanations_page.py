"""The results page of scored heatmaps, from the files that `benchmarks.explanations` leaves.

In: RUNS/explanations/*/explanations.json, RUNS/*/evaluation.json and RUNS/explanations/speed.json. Out: the Markdown
of `docs/results/explanations.md`, where sections without files stay as they stand. Every figure is read; only what was
seen in pictures is written here by hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.audits import estimate, read
from benchmarks.explanations_sections import BLIND, ceiling_lines, commands, speed_lines, study_lines
from benchmarks.explanations_studies import STUDIES
from benchmarks.results import finished
from benchmarks.sections import merged, table
from tumorscope.evaluation.intervals import as_json
from tumorscope.explaining.values import paired

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "results" / "explanations.md"
SAME = ("model.weights", "name", "title", "train.lesion_free = [] instead of None")
"""Differences without one in the training: where the weight file lies, names, what an older version did not write."""
HEAD = """# Heatmaps scored against boxes

Made by `python -m benchmarks.explanations --data DATA --weights WEIGHTS --runs RUNS`; every figure is read from a \
file of a command. 95% intervals by groups of copies and likely patients. A heatmap shows influence, not location. \
[Heatmaps](../explanation/heatmaps.md) says what each figure and each control means. **▲** stands where the interval \
of the paired difference lies above zero against every control.
"""
MISSES = """\
- **Pointing.** The plain run misses 0.80. A last map of 7 x 7 places could not reach much more (see how fine a map \
can be). HiResCAM takes a finer stage; where it misses, its specks lie on ventricles and vessels while the class is \
right: the answer rests on something else there. With attention the target is met on this split, but the interval \
begins below it, and the network was shown boxes while it learned. How much of that is the boxes' doing and not the \
classes' is told by the same network with shuffled labels (below): it points at lesions too, less often.
- **Random weights.** HiResCAM multiplies gradients by activations of an early stage, which are small where the \
picture is black; so its random maps hold more heat on the scan than uniform heat does, and boxes lie on the scan \
([log](../LOG.md)). The brightness control, which knows no network, has more energy in the boxes than those maps. \
Every figure of HiResCAM is to be read against its own random weights, which it beats. Grad-CAM and Layer-CAM weigh \
whole channels of the last map; their random maps point no better than chance.
- **Layer-CAM on a map of 7 x 7 places** keeps more than half of its order of pixels when all weights are random \
(likeness, below): it shows the picture there, whatever it scores.
- **Integrated gradients** have as many hottest pixels in boxes as HiResCAM on the same images, but their maps with \
all weights random are nearly the same maps (likeness, in the section of slow methods), and point at lesions too: \
they multiply by the picture, and lesions are bright. **Occlusion** has no more energy in the boxes than the same \
network with random weights.
"""
READING = """\
The term moves the heat that it is asked about, Grad-CAM of the last map, and costs no accuracy. It does not follow \
that the network looks at lesions more: HiResCAM, which the term does not know, has no more of its energy in the \
boxes than without it, and with the boxes removed both networks are right as often.
"""
PICTURES = """The pictures of this set have no stated licence, so none is printed here; \
`RUNS/explanations/NAME/explanations.html` shows 24 of each study, the twelve with least heat in the boxes first. \
Seen there:

- **boxes-attend**, Grad-CAM: the heat is one compact spot. In eleven of the twelve worst pictures it touches the \
box or lies right beside it, most often on gliomas with boxes of one or two places of the 14 x 14 map, where a spot \
as wide as the map can draw it covers several times the box. In the worst one, a glioma of two boxes on a sagittal \
slice, it lies in front of both.
- **boxes**, HiResCAM: small specks, in the better half of the pictures on the lesion's rim or its brightest part. In \
the worst, specks on the ventricles or single bright vessels far from the box, while the class is right: there the \
answer rests on something else, or on the lesion's surroundings.
- **boxes-fine**, HiResCAM: as in **boxes**; on pituitary lesions a speck or two in the box and as many outside.
- **boxes-slow**, integrated gradients: on meningiomas, brighter than all round them, the heat lies on the lesion; \
on gliomas it is spread over the tissue in blotches. Its caption says that random weights give nearly the same maps.
- **yesno**, Grad-CAM: in the worst pictures the heat lies on the skull, the ear, the eye or the jaw, on the far side \
of the head from the lesion, while the answer is "yes" with 0.8 and more. Large bright lesions are hit, small ones \
are not. Nothing in these pictures says that this network looks at the lesion.
- **4class**, HiResCAM: without copies of training images nearly all that is left are gliomas. In the worst pictures \
specks lie on the cortex, the jaw or the neck, far from a lesion that the eye finds at once, while the answer is \
"glioma" with 0.96 and more: it rests on something else. In the better half a part of the heat lies on the lesion, \
beside specks elsewhere.
"""


def short_lines(studies: dict[str, dict[str, Any]]) -> list[str]:
    """Targets and what was found, on the run's own test images."""
    shown = [name for name in ("boxes", "boxes-fine", "boxes-attend") if name in studies]
    if "boxes-attend" not in shown:
        return []
    rows = []
    for name in shown:
        score = studies[name]["score"]
        best = score["best"]
        overall, centre = score["sources"][best]["overall"], score["sources"]["centre"]["overall"]
        energy = overall["energy"]["value"] / centre["energy"]["value"]
        blind = score["gaps"][f"{best}{BLIND}"]["uniform"]
        likeness = score["cascade"][best][-1]["similarity"]
        rows.append(
            [
                name,
                score["sources"][best]["title"],
                f"{estimate(overall['pointing'])}, {_reached(overall['pointing'], 0.8)}",
                f"{estimate(overall['energy'])}, {energy:.1f} times the centre's, {_said(energy >= 2)}",
                f"pointing {estimate(blind['pointing'], signed=True)}, "
                f"energy {estimate(blind['energy'], signed=True)}, "
                f"{_chance([blind[m] for m in ('pointing', 'energy')])}",
                estimate(likeness, signed=True),
            ]
        )
    header = ["run", "method (chosen on validation images)", "pointing (target 0.80)"]
    header += ["energy (target: twice the centre's)", "its random weights minus uniform heat (target: none)"]
    return [*table([*header, "likeness of its maps to those of random weights"], rows), *MISSES.splitlines(), ""]


def _said(met: bool) -> str:
    return "met" if met else "missed"


def _reached(found: dict[str, Any], target: float) -> str:
    """Whether a target is met, and whether the interval says so too."""
    if found["value"] < target:
        return "missed" if found["high"] < target else "missed, within the interval"
    return "met" if found["low"] >= target else "met, but the interval begins below"


def _chance(gaps: list[dict[str, Any]]) -> str:
    """Whether maps that know nothing score no better than chance."""
    if any(gap["low"] > 0 for gap in gaps):
        return "missed: above chance"
    return "met: below chance in one" if any(gap["high"] < 0 for gap in gaps) else "met"


COMPARED = ("boxes-fine", "boxes-attend")
"""Runs of the same recipe, map and length, without and with `attend`."""
PAIRED = (
    ("Grad-CAM: pointing", "grad-cam", "pointing"),
    ("Grad-CAM: energy", "grad-cam", "energy"),
    ("HiResCAM: pointing", "hires-cam", "pointing"),
    ("HiResCAM: energy", "hires-cam", "energy"),
    ("accuracy, whole image", "whole image", "accuracy"),
    ("accuracy, box removed", "box removed", "accuracy"),
    ("accuracy, same box elsewhere removed", "same box elsewhere removed", "accuracy"),
    ("accuracy, only the box", "only the box", "accuracy"),
)
"""Title, name and measure of what is compared image by image."""


def attend_lines(runs: Path, studies: dict[str, dict[str, Any]]) -> list[str]:
    """What `attend = "boxes"` did to accuracy, to the heat, and to what the answer depends on."""
    if not all(run in studies and finished(runs / run) for run in COMPARED):
        return []
    tables = [runs / "explanations" / run / "values.csv" for run in COMPARED]
    sides: list[dict[tuple[str, str], str]] = []
    for run in COMPARED:
        score = studies[run]["score"]["sources"]
        found = {(name, m): estimate(row["overall"][m]) for name, row in score.items() for m in ("pointing", "energy")}
        found |= {(r["name"], "accuracy"): estimate(r["accuracy"]) for r in studies[run]["removal"]["rows"]}
        sides.append(found)
    rows = []
    for title, name, measure in PAIRED:
        gap, n = paired(tables[1], tables[0], name=name, measure=measure)
        rows.append([title, str(n), *(side[name, measure] for side in sides), estimate(as_json(gap), signed=True)])
    evaluations = [read(runs / run / "evaluation.json") for run in COMPARED]
    cleans = [e["subsets"]["no copy in training"] for e in evaluations]
    borders = [studies[run]["removal"]["border"] for run in COMPARED]
    for title, n, cells in (
        ("accuracy on test images without copies", cleans[0]["n"], [c["metrics"]["accuracy"] for c in cleans]),
        (
            "accuracy on all of Val, copies among them",
            evaluations[0]["n"],
            [e["metrics"]["accuracy"] for e in evaluations],
        ),
        ("accuracy on the border alone", borders[0]["n"], [b["accuracy"] for b in borders]),
    ):
        rows.append([title, f"{n:,}", *map(estimate, cells), ""])
    return [
        "The same recipe with a last map of 14 x 14 places and as many epochs, without and with the term; on the "
        "same test images without copies. Differences are paired image by image, with intervals by group.",
        "",
        *table(["measure", "n", "without", 'attend = "boxes"', "difference"], rows),
        *READING.splitlines(),
        "",
        *_shuffled_lines(studies),
        "Trained by",
        "",
        "```",
        *commands([run for study in STUDIES if study.name.startswith("boxes") for run in study.trained]),
        "```",
        "",
    ]


def _shuffled_lines(studies: dict[str, dict[str, Any]]) -> list[str]:
    """Each method against the same method of a network that was taught shuffled labels."""
    rows, unlike = [], []
    for run in ("boxes", "boxes-attend"):
        score = studies[run]["score"] if run in studies else {"gaps": {}}
        for name, gaps in score["gaps"].items():
            other = f"{name}@shuffled labels"
            if other in gaps:
                cells = [estimate(score["sources"][other]["overall"][m]) for m in ("pointing", "energy")]
                cells += [estimate(gaps[other][m], signed=True) for m in ("pointing", "energy")]
                rows.append([run, score["sources"][name]["title"], *cells])
        if run in studies and studies[run]["shuffled"]:
            differences = [d for d in studies[run]["shuffled"]["differences"] if not d.startswith(SAME)]
            unlike.append(f"{run}: " + ("; ".join(differences) if differences else "nothing else"))
    if not rows:
        return []
    header = ["run", "heat", "pointing, shuffled labels", "energy, shuffled labels"]
    header += ["pointing minus that", "energy minus that"]
    return [
        "A network that was taught shuffled labels of the same images shows what the boxes alone teach: with "
        "attention, it points at lesions without knowing a class. What the classes add is the difference. Besides the "
        f"shuffling its recipe differs in: {'. '.join(unlike)}.",
        "",
        *table(header, rows),
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
