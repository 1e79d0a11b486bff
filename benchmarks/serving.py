"""Time the server against the bare predictor; write `docs/results/serving.md`.

    python -m benchmarks.serving --model RUN --images FOLDER [--only NAME ...] [--json runs/serving.json] [--table-only]

Latency: the same image, asked of the server over one connection and of the predictor in this process (decode,
preprocess, gate, predict), in turns; back to back, and with a pause before each as for a person who asks now and then.
Throughput: 32 clients at once against `answers` over the same files, in turns. Start: from the command to the first
answer of /healthz. Memory: resident set of the server over 10,000 requests. The clients run on the same machine and
cost next to nothing. Every figure on the page is read from the JSON file. Needs an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.clients import ask, connect, get, load, upload
from tumorscope.core.files import write_json
from tumorscope.core.machine import machine, versions
from tumorscope.data.sources.walk import walk

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "results" / "serving.md"
CLIENTS = 32
REQUESTS = 1000
ROUNDS = 5
PAUSES_S = (0.0, 0.02)
MEMORY_AT = (0, 100, 500, 1000, 2000, 4000, 6000, 8000, 10_000)


@dataclass(frozen=True)
class Server:
    """A started server.

    Attributes:
        port: Where it listens.
        process: The process.
        seconds: From its start to the first answer of /healthz.
        computes: What it says of its backend.
    """

    port: int
    process: subprocess.Popen[str]
    seconds: float
    computes: str

    def rss_mb(self) -> float:
        """Resident set in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        if found is None:
            raise RuntimeError("no VmRSS: the server has ended")
        return int(found[1]) / 1024


@contextmanager
def server(model: str, *, environment: dict[str, str] | None = None) -> Iterator[Server]:
    """A server on a free port, stopped at the end."""
    command = [sys.executable, "-m", "tumorscope", "serve", model, "--port", "0"]
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )
    try:
        if process.stdout is None or process.stderr is None or not (line := process.stdout.readline()):
            raise RuntimeError(process.communicate()[1])
        port = int(line.rsplit(":", 1)[1])
        with connect(port) as link:
            if ask(link, get("/healthz", port=port)).status != 200:
                raise RuntimeError("no sign of life")
        yield Server(port, process, time.perf_counter() - start, process.stderr.readline().strip())
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=90)


def bare(model: str) -> Callable[[bytes], Any]:
    """The predictor without a server: what a request does, in this thread."""
    from tumorscope.imaging.decode import decode_image
    from tumorscope.predicting.answers import batch_answers, prepare
    from tumorscope.predicting.model import open_model

    opened = open_model(Path(model), batch=1)

    def answer(data: bytes) -> Any:
        return batch_answers(opened, [("", prepare(opened, decode_image(data, name="").pixels))])[0]

    return answer


