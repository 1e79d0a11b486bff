"""`make bench`: time every work against the baseline, in turns, and write `docs/results/performance.md`.

    python -m benchmarks.speed --data DATA [--weights WEIGHTS] [--peers ENV] [--only NAME ...] [--repeats 3]
                               [--json runs/speed.json] [--table-only]

Every timing is a process of its own, one after another: baseline with 0 and with 2 loader workers (the better one
counts), then tumorscope, and again. A ratio is that of the medians, with the smallest and the largest of the turns.
With `--peers` (an environment made by `benchmarks.speed.peers make-env ENV`) fastai, Ultralytics and timm's loop take
their turns too where they train the same network. Finished works stay in the JSON file and are not timed again, so
that a stopped call goes on; a section of the page whose figures are not all in it stays as it was. A copy of the file
lies beside the page. Needs an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.sections import stamp
from benchmarks.speed.accuracy import ACCURACY_WORKS, FOLDS
from benchmarks.speed.page import CURVE, growth_curve, page
from benchmarks.speed.page_accuracy import OURS
from benchmarks.speed.parts import GIVEN_BACK
from benchmarks.speed.works import ANSWERING, LEARNED, WORKS, Work
from tumorscope.core.files import write_json
from tumorscope.core.waiting import WAITING

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "results" / "performance.md"
BACKENDS = ("eager", "auto", "torch-bf16", "openvino-bf16")
"""Ways to compute a batch that are timed; "eager" is the baseline."""
GROWTH = (1000, 4000, 16000)
SEEDS = 3
MORE_SEEDS = {"breastmnist": 8, "breastmnist-short": 8, **FOLDS}
"""Works of so few test images that three seeds say little."""
PLAIN = {"seed_loop", "peers", "baseline", "eager"}
"""Words of a timing process that stand for somebody else's way."""
LONG = ("efficientnet-lite0", "efficientnet-b0", "resnet50", "tinyvgg")
"""Works whose recipes run so long that the plan tries compilation: they are timed compiled as well."""
WHERE = ("breastmnist", *LONG)
"""Works whose epochs are taken apart."""
PEERS = {
    "resnet50": ("timm", "fastai", "ultralytics"),
    "resnet18": ("timm", "fastai", "ultralytics"),
    "efficientnet-b0": ("timm", "fastai", "ultralytics"),
    "efficientnet-lite0": ("timm", "fastai"),
}
"""Works that a peer can train as they are; Ultralytics has torchvision's networks, which know no Lite0."""


def environment(words: tuple[str, ...]) -> dict[str, str]:
    """Of a timing process: threads of the baseline and of peers wait as torch's do by themselves, ours as ours do."""
    own = {name: value for name, value in os.environ.items() if name not in WAITING}
    return own if PLAIN & set(words) else {**own, **WAITING}


