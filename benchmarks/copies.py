"""How well and how fast copies are found: planted copies of real slices, the whole set, and growing sets.

    python -m benchmarks.copies --data PATH [--n 2000] [--json FILE] [--threads 2] [--scale 10000 100000]

`--data` is a folder of images. Planting: one image per group of natural copies is chosen, each gets a changed
copy, and the pairs called "near" are compared with what was planted. The chosen images keep their neighbouring
slices, so a slice taken for its neighbour counts as a false pair. A pair that no planting made is false even
where the two originals are a natural copy that was missed. Pairs span the groups: a wrong join of two groups counts
as one or a few false pairs, not as every combination.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tumorscope.core.files import sha256_bytes, write_json
from tumorscope.core.types import Pixels
from tumorscope.data.copies import CopyItems, describe, describe_many, find_copies, group
from tumorscope.data.copies.search import find_candidates

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}
Change = Callable[[Pixels, np.random.Generator], Pixels]


def reencode(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """JPEG at quality 30 to 90."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=int(rng.integers(30, 91)))
    return np.asarray(Image.open(buffer))


def resize(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """0.5 to 2 times the size, by one of three filters."""
    scale = 2 ** rng.uniform(-1, 1)
    filters = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
    height, width = (max(8, round(side * scale)) for side in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), filters[rng.integers(3)]))


def brightness(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Gamma 0.75 to 1.35, contrast 0.7 to 1.4 and offset -20 to 20 together, clipped."""
    bent = 255 * (pixels / 255.0) ** rng.uniform(0.75, 1.35)
    return np.clip(np.rint(bent * rng.uniform(0.7, 1.4) + rng.uniform(-20, 20)), 0, 255).astype(np.uint8)


def mirror(pixels: Pixels, _: np.random.Generator) -> Pixels:
    """Left to right."""
    return np.ascontiguousarray(pixels[:, ::-1])


def crop(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """0 to 10% off each side on its own."""
    height, width = pixels.shape[:2]
    top, bottom, left, right = rng.uniform(0, 0.1, 4)
    return np.ascontiguousarray(
        pixels[int(top * height) : height - int(bottom * height), int(left * width) : width - int(right * width)]
    )


def shift(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Up to 10% along both axes, black behind."""
    height, width = pixels.shape[:2]
    down, right = round(rng.uniform(-0.1, 0.1) * height), round(rng.uniform(-0.1, 0.1) * width)
    moved = np.zeros_like(pixels)
    moved[max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)] = pixels[
        max(0, -down) : height + min(0, -down), max(0, -right) : width + min(0, -right)
    ]
    return moved


