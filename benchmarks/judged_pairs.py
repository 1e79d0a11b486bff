"""Draw pairs over the whole range of scores, for a reader who sees neither kind nor score, and take the marks in.

    python -m benchmarks.judged_pairs --data DATA/brain-mri-4class --out FOLDER [--n 100] [--seed 0]
    python -m benchmarks.judged_pairs --data DATA/brain-mri-4class --out FOLDER --marks FOLDER/marks.csv

The first call writes contact sheets (`sheet-1.png`, ...), pairs numbered in random order, the second picture turned
and mirrored onto the first. The reader writes `marks.csv` with the columns number,mark, where mark is one of
"copy" (same picture), "same patient" (another slice of one head), "different", "unsure". The second call draws the
same pairs again and writes `docs/results/judged-pairs.csv`, from which `benchmarks.audits` makes its table.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tumorscope.core.files import atomic_path
from tumorscope.core.types import Pixels
from tumorscope.data.copies.groups import Pair
from tumorscope.data.copies.survey import survey
from tumorscope.data.load import load
from tumorscope.data.manifest import Manifest

RESULT = Path(__file__).resolve().parent.parent / "docs" / "results" / "judged-pairs.csv"
KINDS = ("near", "patient-likely")
MARKS = ("copy", "same patient", "different", "unsure")
RANGES = 10
SIDE, COLUMNS, ROWS = 230, 4, 5


def draw_sample(pairs: Sequence[Pair], *, n: int, seed: int) -> list[Pair]:
    """`n` pairs, half of each kind, in equal numbers from ten equal ranges of the kind's scores, in random order.

    A range with too few pairs gives all it has; pairs drawn from the whole kind fill its place, at the end.
    """
    rng = np.random.default_rng(seed)
    chosen: list[Pair] = []
    rest: list[Pair] = []
    for kind in KINDS:
        of_kind = [p for p in pairs if p.kind == kind]
        edges = np.linspace(min(p.score for p in of_kind), max(p.score for p in of_kind), RANGES + 1)
        place = np.clip(np.searchsorted(edges, [p.score for p in of_kind], side="right") - 1, 0, RANGES - 1)
        for part in range(RANGES):
            there = np.flatnonzero(place == part)
            take = rng.permutation(there)[: n // (RANGES * len(KINDS))]
            chosen += [of_kind[i] for i in sorted(take.tolist())]
        rest.extend(of_kind)
    shuffled = [chosen[i] for i in rng.permutation(len(chosen)).tolist()]
    left = [rest[i] for i in rng.permutation(len(rest)).tolist() if rest[i] not in chosen]
    for kind in KINDS:
        missing = n // len(KINDS) - sum(p.kind == kind for p in chosen)
        shuffled += [p for p in left if p.kind == kind][:missing]
    return shuffled


def upright(pixels: Pixels, pair: Pair) -> Image.Image:
    """The second picture turned by quarter turns and mirrored as the pair says, so that it lies as the first one."""
    image = Image.fromarray(pixels).convert("L")
    quarter = round(pair.rotation_deg / 90) * 90
    if quarter:
        image = image.rotate(-quarter, expand=True)
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if pair.mirrored else image


def write_sheets(folder: Path, manifest: Manifest, chosen: Sequence[Pair]) -> list[Path]:
    """Contact sheets of numbered pairs; nothing on them tells kind or score."""
    paths: list[Path] = []
    for start in range(0, len(chosen), COLUMNS * ROWS):
        part = chosen[start : start + COLUMNS * ROWS]
        sheet = Image.new("L", (COLUMNS * (2 * SIDE + 14), ROWS * (SIDE + 18)), 255)
        words = ImageDraw.Draw(sheet)
        for place, pair in enumerate(part):
            left = (place % COLUMNS) * (2 * SIDE + 14)
            top = (place // COLUMNS) * (SIDE + 18)
            first, second = manifest.pixels([pair.a, pair.b])
            for image, x in (
                (Image.fromarray(first).convert("L"), left),
                (upright(second, pair), left + SIDE + 2),
            ):
                sheet.paste(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR), (x, top + 16))
            words.text((left, top + 2), str(start + place + 1), fill=0)
        paths.append(folder / f"sheet-{len(paths) + 1}.png")
        sheet.save(paths[-1])
    return paths


def read_marks(path: Path, n: int) -> list[str]:
    """Marks of pairs 1 to n, in order; every pair must have one."""
    with path.open(newline="", encoding="utf-8") as handle:
        marks = {int(row["number"]): row["mark"] for row in csv.DictReader(handle)}
    missing = [number for number in range(1, n + 1) if marks.get(number) not in MARKS]
    if missing or len(marks) != n:
        raise SystemExit(f"{path}: expected one of {MARKS} for each of 1 to {n}; missing or unknown: {missing[:10]}")
    return [marks[number] for number in range(1, n + 1)]


def write_result(path: Path, manifest: Manifest, chosen: Sequence[Pair], marks: Sequence[str]) -> None:
    """The judged pairs as a table."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["number", "image_a", "image_b", "kind", "score", "mirrored", "mark"])
        for number, (pair, mark) in enumerate(zip(chosen, marks, strict=True), start=1):
            names = [manifest.records[pair.a].path, manifest.records[pair.b].path]
            writer.writerow([number, *names, pair.kind, f"{pair.score:.4f}", str(pair.mirrored).lower(), mark])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of images")
    parser.add_argument("--out", required=True, type=Path, help="folder for the contact sheets")
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--marks", type=Path, help="the reader's marks")
    arguments = parser.parse_args()
    manifest = load(arguments.data)
    chosen = draw_sample(survey(manifest).pairs, n=arguments.n, seed=arguments.seed)
    if arguments.marks is None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        for path in write_sheets(arguments.out, manifest, chosen):
            sys.stdout.write(f"{path}\n")
    else:
        write_result(RESULT, manifest, chosen, read_marks(arguments.marks, len(chosen)))
        sys.stdout.write(f"{RESULT}\n")


if __name__ == "__main__":
    main()
