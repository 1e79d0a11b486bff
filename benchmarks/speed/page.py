"""`docs/results/performance.md` from the JSON file of the timings; no figure on the page comes from anywhere else.

A section is written when the file has everything that it compares; one whose works were not all measured stays as it
stands on the page.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log
from pathlib import Path
from statistics import linear_regression, median

from benchmarks.pictures import line_chart
from benchmarks.sections import measured, merged, table
from benchmarks.speed.accuracy import ACCURACY_WORKS
from benchmarks.speed.page_accuracy import OURS, accuracy, learned, reach
from benchmarks.speed.turns import Found, fastest, middle, ratio, values
from benchmarks.speed.works import ANSWERING, WORKS, Work

CURVE = "performance-growth.svg"
"""Name of the picture beside the page."""
INFERENCE_TARGET = 3
PARTS_OF_AN_EPOCH = ("images", "network", "optimizer", "validation")
SIDES = {"baseline": "baseline", "given back": "tumorscope, freed memory given back", "ours": "tumorscope"}


def _done(found: Found) -> list[tuple[Work, Found]]:
    return [(work, found["works"][work.name]) for work in WORKS if work.name in found["works"]]


def _gains(found: Found) -> list[tuple[Work, float]]:
    """Ratio of the medians of every work, by the faster of our two ways."""
    return [
        (work, middle(row["baseline"], row["what"]) / middle(row[fastest(row)], row["what"]))
        for work, row in _done(found)
    ]


def training(found: Found) -> list[str]:
    """Against the student systems' way."""
    rows = []
    for work, row in _done(found):
        what = row["what"]
        for ours in ("ours", "compiled"):
            if ours not in row:
                continue
            plan = str(row[ours][-1]["plan"])
            rows.append(
                [
                    work.title,
                    f"{work.train} + {work.val}",
                    "all of it" if what == "whole" else "an epoch",
                    f"{middle(row['baseline'], what):.2f}",
                    f"{middle(row[ours], what):.2f}",
                    ratio(row, ours, what),
                    str(len(row[ours])),
                    f"{work.target:g}",
                    f"{middle(row['baseline'], 'peak_mb'):,.0f} / {middle(row[ours], 'peak_mb'):,.0f}",
                    plan,
                ]
            )
    head = ["work", "images", "timed", "baseline, s", "tumorscope, s", "ratio (min to max)", "turns", "target"]
    lines = table([*head, "peak memory, MB (baseline / ours)", "plan"], rows)
    notes = [f"- {work.title}: {row['ours'][-1]['frozen']}." for work, row in _done(found) if row["ours"][-1]["frozen"]]
    notes += [f"- {work.title}: {row['note']}." for work, row in _done(found) if "note" in row]
    short = [f"{work.title} ({gain:.1f} of {work.target:g})" for work, gain in _gains(found) if gain < work.target]
    if short:
        notes.append(
            f"- Short of the target: {'; '.join(short)}. The next section has the machine's limit for what is bound by "
            "products, by epochs of the same number: a course of fewer may gain as many times more."
        )
    return [*lines, *notes]


def where(found: Found) -> list[str]:
    """Where an epoch's time goes."""
    rows = []
    for name, sides in found.get("parts", {}).items():
        work = next(w for w in WORKS if w.name == name)
        for side, title in SIDES.items():
            cells = [f"{sides[side][part]:.2f}" for part in PARTS_OF_AN_EPOCH]
            rows.append([work.title, title, *cells, f"{_sum(sides[side]):.2f}", f"{sides[side]['faults']:,}"])
        gains = [sides["baseline"][part] / max(sides["ours"][part], 1e-4) for part in PARTS_OF_AN_EPOCH]
        whole = _sum(sides["baseline"]) / _sum(sides["ours"])
        rows.append([work.title, "baseline / tumorscope", *(f"{gain:.1f}" for gain in gains), f"{whole:.1f}", ""])
    return [
        "`benchmarks/speed/parts.py`: the parts of one epoch, each run by itself on the same images: making all "
        "batches (for the baseline decoding and changing them in its own process, for ours changing them), the "
        "network forward and backward, the optimizer, validation. Seconds; one run each. What the frame of a training "
        "adds (logs, checkpoints) is not in it, nor what loading beside the network hides. Page faults are those of "
        "the network's part: memory that was freed and is fetched from the system anew, which ours does not give back "
        "(`core/allocation.py`); a row says what ours takes if it does.",
        "",
        *table(["work", "side", "images", "network", "optimizer", "validation", "sum", "page faults"], rows),
    ]


