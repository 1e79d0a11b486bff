"""A Ray cluster against the plain path, on this machine: start, rates, overhead, one worker and two.

    python -m benchmarks.scale predict --model BUNDLE --data FOLDER [--out runs/scale]
    python -m benchmarks.scale read --data FOLDER
    python -m benchmarks.scale sweep --data breastmnist.npz
    python -m benchmarks.scale driver
    python -m benchmarks.scale page

Each part writes OUT/PART.json; `page` writes docs/scale.md from them. A way is a whole command in a process of its
own, on one core or on both; two sizes of each separate what a command costs once from what an image costs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scale_page import PAGE, write_page
from benchmarks.sections import stamp
from tumorscope.core.files import sha256_file, write_json
from tumorscope.data.sources.walk import walk

WAYS = {
    "plain, 1 core": (1, False),
    "Ray, 1 worker on 1 core": (1, True),
    "plain, 2 cores": (2, False),
    "Ray, 2 workers on 2 cores": (2, True),
}
PREDICT_SIZES, READ_SIZES = (128, 1088), (2_000, 24_000)
DRIVER_BLOCKS = 1500
SPACE = ("--space", "stage.all.lr=[1e-3, 3e-3]", "--space", "stage.all.epochs=[4, 5]")
SWEEP = (*SPACE, "--no-winner", "--accept-leaks", "--workers", "2")


def command(words: Sequence[str], *, cores: int, stdin: str = "", cache: Path) -> float:
    """Seconds of one command on the first `cores` cores; raises if it ends otherwise than with 0 or 1."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *words],
        input=stdin,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
        env={**os.environ, "OMP_WAIT_POLICY": "passive", "TUMORSCOPE_CACHE": str(cache)},
        preexec_fn=lambda: os.sched_setaffinity(0, set(range(cores))),
    )
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(words)}: {done.stderr}")
    return time.perf_counter() - start


def predict(model: Path, data: Path, work: Path) -> dict[str, Any]:
    """Whole `tumorscope predict` commands by every way, and one with Ray Data in place of our blocks."""
    files = [str(data / name) for name in walk(data, "").files]
    rows = []
    common = ["tumorscope", "predict", str(model), "-", "--no-gate", "--backend", "openvino", "--out"]
    cache = work / "cache"
    # does not count: the model is written for the backend, as a second command finds it
    command([*common, str(work / "first.csv")], cores=2, stdin=files[0], cache=cache)
    for way in [*WAYS, "Ray Data, 2 workers on 2 cores"]:
        cores, ray = WAYS.get(way, (2, True))
        seconds, table = [], ""
        for size in PREDICT_SIZES:
            out = work / f"{size}.csv"
            out.unlink(missing_ok=True)
            words = [*common, str(out), *(["--ray", "local"] if ray else [])]
            if way not in WAYS:
                words = ["benchmarks.scale", "ray-data", "--model", str(model), "--out", str(out)]
            seconds.append(command(words, cores=cores, stdin="\n".join(files[:size]), cache=cache))
            table = sha256_file(out) if out.is_file() else ""
        rows.append({"way": way, "seconds": seconds, "table": table})
    return {"sizes": PREDICT_SIZES, "rows": rows}


def read(data: Path, work: Path) -> dict[str, Any]:
    """Hashes and thumbnails of files, by every way, with nothing kept before."""
    names = walk(data, "").files
    rows = []
    for way, (cores, ray) in WAYS.items():
        seconds = []
        for size in READ_SIZES:
            cache = Path(tempfile.mkdtemp(dir=work))
            words = ["benchmarks.scale", "read-here", "--data", str(data), "--n", str(size), *["--ray"] * ray]
            seconds.append(command(words, cores=cores, cache=cache))
            shutil.rmtree(cache)
        rows.append({"way": way, "seconds": seconds})
    mean = float(np.mean([(data / name).stat().st_size for name in names]))
    return {"sizes": READ_SIZES, "rows": rows, "file_bytes": mean, "files": len(names)}


def read_here(data: Path, n: int, *, ray: bool) -> None:
    """In a process of its own: read the first `n` files."""
    from tumorscope.data.sources.scan import scan_files, scan_here
    from tumorscope.scaling.connect import connected
    from tumorscope.scaling.reading import scanning

    names = walk(data, "").files
    files = [data / names[i % len(names)] for i in range(n)]  # a set that is smaller is read again from its start
    if not ray:
        scan_files(files, root=data, scan=scan_here)
        return
    with connected("local") as cluster:
        scan_files(files, root=data, scan=scanning(cluster))


