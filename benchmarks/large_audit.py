"""Audit a large folder, interrupted twice: time, peak memory, and whether every planted copy is found.

    python -m benchmarks.large_audit --data PATH --work FOLDER [--n 100000] [--json FILE]

`--data` is a folder of images. Pictures are made from them: blends of two, slightly moved, in two classes with train
and test folders; one test picture in a hundred stands in training too, mirrored and encoded again. The audit is an
ordinary `tumorscope audit` command with a cache folder of its own, stopped by Ctrl-C while it reads and again while
it compares, then run to its end.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tumorscope.core.files import json_text, write_json
from tumorscope.data.load import load

SIDE = 112
TEST_SHARE = 0.2
PLANTED_SHARE = 0.01


def make(data: str, root: Path, n: int) -> int:
    """Write n pictures and return how many mirrored copies were planted; kept if they are there already."""
    planted = max(1, int(n * TEST_SHARE * PLANTED_SHARE * 5))
    done = root / "made"
    if done.is_file() and done.read_text() == f"{n} {planted}":
        return planted
    manifest = load(data)
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.permutation(len(manifest))[:2000]).tolist()
    base = np.stack(
        [np.asarray(Image.fromarray(pixels).convert("L").resize((SIDE, SIDE))) for pixels in manifest.pixels(chosen)]
    )
    tests = int(n * TEST_SHARE)

    def write(i: int) -> None:
        own = np.random.default_rng([1, i])
        one, two = base[own.integers(len(base), size=2)]
        share = own.uniform(0.25, 0.75)
        moved = np.roll(two, tuple(own.integers(-6, 7, 2)), (0, 1))
        picture = (one * share + moved * (1 - share)).astype(np.uint8)
        part, label = ("Testing" if i < tests else "Training"), ("even", "odd")[i % 2]
        Image.fromarray(picture).save(root / part / label / f"{i:06}.jpg", quality=85)
        if i < planted:
            Image.fromarray(picture[:, ::-1]).save(root / "Training" / label / f"twin{i:06}.jpg", quality=60)

    for part in ("Training", "Testing"):
        for label in ("even", "odd"):
            (root / part / label).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(write, range(n - planted)))
    done.write_text(f"{n} {planted}")
    return planted


def run(words: list[str], *, stop_after: float | None, cache: Path) -> tuple[int, float]:
    """Exit code and seconds of one command, sent Ctrl-C after `stop_after` seconds."""
    start = time.perf_counter()
    environment = {**os.environ, "TUMORSCOPE_CACHE": str(cache), "OMP_WAIT_POLICY": "passive"}
    process = subprocess.Popen(words, env=environment)
    try:
        code = process.wait(timeout=stop_after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        code = process.wait()
    return code, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--stops", type=float, nargs="*", default=[30.0, 120.0], help="seconds after which to stop")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    # a shell starts background jobs with Ctrl-C ignored, and children would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    root = options.work / "pictures"
    planted = make(options.data, root, options.n)
    words = [sys.executable, "-m", "tumorscope", "audit", str(root), "--out", str(options.work / "audit")]
    attempts = []
    for stop in [*options.stops, None]:
        code, seconds = run(words, stop_after=stop, cache=options.work / "cache")
        attempts.append({"exit_code": code, "seconds": round(seconds, 1)})
        if stop is None or code in (0, 1):
            break
    with (options.work / "audit" / "pairs.csv").open(newline="", encoding="utf-8") as handle:
        found = {
            Path(row[side]).stem
            for row in csv.DictReader(handle)
            if row["mirrored"] == "true" and row["kind"] == "near"
            for side in ("image_a", "image_b")
        }
    result: dict[str, Any] = {
        "images": options.n,
        "planted_mirrored_copies": planted,
        "found": sum(f"twin{i:06}" in found for i in range(planted)),
        "attempts": attempts,
        "seconds": round(sum(a["seconds"] for a in attempts), 1),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
    }
    sys.stdout.write(json_text(result))
    if options.json:
        write_json(options.json, result)


if __name__ == "__main__":
    main()