def _sum(parts: Found) -> float:
    """Seconds of all parts."""
    return float(sum(parts[part] for part in PARTS_OF_AN_EPOCH))


def cold(found: Found) -> list[str]:
    """From nothing to the end of the first epoch."""
    rows = [
        [
            work.title,
            f"{middle(row['baseline'], 'first'):.2f}",
            f"{middle(row['ours'], 'first'):.2f}",
            ratio(row, "ours", "first"),
            *(f"{middle(row['ours'], what):.2f}" if what in row["ours"][0] else "–" for what in ("scan_s", "plan_s")),
        ]
        for work, row in _done(found)
    ]
    return [
        "From the list of files to the end of the first epoch: reading and decoding every file, writing the cache, "
        "building the network, the frozen part where there is one. Target: no slower than the baseline's. Outside of "
        "both is the scan of the data, which the baseline's list of files comes from too: every file read, hashed and "
        "checked, of the whole set. Outside of ours is the plan, measured once a model and machine and remembered.",
        "",
        *table(["work", "baseline, s", "tumorscope, s", "ratio (min to max)", "scan, s", "plan, once, s"], rows),
    ]


def peers(found: Found) -> list[str]:
    """Against what a user would pick instead."""
    rows = []
    for work, row in _done(found):
        best = fastest(row)
        for name, turns in row.get("peers", {}).items():
            pairs = [a / b for a, b in zip(values(turns, "epoch"), values(row[best], "epoch"), strict=True)]
            rows.append(
                [
                    work.title,
                    name,
                    f"{middle(turns, 'epoch'):.2f}",
                    f"{middle(row[best], 'epoch'):.2f}",
                    f"{middle(turns, 'epoch') / middle(row[best], 'epoch'):.1f} ({min(pairs):.1f} to {max(pairs):.1f})",
                    str(len(turns)),
                    f"{middle(turns, 'peak_mb'):,.0f} / {middle(row[best], 'peak_mb'):,.0f}",
                ]
            )
    if not rows:
        return []
    return [
        "`benchmarks/speed/peers.py`: the same network, images, size, batch and number of epochs from random initial "
        "weights, an epoch with its validation, each peer with its own loader; two workers, but Ultralytics loads in "
        "its own process on a CPU. After two epochs from random weights there is no accuracy to speak of; "
        "`--only learned` compares one.",
        "",
        *table(
            ["work", "peer", "its seconds", "tumorscope, s", "ratio (min to max)", "turns", "peak memory, MB"], rows
        ),
    ]


