"""Cost of heatmaps beside the plain forward pass of the same batch; writes RUNS/explanations/speed.json.

    python -m benchmarks.explanations_speed [--runs runs] [--repeats 7]

Forward pass and map alternate, so that a busy moment of the machine meets both. Weights are random: time does not
depend on them. `benchmarks.explanations` puts the figures on its page.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.sections import stamp
from tumorscope.core.files import write_json
from tumorscope.explaining.asking import Subject, prepared
from tumorscope.explaining.methods import METHODS
from tumorscope.models.registry import build_model

BATCH, SIDE_PX = 16, 224
CLASSES = ("a", "b", "c", "d")
CASES: tuple[tuple[str, dict[str, int], tuple[str, ...]], ...] = (
    ("mobilenetv2_100", {}, ("grad-cam", "layer-cam", "hires-cam", "integrated-gradients", "occlusion")),
    ("mobilenetv2_100", {"output_stride": 16}, ("grad-cam",)),
    ("tf_efficientnet_lite0", {}, ("grad-cam",)),
    ("resnet50", {}, ("grad-cam",)),
)


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ratio(subject: Subject, method: str, repeats: int) -> dict[str, Any]:
    """Median seconds of the map and of the forward pass, and the ratio of medians with the range of paired ratios."""
    images = torch.randn(BATCH, 1, SIDE_PX, SIDE_PX)
    targets = torch.zeros(BATCH, dtype=torch.int64)
    inputs = prepared(subject.built.module, images)

    def plain() -> None:
        with torch.inference_mode():
            subject.built.module(inputs)

    def heat() -> None:
        METHODS[method].heat(subject, images, targets=targets)

    subject.built.module.eval()
    slow = METHODS[method].slow
    for work in (plain, plain if slow else heat):
        work()
    pairs = [(seconds(plain), seconds(heat)) for _ in range(1 if slow else repeats)]
    forward, maps = (statistics.median(p[i] for p in pairs) for i in (0, 1))
    each = [b / a for a, b in pairs]
    return {
        "forward_s": forward,
        "map_s": maps,
        "ratio": maps / forward,
        "least": min(each),
        "most": max(each),
        "repeats": len(pairs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    rows = []
    for name, options, methods in CASES:
        built = build_model(name, outputs=len(CLASSES), channels=1, size_px=SIDE_PX, options=options)
        built.module.to(memory_format=torch.channels_last)
        subject = Subject(built, CLASSES)
        for method in methods:
            found = ratio(subject, method, arguments.repeats)
            rows.append(
                {"model": name, "options": options, "method": method, "batch": BATCH, "side_px": SIDE_PX, **found}
            )
            sys.stdout.write(f"{name} {method}: {found['ratio']:.2f} ({found['least']:.2f} to {found['most']:.2f})\n")
            sys.stdout.flush()
    path = arguments.runs / "explanations" / "speed.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"measured": stamp(), "threads": torch.get_num_threads(), "rows": rows})
    sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