def latency(model: str, images: list[Path]) -> dict[str, Any]:
    """Milliseconds of one image, by the server and without it, in turns."""
    answer = bare(model)
    data = sorted((path.read_bytes() for path in images), key=len)[len(images) // 2]
    found: dict[str, Any] = {"bytes": len(data), "n": ROUNDS * 60, "pauses": []}
    with server(model) as running, connect(running.port) as link:
        request = upload(data, port=running.port)
        explained = upload(data, port=running.port, field="file", path="/v1/explain")
        works: dict[str, Callable[[], Any]] = {"bare": lambda: answer(data), "server": lambda: ask(link, request)}
        for work in works.values():
            timed(work, 30, 0.0)
        found["computes"] = running.computes.split(";")[0]
        for pause in PAUSES_S:
            row: dict[str, list[float]] = {name: [] for name in works}
            for _ in range(ROUNDS):
                for name, work in works.items():
                    row[name] += timed(work, 60, pause)
            ratio = median(row["server"]) / median(row["bare"])
            found["pauses"].append({"pause_ms": 1000 * pause, "ratio": ratio, **{n: spread(t) for n, t in row.items()}})
        ask(link, explained)
        found["explain"] = spread(timed(lambda: ask(link, explained), 10, 0.0))
    return found


def timed(work: Callable[[], Any], times: int, pause: float) -> list[float]:
    """Seconds of each call, after a pause."""
    seconds = []
    for _ in range(times):
        if pause:
            time.sleep(pause)
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return seconds


def spread(seconds: list[float]) -> dict[str, float]:
    """Median and 95th percentile in milliseconds."""
    return {"median_ms": 1000 * median(seconds), "p95_ms": 1000 * sorted(seconds)[int(0.95 * len(seconds))]}


def throughput(model: str, images: list[Path]) -> dict[str, Any]:
    """Images a second, by 32 clients and in batches without a server, in turns."""
    from tumorscope.predicting.answers import answers
    from tumorscope.predicting.model import open_model

    paths = [str(images[i % len(images)]) for i in range(REQUESTS)]
    opened = open_model(Path(model), batch=32)
    list(answers(opened, paths[:128]))
    batch, served, single = [], [], []
    with server(model) as running:
        requests = [upload(path.read_bytes(), port=running.port) for path in images]
        load(requests, port=running.port, clients=CLIENTS, total=200)
        for _ in range(ROUNDS):
            start = time.perf_counter()
            list(answers(opened, paths))
            batch.append(REQUESTS / (time.perf_counter() - start))
            seconds, each = load(requests, port=running.port, clients=CLIENTS, total=REQUESTS)
            served.append(REQUESTS / seconds)
            single += each
    return {
        "clients": CLIENTS,
        "requests": REQUESTS,
        "rounds": ROUNDS,
        "batch": batch,
        "server": served,
        "ratio": median(served) / median(batch),
        "request": spread(single),
    }


def start(model: str, _: list[Path]) -> dict[str, Any]:
    """Seconds from the command to the first answer of /healthz: on a new machine, and later."""
    with tempfile.TemporaryDirectory() as cache:
        seconds = []
        for _turn in range(ROUNDS):
            with server(model, environment={"TUMORSCOPE_CACHE": cache}) as running:
                seconds.append(running.seconds)
    return {"first_s": seconds[0], "later_s": seconds[1:]}


def memory(model: str, images: list[Path]) -> dict[str, Any]:
    """Resident set of the server by the number of answered requests."""
    rows: list[dict[str, float]] = []
    with server(model) as running:
        requests = [upload(path.read_bytes(), port=running.port) for path in images]

        def seen(count: int) -> None:
            if count in MEMORY_AT:
                rows.append({"requests": count, "rss_mb": running.rss_mb()})

        seen(0)
        load(requests, port=running.port, clients=CLIENTS, total=MEMORY_AT[-1], seen=seen)
    return {"clients": CLIENTS, "rows": rows}


PARTS: dict[str, Callable[[str, list[Path]], dict[str, Any]]] = {
    "latency": latency,
    "throughput": throughput,
    "start": start,
    "memory": memory,
}


def page(found: dict[str, Any]) -> str:
    """The results page as Markdown."""
    versions_ = found["versions"]
    lines = [
        "# Speed of the server",
        "",
        "Made by `python -m benchmarks.serving --model RUN --images FOLDER`; every figure is read from its JSON file. "
        "Server, clients and the bare predictor share one otherwise idle machine and take turns.",
        "",
        f"Machine: {found['machine']['cpu']}, {found['machine']['threads']} threads. "
        f"{found['title']}, {found['images']} images of {found['bytes']:,} bytes in the middle. "
        f"torch {versions_['torch']}, uvicorn {versions_['uvicorn']}, fastapi {versions_['fastapi']}.",
        "",
    ]
    if row := found.get("latency"):
        lines += [
            "## One image",
            "",
            f"Median (95th percentile) in ms of n = {row['n']}, one connection, an image of {row['bytes']:,} bytes. "
            f"Computed by {row['computes']}. Target: at most 1.2 times the bare predictor.",
            "",
            "| pause before each | bare predictor | server | ratio |",
            "| --- | --- | --- | --- |",
        ]
        for one in row["pauses"]:
            cells = [f"{one[n]['median_ms']:.2f} ({one[n]['p95_ms']:.2f})" for n in ("bare", "server")]
            lines.append(f"| {one['pause_ms']:.0f} ms | {cells[0]} | {cells[1]} | {one['ratio']:.2f} |")
        explained = row["explain"]
        lines += ["", f"An explanation (Grad-CAM with its check): {explained['median_ms']:.0f} ms.", ""]
    if row := found.get("throughput"):
        lines += [
            f"## {row['clients']} clients at once",
            "",
            f"Images a second, median (smallest to largest) of {row['rounds']} turns of {row['requests']:,} images. "
            "Target: at least 0.8 of the batch predictor.",
            "",
            "| batch predictor | server | ratio | one request, median (95th percentile) |",
            "| --- | --- | --- | --- |",
        ]
        cells = [f"{median(row[n]):.0f} ({min(row[n]):.0f} to {max(row[n]):.0f})" for n in ("batch", "server")]
        one = row["request"]
        lines += [
            f"| {cells[0]} | {cells[1]} | {row['ratio']:.2f} | {one['median_ms']:.0f} ms ({one['p95_ms']:.0f} ms) |",
            "",
        ]
    if row := found.get("start"):
        later = row["later_s"]
        lines += [
            "## Start",
            "",
            f"From the command to the first answer of `/healthz`: {median(later):.1f} s "
            f"({min(later):.1f} to {max(later):.1f}, n = {len(later)}; target: under 5 s). The first start of a model "
            f"on a machine writes its ONNX file and measures which backend is fastest: {row['first_s']:.1f} s; "
            "`--backend torch` leaves that out.",
            "",
        ]
    if row := found.get("memory"):
        lines += [
            "## Memory",
            "",
            f"Resident set of the server after so many requests of {row['clients']} clients.",
            "",
            "| requests | " + " | ".join(f"{one['requests']:,}" for one in row["rows"]) + " |",
            "| --- |" + " --- |" * len(row["rows"]),
            "| MB | " + " | ".join(f"{one['rss_mb']:.0f}" for one in row["rows"]) + " |",
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="runs/4class-efficientnet", help="run or bundle folder")
    parser.add_argument("--images", type=Path, default=Path("../shared/data/brain-mri-4class/Testing"))
    parser.add_argument("--count", type=int, default=200, help="how many of them")
    parser.add_argument("--only", nargs="*", choices=list(PARTS))
    parser.add_argument("--json", type=Path, default=Path("runs/serving.json"))
    parser.add_argument("--table-only", action="store_true", help="write the page from what is there")
    arguments = parser.parse_args()
    found: dict[str, Any] = json.loads(arguments.json.read_text()) if arguments.json.is_file() else {}
    if not arguments.table_only:
        from tumorscope.bundle.bundle import load_bundle

        names = walk(arguments.images, "").files
        images = [arguments.images / name for name in names[:: max(1, len(names) // arguments.count)]]
        extra = {name: version(name) for name in ("uvicorn", "fastapi", "starlette", "openvino", "onnxruntime")}
        found |= {
            "machine": machine(),
            "versions": {**versions(), **extra},
            "title": load_bundle(Path(arguments.model)).card.title,
            "images": len(images),
            "bytes": sorted(path.stat().st_size for path in images)[len(images) // 2],
        }
        for name in arguments.only or PARTS:
            found[name] = PARTS[name](arguments.model, images)
            write_json(arguments.json, found)
            sys.stdout.write(f"{name}: {json.dumps(found[name])}\n")
    PAGE.write_text(page(found), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