def inference(found: Found) -> list[str]:
    """Batch inference."""
    rows, notes = [], []
    limits: Found = found["peak"]
    for model, turns in found.get("inference", {}).items():
        base = values(turns["eager"], "rate")
        gflop = limits["image_gflop"][model]
        for name, entries in turns.items():
            rates = values(entries, "rate")
            gain = median(rates) / median(base)
            pairs = [a / b for a, b in zip(rates, base, strict=True)]
            rows.append(
                [
                    model,
                    name if name != "auto" else f"auto: {entries[-1]['backend']}",
                    f"{median(rates):.0f}",
                    f"{gain:.1f} ({min(pairs):.1f} to {max(pairs):.1f})",
                    str(len(rates)),
                    f"{median(rates) * gflop:.0f}",
                    f"{middle(entries, 'peak_mb'):,.0f}",
                ]
            )
            if name == "auto" and gain < INFERENCE_TARGET:
                bound = limits["fp32_gflops"] / (median(base) * gflop)
                notes.append(
                    f"- Short of the target: {model} ({gain:.1f} of {INFERENCE_TARGET:g}). Eager float32 does "
                    f"{median(base) * gflop:.0f} GFLOP/s of the {limits['fp32_gflops']:.0f} that a matrix product of "
                    f"side 4096 in float32 does here; at that rate the ratio would be {bound:.1f}. Answers within "
                    "1e-4 are float32's."
                )
    if not rows:
        return []
    head = ["network", "computed by", "images/s", "ratio (min to max)", "turns", "GFLOP/s", "peak memory, MB"]
    lines = [
        "`benchmarks/speed/inference.py`: pixels in, logits out, batches of 32 images of 224 px, against timm's "
        "network in eager float32. `auto` is what `tumorscope predict` chooses by measuring at equal answers "
        "(probabilities within 1e-4 of torch's); the backends in bfloat16 answer differently in the third digit and "
        f"run only where they are asked for. Target: {INFERENCE_TARGET:g}.",
        "",
        *table(head, rows),
    ]
    return [*lines, *notes]


def growth(found: Found) -> list[str]:
    """Cost against the number of images."""
    rows = []
    for n, row in sorted(found.get("growth", {}).items(), key=lambda item: int(item[0])):
        ours, base = row["ours"], row["baseline"]
        rows.append(
            [
                f"{int(n):,}",
                f"{base['epoch']:.2f}",
                f"{ours['first'] - ours['epoch']:.2f}",
                f"{ours['epoch']:.2f}",
                f"{1000 * ours['epoch'] / int(n):.2f}",
                f"{base['epoch'] / ours['epoch']:.1f}",
                f"{base['peak_mb']:,.0f} / {ours['peak_mb']:,.0f}",
            ]
        )
    if not rows:
        return []
    head = ["images", "baseline, s an epoch", "decode once, s", "tumorscope, s an epoch", "ms an image", "ratio"]
    return [
        "`benchmarks/speed/growth.py`: S1's CNN at 64 px on JPEG files of 224 px, where decoding and feeding weigh "
        "more than arithmetic; one run each. Seconds grow as the number of images to the power "
        f"{_power(found['growth'], 'baseline'):.2f} (baseline) and {_power(found['growth'], 'ours'):.2f} (ours); 1 is "
        "linear.",
        "",
        f"![Seconds of an epoch against the number of images, both sides]({CURVE})",
        "",
        *table([*head, "peak memory, MB (baseline / ours)"], rows),
    ]


def growth_curve(found: Found) -> str:
    """Seconds of an epoch against the number of images, as SVG."""
    sizes = sorted(found["growth"], key=int)
    drawn = {
        title: [(float(n), found["growth"][n][side]["epoch"]) for n in sizes]
        for title, side in (("baseline", "baseline"), ("tumorscope", "ours"))
    }
    return line_chart("Cost against the number of images", drawn, x="images", y="seconds of an epoch")


def _power(rows: dict[str, Found], side: str) -> float:
    """Slope of the logarithm of an epoch's seconds over that of the number of images, by least squares."""
    sizes = sorted(rows, key=int)
    slope, _ = linear_regression([log(int(n)) for n in sizes], [log(rows[n][side]["epoch"]) for n in sizes])
    return slope


