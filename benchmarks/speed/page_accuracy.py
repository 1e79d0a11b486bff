"""The sections of the speed page that tell of accuracy: peers, time to a given accuracy, whether the same is learned.

In: the JSON file of the timings. Out: lines of Markdown.
"""

from __future__ import annotations

from statistics import mean, median
from typing import Any

from benchmarks.sections import table
from benchmarks.speed import reach as reaching
from benchmarks.speed.accuracy import ACCURACY_WORKS, FOLDS, SAME_BASELINE
from benchmarks.speed.turns import Found, middle, over_seeds, values
from benchmarks.speed.works import LEARNED

OURS = tuple(f"ours-{seed}" for seed in range(3))
"""Keys of our trainings to the mark, one a seed."""


def learned(found: Found) -> list[str]:
    """Speed and accuracy of ours and of the peers on one work."""
    seeds = list(found.get("learned", {}).values())
    rows = []
    for name in seeds[0] if seeds else ():
        sides = [seed[name] for seed in seeds]
        ratios = [seed[name]["whole"] / seed["ours"]["whole"] for seed in seeds]
        right = values(sides, "val_accuracy")
        gap, ratio = "", ""
        if name != "ours":
            ratio = f"{median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
            gap = over_seeds([seed["ours"]["val_accuracy"] - seed[name]["val_accuracy"] for seed in seeds])
        rows.append(
            [
                "tumorscope" if name == "ours" else name,
                f"{middle(sides, 'whole'):.1f}",
                ratio,
                f"{mean(right):.3f} ({min(right):.3f} to {max(right):.3f})",
                gap,
            ]
        )
    head = ["trained by", "seconds", "ratio (min to max)", "accuracy (min to max)", "ours minus its (95% interval)"]
    return [
        f"{LEARNED.title} of {LEARNED.train} images of {LEARNED.data} from random weights, Adam at {LEARNED.lr:g}, "
        f"the accuracy on {LEARNED.val} others after the last epoch (drawn by a fixed seed, copies of training images "
        f"among them); {len(seeds)} seeds. Seconds are those of the whole training, decoding, start of workers and "
        "validation included. timm and Ultralytics crop mildly here (0.9 to 1 of the area) and leave colours alone; "
        "fastai and ours flip and turn. Each has its own way with rates, weight decay and averaging of weights: timm's "
        "loop lowers the rate by a cosine, fastai and ours take one cycle to it, Ultralytics warms up, lowers its rate "
        "and answers with averaged weights. Interval of the mean difference over seeds by Student's t.",
        "",
        *table(head, rows),
    ]


def accuracy(found: Found) -> list[str]:
    """Whether what is learned is the same."""
    rows = []
    for work in ACCURACY_WORKS:
        seeds = found.get("accuracy", {}).get(work.name)
        if not seeds:
            continue
        if work.name in SAME_BASELINE:
            seeds = [a | b for a, b in zip(found["accuracy"][SAME_BASELINE[work.name]], seeds, strict=True)]
            seeds = [{k: seed[k] for k in ("baseline", "ours")} for seed in seeds]
        test = f"{FOLDS[work.name]} times {work.test}" if work.name in FOLDS else str(work.test)
        rows.append(accuracy_row(work.title, test, seeds, "baseline"))
        if all("mirrored" in seed for seed in seeds):
            rows.append(accuracy_row("the same, the baseline turning images as ours", test, seeds, "mirrored"))
    if not rows:
        return []
    missing = [work.title for work in ACCURACY_WORKS if not found["accuracy"].get(work.name)]
    return [
        "`benchmarks/speed/accuracy.py`: both sides train with the same network, images, optimizer, constant rate, "
        "batch and number of epochs unless said otherwise; test images (official test part, drawn by a fixed seed, "
        "copies of training images among them) are answered once after training. The baseline turns images as "
        "torchvision does by itself, by the nearest pixel and with black corners, ours between pixels with what lies "
        "outside mirrored in; where a row says so, the baseline's loop does as ours. In stages 1 and 2 the "
        "baseline's frozen batch norm takes the statistics of each batch, as the student systems' did; ours keeps "
        "those of the weights. Interval of the mean difference over seeds by Student's t.",
        "",
        *table(["work", "seeds", "test images", "baseline", "tumorscope", "difference (95% interval)"], rows),
        *([f"Not measured yet: {'; '.join(missing)}.", ""] if missing else []),
    ]


def accuracy_row(title: str, test: str, seeds: list[dict[str, Any]], side: str) -> list[str]:
    """Mean accuracies of one baseline and of ours, and the mean difference over seeds."""
    base, ours = values(seeds, side), values(seeds, "ours")
    difference = over_seeds([b - a for a, b in zip(base, ours, strict=True)])
    return [title, str(len(seeds)), test, f"{mean(base):.3f}", f"{mean(ours):.3f}", difference]


def reach(found: Found) -> list[str]:
    """Time to a given accuracy, both sides from the list of files on."""
    sides: Found = found.get("reach", {})
    if not {"baseline", *OURS} <= set(sides):
        return []
    base = sides["baseline"]
    rows = []
    for key in ("baseline", *OURS):
        row, work = sides[key], reaching.WORK if key == "baseline" else reaching.SHORT
        got = row["history"][-1] >= reaching.WANTED
        title = "the baseline's loop" if key == "baseline" else f"tumorscope, seed {key.removeprefix('ours-')}"
        gain = "" if key == "baseline" else f"{base['whole'] / row['whole']:.1f}" if got else "not reached"
        history = ", ".join(f"{value:.3f}" for value in row["history"])
        rows.append([title, work.title, history, f"{row['whole'] / 60:.1f}", gain, f"{row['peak_mb']:,.0f}"])
    runs = [sides[key] for key in OURS]
    whole = base["whole"] / middle(runs, "whole")
    notes = []
    if whole < reaching.WORK.target:
        need = [len(row["history"]) for row in (base, runs[0])]
        notes.append(
            f"- Short of the target: {whole:.1f} of {reaching.WORK.target:g}. The baseline needs {need[0]} epochs of "
            f"{base['epoch']:.0f} s, ours {need[1]} of {middle(runs, 'epoch'):.0f} s; fewer epochs and smaller images "
            "stayed below the mark on the images that the course was chosen on ([log](../LOG.md))."
        )
    head = ["trained by", "course, batches of 32", "accuracy after each epoch", "minutes", "ratio", "peak memory, MB"]
    return [
        f"`benchmarks/speed/reach.py`: EfficientNet-Lite0 from ImageNet weights on all {base['train']:,} training "
        f"files, from their list to the end of the epoch after which {reaching.WANTED:g} of the {base['val']:,} "
        "official test images are answered rightly (copies of training images among them), decoding and the answers "
        "after each epoch included. The baseline stops there; ours runs its course, chosen on images of the training "
        f"part ([log](../LOG.md)). Target: {reaching.WORK.target:g}.",
        "",
        *table(head, rows),
        *notes,
    ]
