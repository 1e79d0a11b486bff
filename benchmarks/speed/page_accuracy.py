"""The sections of the speed page that tell of accuracy: peers, time to a given accuracy, whether the same is learned.

In: the JSON file of the timings. Out: lines of Markdown.
"""

from __future__ import annotations

from statistics import mean, median
from typing import Any

from benchmarks.sections import table
from benchmarks.speed.accuracy import ACCURACY_WORKS, SAME_BASELINE
from benchmarks.speed.turns import Found, fastest, middle, over_seeds, values
from benchmarks.speed.works import LEARNED, WORKS


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
        "fastai and ours flip and turn. Each has its own way with rates, weight decay and averaging of weights: "
        "Ultralytics warms up and then lowers its rate, and answers with averaged weights. Interval of the mean "
        "difference over seeds by Student's t.",
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
        rows.append(accuracy_row(work.title, work.test, seeds, "baseline"))
        if all("mirrored" in seed for seed in seeds):
            rows.append(accuracy_row("the same, the baseline turning images as ours", work.test, seeds, "mirrored"))
    if not rows:
        return []
    missing = [work.title for work in ACCURACY_WORKS if not found["accuracy"].get(work.name)]
    return [
        "`benchmarks/speed/accuracy.py`: both sides train with the same network, images, optimizer, constant rate, "
        "batch and number of epochs unless said otherwise; test images (official test part, drawn by a fixed seed, "
        "copies of training images among them) are answered once after training. The baseline turns images as "
        "torchvision does by itself, by the nearest pixel and with black corners, ours between pixels with what lies "
        "outside mirrored in; where a row says so, the baseline's loop does as ours. Interval of the mean difference "
        "over seeds by Student's t.",
        "",
        *table(["work", "seeds", "test images", "baseline", "tumorscope", "difference (95% interval)"], rows),
        *([f"Not measured yet: {'; '.join(missing)}.", ""] if missing else []),
    ]


def accuracy_row(title: str, test: int, seeds: list[dict[str, Any]], side: str) -> list[str]:
    """Mean accuracies of one baseline and of ours, and the mean difference over seeds."""
    base, ours = values(seeds, side), values(seeds, "ours")
    difference = over_seeds([b - a for a, b in zip(base, ours, strict=True)])
    return [title, str(len(seeds)), f"{test}", f"{mean(base):.3f}", f"{mean(ours):.3f}", difference]


def reach(found: Found) -> list[str]:
    """Time to a given accuracy."""
    row = found.get("reach", {}).get("course")
    if row is None:
        return []
    timed, work = found["works"]["efficientnet-lite0"], next(w for w in WORKS if w.name == "efficientnet-lite0")
    # validation is a forward pass: a third of a training step's arithmetic
    share = row["train"] / (work.train + work.val / 3)
    history = ", ".join(f"{value:.3f}" for value in row["accuracy"])
    reached = next((i for i, value in enumerate(row["accuracy"], start=1) if value >= row["wanted"]), None)
    rows, minutes = [], []
    for title, side, before in (
        ("the baseline's loop", "baseline", 0.0),
        ("tumorscope", fastest(timed), row["before_s"]),
    ):
        epoch = middle(timed[side], "epoch") * share
        minutes.append(((reached or 0) * epoch + before) / 60)
        took = f"{minutes[-1]:.1f}" if reached else ""
        rows.append([title, str(reached or f"not in {len(row['accuracy'])}"), f"{epoch:.0f}", took])
    gain = f"Ratio: {minutes[0] / minutes[1]:.1f} (target 5)." if reached else ""
    return [
        f"`benchmarks/speed/reach.py`: EfficientNet-Lite0 from ImageNet weights on all {row['train']:,} training "
        f"files, {row['title']}. Accuracy on the 1,311 official test images after each epoch, looked at only to see "
        f"when 0.98 is reached: {history}. One seed, computed by tumorscope; that the two learn alike is for the last "
        "section to say. The minutes are composed: epochs needed, times the seconds of an epoch measured above, scaled "
        "to the number of images, for ours with decoding, without the half minute that a compilation takes.",
        "",
        *table(["trained by", "epochs", "s an epoch", "minutes"], rows),
        f"{gain} By the same course the ratio is that of an epoch. No shorter course was found: one cycle to 1e-3 over "
        "a single epoch in batches of 16 ends far below, one cycle over four epochs needs three "
        "([log](../LOG.md)).",
        "",
    ]