def roofline(found: Found) -> list[str]:
    """How near the machine's own limit."""
    peak: Found = found.get("peak") or {}
    rows = []
    for name, gflop in peak.get("step_gflop", {}).items():
        row = found["works"].get(name)
        if row is None:
            continue
        work = next(w for w in WORKS if w.name == name)
        best = fastest(row)
        images = (work.train + work.val / 3) * gflop
        rates = [images / middle(row[side], "epoch") for side in ("baseline", best)]
        bound = middle(row["baseline"], "epoch") / (images / peak["bf16_gflops"])
        rows.append(
            [
                work.title,
                f"{gflop:.2f}",
                f"{rates[0]:.0f}",
                f"{rates[1]:.0f}",
                f"{rates[1] / peak['bf16_gflops']:.2f}",
                f"{bound:.1f}",
            ]
        )
    if not rows:
        return []
    head = ["work", "GFLOP a training image", "baseline, GFLOP/s", "tumorscope, GFLOP/s", "share of bf16 product"]
    return [
        f"A matrix product of side 4096 runs at {peak['fp32_gflops']:.0f} GFLOP/s in float32 and "
        f"{peak['bf16_gflops']:.0f} in bfloat16 here, {peak['bf16_gflops'] / peak['fp32_gflops']:.1f} times as many: "
        "most of what training in bfloat16 can win over float32 on this machine. The last column is the ratio that "
        "an epoch would have if all of its multiplications ran at the latter rate and nothing else took time: a bound, "
        "as far as one large product shows what the machine can do. ResNet-50's target is a share of 0.55.",
        "",
        *table([*head, "largest possible ratio"], rows),
    ]


HEAD = """# Speed

Made by `make bench ARGS='--data DATA'` (`python -m benchmarks.speed`); every figure is read from its JSON file, of \
which [a copy](performance.json) lies beside this page; a section that is not in it stands as an earlier call left it. \
Each section says when it was measured; `--only` measures some of them again.

The baseline is `benchmarks/speed/seed_loop.py`: the student systems' way to train, faithfully written out (Pillow \
decodes each epoch, torchvision transforms image by image, the better of 0 and 2 loader workers, float32, contiguous, \
the frozen part run every epoch). Ours decodes into a new cache within the timing of a whole recipe. Both run \
validation after each epoch, on the same images with the same network, size, batch and number of epochs, unless a row \
says otherwise. Threads of the baseline and of peers wait as torch's do by themselves. Processes take turns on an \
otherwise idle machine. Images: training + validation, taken by a fixed seed. Peak memory is that of the process and \
its largest child; ours includes the measuring of the plan.
"""
ALL = tuple(work.name for work in WORKS)
PARTS: dict[str, tuple[Callable[[Found], list[str]], tuple[tuple[str, tuple[str, ...]], ...]]] = {
    "Training": (training, (("works", ALL),)),
    "Where an epoch's time goes": (where, (("parts", ("breastmnist", "efficientnet-b0")),)),
    "How near the machine's limit": (roofline, (("works", ALL),)),
    "The first epoch after a cold start": (cold, (("works", ALL),)),
    "Against what a user would pick instead": (peers, (("works", ALL),)),
    "The same, with an accuracy to compare": (learned, (("learned", ("0", "1", "2")),)),
    "Batch inference": (inference, (("inference", ANSWERING),)),
    "Time to 0.98 accuracy on the official test part of brain-mri-4class": (
        reach,
        (("reach", ("baseline", *OURS)),),
    ),
    "Cost against the number of images": (growth, (("growth", ("1000", "4000", "16000")),)),
    "Is what is learned the same?": (accuracy, (("accuracy", (ACCURACY_WORKS[0].name,)),)),
}
"""Title of a section to what writes it and what it needs of the JSON file: names of a part, and keys in it."""


def page(found: Found, path: Path) -> str:
    """The results page as Markdown: sections with all their figures in `found`, and the others as they stand."""
    new = {}
    for title, (write, needs) in PARTS.items():
        stamps = [
            found.get(part, {}).get(key, {}) and found["measured"][part][key] for part, keys in needs for key in keys
        ]
        lines = write(found) if all(stamps) else []
        # what a reader must know of how the figures came into the file
        said = [found["notes"][title], ""] if title in found.get("notes", {}) else []
        new[title] = [measured(stamps), "", *said, *lines] if lines else []
    return merged(path, HEAD, list(PARTS), new)