def rotate(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Up to 10 degrees, black behind."""
    return np.asarray(Image.fromarray(pixels).rotate(rng.uniform(-10, 10), Image.Resampling.BICUBIC))


def quarter(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """One to three quarter turns."""
    return np.ascontiguousarray(np.rot90(pixels, int(rng.integers(1, 4))))


def chain(*changes: Change) -> Change:
    def apply(pixels: Pixels, rng: np.random.Generator) -> Pixels:
        for change in changes:
            pixels = change(pixels, rng)
        return pixels

    return apply


CHANGES: dict[str, tuple[Change, float]] = {
    "re-encode": (reencode, 0.99),
    "resize": (resize, 0.99),
    "brightness": (brightness, 0.99),
    "mirror": (mirror, 0.99),
    "crop": (crop, 0.95),
    "shift": (shift, 0.95),
    "rotate": (rotate, 0.95),
    "quarter turn": (quarter, 0.95),
    "mirror + resize + brightness + re-encode": (chain(mirror, resize, brightness, reencode), 0.95),
    "crop + rotate + mirror": (chain(crop, rotate, mirror), 0.95),
    "quarter turn + crop + brightness + re-encode": (chain(quarter, crop, brightness, reencode), 0.95),
    "rotate + shift + brightness": (chain(rotate, shift, brightness), 0.95),
    "mirror + rotate + crop + resize + brightness + re-encode": (
        chain(mirror, rotate, crop, resize, brightness, reencode),
        0.95,
    ),
}
"""Every planted change with its target for recall and precision."""


def decode(path: Path) -> tuple[str, str, Pixels]:
    data = path.read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        gray = image.mode in {"L", "I", "I;16", "1"}
        pixels = np.asarray(image.convert("L" if gray else "RGB"))
    return sha256_bytes(data), sha256_bytes(pixels.tobytes() + repr(pixels.shape).encode()), pixels


def whole_set(paths: list[Path], threads: int) -> tuple[dict[str, Any], CopyItems, list[Any]]:
    """Find everything in the set as it is, and time it, decoding included."""
    start, cpu = time.perf_counter(), time.process_time()
    files, hashes = [], []

    def images() -> Any:
        with ThreadPoolExecutor(threads) as pool:
            for first in range(0, len(paths), 256):
                for file, content, pixels in pool.map(decode, paths[first : first + 256]):
                    files.append(file)
                    hashes.append(content)
                    yield pixels

    thumbs = describe_many(images(), count=len(paths), threads=threads)
    described = time.perf_counter() - start
    items = CopyItems(thumbs, files, hashes)
    pairs = find_copies(items, threads=threads)
    counts = {kind: sum(p.kind == kind for p in pairs) for kind in ("exact", "pixels", "near", "patient-likely")}
    result = {
        "images": len(paths),
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "decode_and_describe_seconds": round(described, 1),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "pairs": counts,
        "mirrored_near": sum(p.kind == "near" and p.mirrored for p in pairs),
        "distinct_pictures": int(group(len(paths), pairs).max()) + 1,
        "threads": threads,
    }
    return result, items, pairs


def planted(
    paths: list[Path], thumbs: Pixels, *, threads: int, names: list[str], seed: int
) -> dict[str, dict[str, float]]:
    """Recall and precision for every change planted in the images of `paths`."""
    table = {}
    n = len(paths)
    pixels = [decode(path)[2] for path in paths]
    for name in names:
        change, target = CHANGES[name]
        rng = np.random.default_rng(seed)
        copies = np.stack([describe(change(image, rng)) for image in pixels])
        pairs = find_copies(CopyItems(np.concatenate([thumbs, copies])), threads=threads)
        near = [p for p in pairs if p.kind == "near"]
        true = {p.a for p in near if p.b - p.a == n and p.a < n}
        false = sum(p.b - p.a != n for p in near)
        mirrored = sum(p.mirrored == ("mirror" in name) for p in near if p.b - p.a == n)
        table[name] = {
            "n": n,
            "recall": round(len(true) / n, 4),
            "precision": round(len(true) / max(1, len(true) + false), 4),
            "false_pairs": false,
            "mirroring_right": round(mirrored / max(1, len(true)), 4),
            "target": target,
        }
        print(f"{name:58s} {table[name]}", file=sys.stderr, flush=True)
    return table


def scaling(
    thumbs: Pixels, copies: Pixels, sizes: list[int], *, seed: int, background: Pixels, threads: int
) -> list[dict[str, float]]:
    """Time, memory and recall of the search among made-up pictures: blends of two real ones, slightly moved.

    `thumbs` and their changed `copies` lie at the start of every set; the share of them that become
    candidates is the recall.
    """
    table = []
    n = len(thumbs)
    for size in sorted(sizes):
        rng = np.random.default_rng(seed)
        made = np.empty((size, *thumbs.shape[1:]), np.uint8)
        for start in range(0, size, 4096):
            count = min(4096, size - start)
            one, two = background[rng.integers(len(background), size=(2, count))]
            share = rng.uniform(0.2, 0.8, (count, 1, 1)).astype(np.float32)
            blend = one * share + np.roll(two, tuple(rng.integers(-3, 4, 2)), (1, 2)) * (1 - share)
            made[start : start + count] = blend.astype(np.uint8)
        made[:n], made[n : 2 * n] = thumbs, copies
        begin, cpu = time.perf_counter(), time.process_time()
        found = find_candidates(made, threads=threads)
        row = {
            "images": size,
            "seconds": round(time.perf_counter() - begin, 1),
            "cpu_seconds": round(time.process_time() - cpu, 1),
            "candidates": len(found.a),
            "recall": round(float(((found.b - found.a == n) & (found.a < n)).sum()) / n, 4),
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }
        print(row, file=sys.stderr, flush=True)
        table.append(row)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--n", type=int, default=2000, help="images to plant copies of; 0 for none")
    parser.add_argument("--only", nargs="*", default=list(CHANGES), choices=list(CHANGES))
    parser.add_argument("--scale", type=int, nargs="*", default=[], help="sizes of made-up sets")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    paths = sorted(p for p in options.data.rglob("*") if p.suffix.lower() in SUFFIXES)
    whole, items, pairs = whole_set(paths, options.threads)
    print(json.dumps(whole), file=sys.stderr, flush=True)
    result: dict[str, Any] = {"whole_set": whole}
    groups = group(len(paths), pairs)
    _, first = np.unique(groups, return_index=True)
    chosen = np.sort(np.random.default_rng(options.seed).permutation(first)[: options.n or 500])
    if options.n:
        result["planted"] = planted(
            [paths[i] for i in chosen],
            items.thumbs[chosen],
            threads=options.threads,
            names=options.only,
            seed=options.seed,
        )
    if options.scale:
        few = chosen[: min(500, min(options.scale) // 4)]
        rng = np.random.default_rng(options.seed)
        change = CHANGES["mirror + resize + brightness + re-encode"][0]
        changed = np.stack([describe(change(decode(paths[i])[2], rng)) for i in few])
        result["scaling"] = scaling(
            items.thumbs[few],
            changed,
            options.scale,
            seed=options.seed,
            background=items.thumbs,
            threads=options.threads,
        )
    print(json.dumps(result, indent=2))
    if options.json:
        write_json(options.json, result)


if __name__ == "__main__":
    main()