def ray_data(model: Path, out: Path) -> None:
    """In a process of its own: the same answers by Ray Data, one actor a core, order kept."""
    from tumorscope.predicting.answers import BATCH, answers
    from tumorscope.predicting.model import open_model
    from tumorscope.scaling.connect import connected

    paths = sys.stdin.read().split("\n")
    folder = str(model)

    class Answerer:
        def __init__(self) -> None:
            self.model = open_model(Path(folder), backend="openvino", gate=False)

        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            found = list(answers(self.model, [str(p) for p in batch["item"]], threads=1))
            return {"path": [a.path for a in found], "probs": [list(a.probs) for a in found]}

    with connected("local") as cluster:
        import ray.data

        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        source = ray.data.from_items(paths, override_num_blocks=max(1, len(paths) // BATCH))
        wishes: dict[str, Any] = {"batch_size": BATCH, "compute": ray.data.ActorPoolStrategy(size=cluster.cpus)}
        rows = source.map_batches(Answerer, num_cpus=1, **wishes)
        kept = [row["path"] for row in rows.iter_rows()]
    if kept != paths:
        raise SystemExit("Ray Data gave other rows, or another order")


def sweep(data: Path, work: Path) -> dict[str, Any]:
    """The same four points by two processes, started by this machine's own crew and by Ray."""
    rows: list[dict[str, Any]] = []
    ways: dict[str, list[str]] = {"plain, 2 workers": [], "Ray, 2 workers": ["--ray", "local"]}
    for way, more in ways.items():
        out = work / f"sweep-{len(rows)}"
        words = ["tumorscope", "sweep", "breastmnist-cnn", "--data", str(data), "--out", str(out), *SWEEP, *more]
        rows.append({"way": way, "seconds": command(words, cores=2, cache=work / "cache")})
        from tumorscope.core.files import read_json

        content = read_json(out / "sweep.json")
        rows[-1] |= {
            "points": [[t["point"], t["folds"]] for t in content["trials"]],
            "cpu_seconds": sum(t["cpu_seconds"] for t in content["trials"]),
            "epochs": sum(sum(t["epochs"]) for t in content["trials"]),
            "images": content["images"],
            "folds": content["folds"],
            "sweep_seconds": content["seconds"],
        }
    return {"rows": rows, "options": list(SWEEP)}


def driver(work: Path) -> dict[str, Any]:
    """How many rows and thumbnails a second the asking process takes in, from blocks that cost nothing to make."""
    from tumorscope.core.errors import TumorscopeError
    from tumorscope.data.copies.descriptors import SIDE
    from tumorscope.predicting.answers import BATCH, Answer
    from tumorscope.predicting.output import Journal
    from tumorscope.scaling.connect import connected
    from tumorscope.scaling.reading import FILES, Block, scanning
    from tumorscope.scaling.terms import Terms, terms

    total = DRIVER_BLOCKS * BATCH
    paths = [f"/shared/scans/hospital/{i // 1000:05}/image {i:08}.png" for i in range(total)]

    def canned(asked: Terms, block: tuple[str, ...]) -> list[Answer] | TumorscopeError:
        return [Answer(p, "glioma", (0.912345678901, 0.05, 0.03, 0.007654321099), ("glioma",), "") for p in block]

    def thumbs(asked: Terms, names: tuple[str, ...]) -> Block | TumorscopeError:
        noise = np.random.default_rng(len(names[0])).integers(0, 256, (len(names), SIDE, SIDE), dtype=np.uint8)
        row = ("0" * 64, "1" * 64, 224, 224, "L", True, ())
        return Block([row] * len(names), noise)

    def blocks() -> Iterator[tuple[str, ...]]:
        return (tuple(paths[i : i + BATCH]) for i in range(0, total, BATCH))

    from tumorscope.data.sources.scan import scan_files

    os.environ["TUMORSCOPE_CACHE"] = str(work / "driver-cache")
    with connected("local") as cluster:
        list(cluster.in_order(canned, terms(), [("a",)] * 8))  # processes are there
        journal = Journal(work / "driver.csv", maker={}, paths=paths)
        start = time.perf_counter()
        for _ in journal.extend(a for found in cluster.in_order(canned, terms(), blocks()) for a in found):
            pass
        written = time.perf_counter()
        journal.finish("csv", ("glioma", "meningioma", "notumor", "pituitary"))
        finished = time.perf_counter()
        from tumorscope.scaling import reading

        reading.read_block = thumbs
        before = time.perf_counter()
        scan_files([Path(p) for p in paths], root=work, scan=scanning(cluster))
        scanned = time.perf_counter()
    return {
        "rows": total,
        "row_seconds": written - start,
        "finish_seconds": finished - written,
        "images": total,
        "block": FILES,
        "image_seconds": scanned - before,
    }


def main() -> None:
    """Measure one part, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["predict", "read", "sweep", "driver", "page", "read-here", "ray-data"])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/scale"))
    parser.add_argument("--n", type=int, default=0)
    parser.add_argument("--ray", action="store_true")
    options = parser.parse_args()
    if options.part == "read-here":
        read_here(options.data, options.n, ray=options.ray)
        return
    if options.part == "ray-data":
        ray_data(options.model, options.out)
        return
    if options.part != "page":
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            found = {
                "predict": lambda: predict(options.model, options.data, work),
                "read": lambda: read(options.data, work),
                "sweep": lambda: sweep(options.data, work),
                "driver": lambda: driver(work),
            }[options.part]()
        write_json(options.out / f"{options.part}.json", {"stamp": stamp(), **found})
        return
    write_page(options.out)
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
