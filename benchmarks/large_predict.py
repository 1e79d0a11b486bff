"""Predict a large folder, killed twice: rate, memory over time, and whether every row is there once.

    python -m benchmarks.large_predict --model BUNDLE --data PATH --work FOLDER [--n 100000] [--json FILE]

The folder holds n files with names of their own: small images of `--data` as PNG, 1,000 different ones, each linked
as often as needed; every 1,000th file is broken (cut off, empty, or text). An ordinary `tumorscope predict` command
runs on it and is killed without warning (SIGKILL) twice, then runs to its end; the table is compared with one that a
single process wrote without a stop, where `--compare` asks for it.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tumorscope.core.files import json_text, sha256_file, write_json, write_text
from tumorscope.data.load import load

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "results" / "predict.md"
PICTURES = 1000
BROKEN_EVERY = 1000
SAMPLE_SECONDS = 0.25


def make(data: str, root: Path, n: int) -> int:
    """Fill the folder with n files; returns how many are broken."""
    manifest = load(data)
    kept = root / "pictures"
    kept.mkdir(parents=True)
    chosen = np.sort(np.random.default_rng(0).permutation(len(manifest))[:PICTURES]).tolist()
    sources = []
    for i, pixels in zip(chosen, manifest.pixels(chosen), strict=True):
        path = kept / f"{i}.png"
        Image.fromarray(pixels).save(path)
        sources.append(path)
    whole = sources[0].read_bytes()
    bad = [kept / name for name in ("cut.png", "empty.png", "text.png")]
    for path, content in zip(bad, (whole[: len(whole) // 2], b"", b"no picture\n" * 20), strict=True):
        path.write_bytes(content)
    broken = 0
    for number in range(n):
        folder = root / "files" / f"{number // 1000:03}"
        if number % 1000 == 0:
            folder.mkdir(parents=True)
        source = sources[number % len(sources)]
        if number % BROKEN_EVERY == 500:
            source = bad[broken % len(bad)]
            broken += 1
        os.link(source, folder / f"scan {number:06}.png")
    return broken


def resident_mb(pid: int) -> float | None:
    """Resident memory of a process now; None when it is gone."""
    try:
        words = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    except OSError:
        return None
    return int(words[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def rows_in(path: Path) -> int:
    """Lines of an unfinished output, its first not counted."""
    if not path.is_file():
        return 0
    with path.open("rb") as handle:
        return max(0, sum(chunk.count(b"\n") for chunk in iter(lambda: handle.read(1 << 20), b"")) - 1)


def run(words: list[str], out: Path, *, stop_at: int | None) -> dict[str, Any]:
    """One command, killed when `stop_at` rows are written; its memory by row, peak, rate and exit code."""
    part = out.with_name(out.name + ".part")
    before = rows_in(part)
    start = time.perf_counter()
    process = subprocess.Popen(words, env={**os.environ, "OMP_WAIT_POLICY": "passive"})
    samples: list[tuple[float, float]] = []
    first_row: tuple[float, int] | None = None
    size, rows = -1, before
    while process.poll() is None:
        memory = resident_mb(process.pid)
        now = time.perf_counter() - start
        if memory is not None:
            samples.append((now, memory))
        counting = stop_at is not None or first_row is None
        if counting and part.is_file() and part.stat().st_size != size:
            size = part.stat().st_size
            rows = rows_in(part)
            if first_row is None and rows > before:
                first_row = (now, rows)
        if stop_at is not None and rows >= stop_at:
            process.send_signal(signal.SIGKILL)
            process.wait()
        time.sleep(SAMPLE_SECONDS)
    seconds = time.perf_counter() - start
    return {
        "exit_code": process.returncode,
        "seconds": round(seconds, 1),
        "rows_before": before,
        "rows_after": rows_in(part) if part.is_file() else None,
        "seconds_to_first_rows": None if first_row is None else round(first_row[0], 1),
        "memory_mb": [(round(t, 1), round(m)) for t, m in samples],
    }


def steady(samples: list[tuple[float, float]]) -> dict[str, float]:
    """Median memory in the second and in the last quarter of a run, and the peak."""
    values = np.array([m for _, m in samples])
    quarter = max(1, len(values) // 4)
    return {
        "early_mb": float(np.median(values[quarter : 2 * quarter])),
        "late_mb": float(np.median(values[-quarter:])),
        "peak_mb": float(values.max()),
    }


def check(out: Path, root: Path, n: int, broken: int) -> dict[str, Any]:
    """Whether the table has every file once, in order, and the broken ones their error."""
    with out.open(newline="", encoding="utf-8") as handle:
        rows = [(row["path"], row["error"], row["abstained"]) for row in csv.DictReader(handle)]
    wanted = [str(root / "files" / f"{i // 1000:03}" / f"scan {i:06}.png") for i in range(n)]
    unread = [error for _, error, _ in rows if error and not error.startswith("refused")]
    return {
        "rows": len(rows),
        "in_order_and_once": [path for path, _, _ in rows] == wanted,
        "broken": broken,
        "rows_with_a_reading_error": len(unread),
        "refused": sum(error.startswith("refused") for _, error, _ in rows),
        "abstained": sum(bool(silent) for _, _, silent in rows),
    }


def page(result: dict[str, Any]) -> str:
    """The results page as Markdown."""
    table = result["table"]
    order, rate = ("yes" if table["in_order_and_once"] else "NO"), result["files"] / result["seconds"]
    lines = [
        "# Predicting a large folder",
        "",
        "Made by `python -m benchmarks.large_predict --model BUNDLE --data DATA --work FOLDER`: an ordinary "
        f"`tumorscope predict` command over {result['files']:,} files ({table['broken']:,} of them broken), killed "
        "without warning twice and given again until it was done. Two processor cores.",
        "",
        "| attempt | rows before | ended by | seconds | memory early, MB | memory late, MB | peak, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for number, one in enumerate(result["attempts"], start=1):
        memory = one["memory"]
        ended = "kill" if one["exit_code"] < 0 else f"itself, exit code {one['exit_code']}"
        lines.append(
            f"| {number} | {one['rows_before']:,} | {ended} | {one['seconds']:.0f} | {memory['early_mb']:.0f} | "
            f"{memory['late_mb']:.0f} | {memory['peak_mb']:.0f} |"
        )
    lines += [
        "",
        f"All attempts together took {result['seconds']:.0f} s, {rate:.0f} files a second with every start, stop and "
        f"repeated batch in it. Rows: {table['rows']:,}, each input once and in order: {order}; rows with a reading "
        f"error {table['rows_with_a_reading_error']:,} of {table['broken']:,} broken files; refused by the input gate "
        f"{table['refused']:,}; without a named class {table['abstained']:,}.",
    ]
    if result["same_as_one_go"] is not None:
        lines += ["", f"The same bytes as an uninterrupted call: {'yes' if result['same_as_one_go'] else 'NO'}."]
    lines += [
        "",
        "*Early* is the second quarter of an attempt, *late* its last: what grows with files would show there.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make the files, predict, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", type=Path, required=True, help="a new folder; removed at the end")
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--compare", action="store_true", help="also predict in one go, and compare the tables")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.work.exists():
        raise SystemExit(f"{options.work} exists: give a new folder")
    try:
        broken = make(options.data, options.work, options.n)
        out = options.work / "answers.csv"
        words = [sys.executable, "-m", "tumorscope", "predict", str(options.model), str(options.work / "files")]
        attempts = []
        for stop in (options.n * 3 // 10, options.n * 6 // 10, None):
            attempts.append(run([*words, "--out", str(out)], out, stop_at=stop))
            attempts[-1]["memory"] = steady(attempts[-1].pop("memory_mb"))
        result: dict[str, Any] = {
            "files": options.n,
            "attempts": attempts,
            "seconds": round(sum(a["seconds"] for a in attempts), 1),
            "table": check(out, options.work, options.n, broken),
            "same_as_one_go": None,
        }
        if options.compare:
            whole = options.work / "whole.csv"
            result["one_go"] = run([*words, "--out", str(whole)], whole, stop_at=None)
            result["one_go"]["memory"] = steady(result["one_go"].pop("memory_mb"))
            result["same_as_one_go"] = sha256_file(whole) == sha256_file(out)
    finally:
        shutil.rmtree(options.work, ignore_errors=True)
    sys.stdout.write(json_text(result))
    if options.json:
        write_json(options.json, result)
    write_text(PAGE, page(result))


if __name__ == "__main__":
    main()