def timed(
    module: str, *words: str, python: str = sys.executable, settings: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What one timing process prints, with more environment variables where they are given."""
    done = subprocess.run(
        [python, "-m", f"benchmarks.speed.{module}", *words],
        stdout=subprocess.PIPE,  # what goes wrong is told where the caller looks
        check=True,
        text=True,
        cwd=ROOT,
        env=environment((module, *words)) | dict(settings or {}),
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def time_work(work: Work, data: str, repeats: int, peers: Path | None) -> dict[str, Any]:
    """Figures of baseline, tumorscope and peers, one entry a turn."""
    what = "whole" if work.whole else "epoch"
    python = "" if peers is None else str(peers / "bin" / "python")
    first = {workers: timed("seed_loop", work.name, "--data", data, "--workers", workers) for workers in ("0", "2")}
    workers = min(first, key=lambda w: float(first[w][what]))
    row: dict[str, Any] = {"what": what, "workers": int(workers), "baseline": [first[workers]], "ours": []}
    for turn in range(repeats):
        if turn:
            row["baseline"].append(timed("seed_loop", work.name, "--data", data, "--workers", workers))
        row["ours"].append(timed("ours", work.name, "--data", data))
        if work.name in LONG:
            row.setdefault("compiled", []).append(timed("ours", work.name, "--data", data, "--compile"))
        for name in PEERS.get(work.name, ()) if python else ():
            row.setdefault("peers", {}).setdefault(name, []).append(
                timed("peers", name, work.name, "--data", data, python=python)
            )
    return row


def time_inference(model: str, repeats: int) -> dict[str, list[dict[str, Any]]]:
    """Images a second of each way to compute, in turns."""
    return turns({name: ("inference", model, name) for name in BACKENDS}, repeats)


def turns(ways: dict[str, tuple[str, ...]], repeats: int) -> dict[str, list[dict[str, Any]]]:
    """Figures of several timing processes that take turns."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, (module, *words) in ways.items():
            found[name].append(timed(module, *words))
    return found


def parts(arguments: argparse.Namespace) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """Everything that is measured: section of the JSON file, key in it, and how."""
    data, peers, repeats = arguments.data, arguments.peers, arguments.repeats
    for work in WORKS:
        yield "works", work.name, partial(time_work, work, data, repeats, peers)
    for model in ANSWERING:
        yield "inference", model, partial(time_inference, model, repeats)
    for seed in range(SEEDS) if peers else ():
        yield "learned", str(seed), partial(time_learned, seed, data, peers)
    for name in WHERE:
        yield "parts", name, partial(time_parts, name, data)
    folder = str(arguments.json.parent / "speed-files")
    for n in GROWTH:
        yield "growth", str(n), partial(time_growth, n, folder)
    if arguments.weights is not None:
        given = ("--data", data, "--weights", arguments.weights)
        for work in ACCURACY_WORKS:
            yield "accuracy", work.name, partial(seeds, work.name, given)
        yield "reach", "baseline", partial(timed, "reach", "baseline", *given)
        for seed, key in enumerate(OURS):
            yield "reach", key, partial(timed, "reach", "ours", *given, "--seed", str(seed))


def time_parts(name: str, data: str) -> dict[str, Any]:
    """Seconds of the parts of an epoch, on both sides, and of ours with an allocator left to itself."""
    found = {side: timed("parts", side, name, "--data", data) for side in ("baseline", "ours")}
    return found | {"given back": timed("parts", "ours", name, "--data", data, settings=GIVEN_BACK)}


def time_learned(seed: int, data: str, peers: Path) -> dict[str, Any]:
    """Seconds and accuracy of ours and of every peer on one work, from one seed."""
    words = (LEARNED.name, "--data", data, "--seed", str(seed))
    python = str(peers / "bin" / "python")
    found = {"ours": timed("ours", *words)}
    return found | {name: timed("peers", name, *words, python=python) for name in PEERS[LEARNED.model]}


def time_growth(n: int, folder: str) -> dict[str, Any]:
    """Figures of both sides on n images; of the baseline with 0 or 2 loader workers, the better."""
    words = (str(n), "--folder", folder)
    theirs = [timed("growth", "baseline", *words, "--workers", workers) for workers in ("0", "2")]
    return {"baseline": min(theirs, key=lambda t: float(t["epoch"])), "ours": timed("growth", "ours", *words)}


def seeds(name: str, given: tuple[str, ...]) -> list[dict[str, Any]]:
    """Accuracies of both sides, one entry a seed."""
    return [timed("accuracy", name, *given, "--seed", str(seed)) for seed in range(MORE_SEEDS.get(name, SEEDS))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data", help="folder of the public sets")
    parser.add_argument("--weights", help="folder of the ImageNet weight files; adds accuracy and time to 0.98")
    parser.add_argument("--only", nargs="*", help="keys, as in the JSON file, or its sections")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("runs/speed.json"))
    parser.add_argument("--peers", type=Path, help="environment with the peers")
    parser.add_argument("--table-only", action="store_true")
    arguments = parser.parse_args()
    found: dict[str, Any] = {"works": {}}
    if arguments.json.is_file():
        found = json.loads(arguments.json.read_text(encoding="utf-8"))
    if not arguments.table_only:
        if "peak" not in found or "peak" in (arguments.only or ()):
            found["peak"] = timed("peak")
            found.setdefault("measured", {})["peak"] = {"rate": stamp()}
            write_json(arguments.json, found)
        for section, key, measure in parts(arguments):
            done = found.setdefault(section, {})
            if key in done or (arguments.only and not {section, key} & set(arguments.only)):
                continue
            done[key] = measure()
            found.setdefault("measured", {}).setdefault(section, {})[key] = stamp()
            write_json(arguments.json, found)
            sys.stdout.write(f"{section} {key} measured\n")
            sys.stdout.flush()
    text = page(found, PAGE)
    PAGE.write_text(text, encoding="utf-8")
    write_json(PAGE.with_suffix(".json"), found)
    if found.get("growth"):
        PAGE.with_name(CURVE).write_text(growth_curve(found), encoding="utf-8")
    sys.stdout.write(f"{text}\n{PAGE}\n")


if __name__ == "__main__":
    main()
