"""docs/scale.md from the JSON files of `benchmarks.scale`: what was measured, then what is worked out from it.

No figure is written by hand: assumptions are named constants here, the growth of the search is read from the page of
the audits, everything else from the JSON files.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.sections import measured, merged, table
from tumorscope.core.files import read_json
from tumorscope.data.copies.store import _ROW

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "scale.md"
AUDITS = ROOT / "docs" / "results" / "audit.md"
IMAGES, NODES, CORES = 10_000_000, 32, 16
"""What is worked out: images, nodes, and the cores of one, each as fast as one core here."""
POINTS, FOLDS, EPOCHS = 36, 3, 25
PREDICT, READ, SWEEP, DRIVER = "Predict", "Reading for an audit", "Sweep", "What the asking process takes in"
PAPER, UNTRIED = "Ten million images on 32 nodes, on paper", "What was not tried"
ORDER = (PREDICT, READ, SWEEP, DRIVER, PAPER, UNTRIED)
HEAD = """# Many machines: measured, and worked out

Made by `python -m benchmarks.scale`; every figure is read from its JSON files. How to use it:
[many machines](howto/many-machines.md); why it is built so: [0012](decisions/0012-ray-carries-blocks.md).

Measured: one machine with two cores, each way a whole command in a process of its own. *Once* is what a command costs
before its first image, *images a second* is from the difference of two sizes: (larger - smaller) / (seconds -
seconds). A worker is one process with one thread on one core."""


def split(sizes: Sequence[int], seconds: Sequence[float]) -> tuple[float, float]:
    """Seconds that a command costs once, and images a second, from two sizes."""
    rate = (sizes[1] - sizes[0]) / (seconds[1] - seconds[0])
    return seconds[0] - sizes[0] / rate, rate


def rates(content: Mapping[str, Any]) -> dict[str, float]:
    """Images a second by way."""
    return {row["way"]: split(content["sizes"], row["seconds"])[1] for row in content["rows"]}


def long(seconds: float) -> str:
    """Seconds as a person says them."""
    for unit, size in (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.0f} seconds"


def ways(content: Mapping[str, Any]) -> list[str]:
    """The table of a part that has ways and two sizes, and two sentences below it."""
    found = rates(content)
    plain = {"1 core": found["plain, 1 core"], "2 cores": found["plain, 2 cores"]}
    rows = []
    for row in content["rows"]:
        once, rate = split(content["sizes"], row["seconds"])
        cores = "1 core" if "1 core" in row["way"] else "2 cores"
        against = "" if row["way"].startswith("plain") else f"{(plain[cores] / rate - 1) * 100:+.1f}%"
        rows.append((row["way"], *(f"{s:.1f}" for s in row["seconds"]), f"{once:.1f}", f"{rate:.1f}", against))
    small, large = content["sizes"]
    head = ("way", f"seconds, {small:,}", f"seconds, {large:,}", "once, s", "images a second", "time an image")
    one, two = found["Ray, 1 worker on 1 core"], found["Ray, 2 workers on 2 cores"]
    return [
        *table(head, rows),
        f"*Time an image* is against the plain way on the same cores, which Ray's own processes and the asking one use "
        f"too. From one worker to two: {two / one:.2f} times "
        f"the rate (plain, from one core to two: {plain['2 cores'] / plain['1 core']:.2f}).",
    ]


def predict_section(content: Mapping[str, Any]) -> list[str]:
    """Whole commands of `predict`."""
    tables = {
        row["table"] for row in content["rows"] if row["table"] and row["way"] in ("plain, 2 cores", *_ray(content))
    }
    same = "yes" if len(tables) == 1 else "NO"
    return [
        measured([content["stamp"]]),
        "",
        "EfficientNet-Lite0 at 224 px (of `tumorscope train demo --set model.name=tf_efficientnet_lite0 --set "
        "image.size_px=224`; the rate does not depend on what it learned), names of n = "
        f"{content['sizes'][0]:,} and {content['sizes'][1]:,} real scans of 224 px on standard input, once each:",
        "",
        "```text",
        "tumorscope predict BUNDLE - --out OUT --no-gate --backend openvino [--ray local]",
        "```",
        "",
        *ways(content),
        f"The tables of the plain way and of Ray are the same bytes: {same}. *Ray Data* is the same work by "
        "`map_batches` with one actor a core and order kept, without a journal and without writing a table.",
    ]


def _ray(content: Mapping[str, Any]) -> list[str]:
    return [row["way"] for row in content["rows"] if row["way"].startswith("Ray, ")]


def read_section(content: Mapping[str, Any]) -> list[str]:
    """Reading, hashing and thumbnails."""
    rate = rates(content)["Ray, 2 workers on 2 cores"]
    return [
        measured([content["stamp"]]),
        "",
        f"Reading, hashing, decoding and thumbnails of n = {content['sizes'][0]:,} and {content['sizes'][1]:,} real "
        f"scans ({content['files']:,} files in turn, {content['file_bytes'] / 1e3:.1f} kB each in the mean), index and "
        "thumbnails written, nothing kept before. The files lie in the memory of the machine's file cache.",
        "",
        *ways(content),
        f"At the rate of two workers {rate * content['file_bytes'] / 1e6:.1f} MB of files a second are read, and "
        f"{rate * _ROW / 1e6:.1f} MB of thumbnails written.",
    ]


def sweep_section(content: Mapping[str, Any]) -> list[str]:
    """The same points by two crews."""
    plain, ray = content["rows"]
    same = "yes" if plain["points"] == ray["points"] else "NO"
    rows = [
        (r["way"], f"{r['seconds']:.1f}", f"{r['sweep_seconds']:.1f}", str(len(r["points"])), f"{r['cpu_seconds']:.1f}")
        for r in content["rows"]
    ]
    return [
        measured([content["stamp"]]),
        "",
        f"{ray['images']:,} images of BreastMNIST, {ray['folds']} folds, one command each:",
        "",
        "```text",
        "tumorscope sweep breastmnist-cnn --data breastmnist.npz --out OUT "
        f"{shlex.join(content['options'])} [--ray local]",
        "```",
        "",
        *table(("way", "seconds, all", "seconds, points", "points", "CPU seconds in points"), rows),
        f"Points and scores are the same: {same}. What Ray adds is its start and the start of workers through it; "
        "between the start and the end of a point it does nothing.",
    ]


def driver_section(content: Mapping[str, Any]) -> list[str]:
    """How much one process takes in."""
    rows, images = content["rows"] / content["row_seconds"], content["images"] / content["image_seconds"]
    return [
        measured([content["stamp"]]),
        "",
        "Results go to one process, which puts them in order and writes them. Blocks that cost nothing to make show "
        f"how much it takes in, beside two workers on the same two cores (n = {content['rows']:,} rows, in blocks of "
        f"{content['block']}):",
        "",
        f"- answers into the journal of `predict`: {rows:,.0f} rows a second; the table from the journal afterwards: "
        f"{content['rows'] / content['finish_seconds']:,.0f} rows a second;",
        f"- hashes and thumbnails into index and store of `audit`: {images:,.0f} images a second, "
        f"{images * _ROW / 1e6:.0f} MB a second.",
    ]


def growth() -> list[tuple[int, float, float]]:
    """Images, seconds and peak MB of the search for copies, from the page of the audits."""
    text = AUDITS.read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\d,]+) \| (\d+) \| \d+ \| ([\d,]+) \| [\d.]+ \|$", text, re.M)
    return [(int(n.replace(",", "")), float(s), float(mb.replace(",", ""))) for n, s, mb in rows]


def paper(parts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The arithmetic, step by step."""
    workers = NODES * CORES
    pair = {part: rates(parts[part])["Ray, 2 workers on 2 cores"] for part in ("predict", "read")}
    rows_s = parts["driver"]["rows"] / parts["driver"]["row_seconds"]
    finish_s = parts["driver"]["rows"] / parts["driver"]["finish_seconds"]
    images_s = parts["driver"]["images"] / parts["driver"]["image_seconds"]
    size = parts["read"]["file_bytes"]
    (n1, t1, m1), (n2, t2, m2) = growth()[-2:]
    each_mb = (m2 - m1) / (n2 - n1)
    exponent = math.log(t2 / t1) / math.log(n2 / n1)
    searched = t2 * (IMAGES / n2) ** exponent
    ray = parts["sweep"]["rows"][1]
    epoch_s = ray["epochs"] * ray["images"] / ray["cpu_seconds"]
    point = FOLDS * EPOCHS * IMAGES / epoch_s

    def spread(part: str, ceiling: float) -> list[str]:
        one, real = pair[part] / 2, pair[part] / 2 * workers
        rate = min(real, ceiling)
        bound = "the asking process" if ceiling < real else "the workers"
        return [
            f"1. Two workers on two cores, the asking process beside them: {pair[part]:,.1f} images a second "
            f"(measured), {one:,.1f} a worker.",
            f"2. {workers} workers, each as fast: {real:,.0f} images a second (assumed: what they share keeps up).",
            f"3. One asking process takes in {ceiling:,.0f} a second (measured). What decides is {bound}: "
            f"{rate:,.0f} images a second, {IMAGES:,} / {rate:,.0f} = **{long(IMAGES / rate)}**.",
            f"4. Files: {rate:,.0f} x {size / 1e3:.1f} kB = {rate * size / 1e6:,.0f} MB a second and as many opened "
            "files a second from the shared file system. That was not measured; many give fewer.",
        ]

    return [
        f"**Worked out, not measured.** Assumed: {NODES} nodes of {CORES} cores, each as fast as one core here, so "
        f"{workers} workers; files of {size / 1e3:.1f} kB as above ({IMAGES * size / 1e9:,.0f} GB in all); a file "
        "system and a network that keep up; nothing else on the machines.",
        "",
        "**Audit, reading**",
        "",
        *spread("read", images_s),
        f"5. Kept: {IMAGES:,} x {_ROW:,} bytes = {IMAGES * _ROW / 1e9:.0f} GB of thumbnails, in the cache folder and, "
        "for the search, in the memory of the asking process.",
        "",
        "**Audit, search for copies** (one machine, not spread)",
        "",
        f"1. {n1:,} images took {t1:.0f} s, {n2:,} took {t2:.0f} s ([measured](results/audit.md), two cores): time "
        f"grows with n to the power {exponent:.2f}.",
        f"2. {IMAGES:,}: {t2:.0f} s x {IMAGES // n2} ^ {exponent:.2f} = {searched:,.0f} s, **{long(searched)}** on two "
        "cores. Verification of candidates comes on top; it was not measured at this size.",
        f"3. Memory: {m1:,.0f} MB for {n1:,} and {m2:,.0f} MB for {n2:,} (measured): {each_mb * 1e3:.1f} kB an "
        f"image. {IMAGES:,}: {(m2 + (IMAGES - n2) * each_mb) / 1e3:,.0f} GB. **It does not run in the memory of an "
        "ordinary machine.** Until it is spread, audit the set in parts (a site, a year), which finds no copy across "
        "parts.",
        "",
        "**Predict** (EfficientNet-Lite0, 224 px)",
        "",
        *spread("predict", rows_s),
        f"5. The table from the journal: {IMAGES:,} / {finish_s:,.0f} = {long(IMAGES / finish_s)} more.",
        "",
        f"**Sweep** ({POINTS} points, {FOLDS} folds, {EPOCHS} epochs, the small network of `breastmnist-cnn` at 28 px)",
        "",
        f"1. One worker: {ray['epochs']} epochs of {ray['images']:,} images (training and validation) in "
        f"{ray['cpu_seconds']:.0f} CPU seconds = {epoch_s:,.0f} images a second (measured).",
        f"2. One point: {FOLDS} x {EPOCHS} x {IMAGES:,} / {epoch_s:,.0f} = {long(point)}.",
        f"3. Workers take whole points, so {POINTS} of {workers} have work: all points end after **{long(point)}**; "
        f"{workers - POINTS} workers have nothing to do. A larger network takes as much longer as its step does.",
        f"4. Decoded pixels, read by every worker: {IMAGES:,} x 28 x 28 = {IMAGES * 28 * 28 / 1e9:.1f} GB (at 224 px "
        f"{IMAGES * 224 * 224 / 1e9:,.0f} GB), and the list of images in each worker's memory. A sweep on a sample of "
        "the set is the sensible way.",
        "",
        "**Bottlenecks, in the order in which they are met:** memory of the one machine that searches copies; opened "
        "files a second of the shared file system; the asking process (one core: order, journal, index); the manifest, "
        "which holds every image as a Python value in the asking process. Ray's object store is none: a block's result "
        "is at most 0.3 MB and is taken at once; three blocks a worker are under way.",
    ]


NOT_TRIED = [
    "More than one machine, a network between nodes, a shared file system, more than three nodes, more than two "
    "workers at a time; SLURM, KubeRay, GPUs. The rate of two workers on two cores says little about 512: it is used "
    "above because it is what was measured. Each way was timed once.",
]


def write_page(out: Path) -> None:
    """Write the page from the parts that are in `out`; sections of the others stay."""
    parts = {
        p: read_json(out / f"{p}.json") for p in ("predict", "read", "sweep", "driver") if (out / f"{p}.json").is_file()
    }
    new: dict[str, Sequence[str]] = {UNTRIED: NOT_TRIED}
    makers = {"predict": (PREDICT, predict_section), "read": (READ, read_section), "sweep": (SWEEP, sweep_section)}
    for part, (title, maker) in {**makers, "driver": (DRIVER, driver_section)}.items():
        if part in parts:
            new[title] = maker(parts[part])
    if len(parts) == len(makers) + 1:
        new[PAPER] = paper(parts)
    PAGE.write_text(merged(PAGE, HEAD, ORDER, new), encoding="utf-8")
