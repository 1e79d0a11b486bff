"""Where the time of a training step goes: shares by kind of operation, in float32 and in bfloat16.

    python -m benchmarks.speed.profile MODEL [--threads 2]

A batch of 32 gray images of 224 px, channels last, forward and backward, as the fast path computes them (depthwise
convolutions in float32 within bfloat16 steps). Shares of one precision hold on a busy machine too; seconds do not.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from tumorscope.models.registry import build_model
from tumorscope.training.plan import prepare, threads_set

BATCH, SIDE, STEPS = 32, 224, 3
KINDS = (
    ("batch norm", ("batch_norm",)),
    ("activations", ("silu", "relu", "hardswish", "hardtanh", "sigmoid", "threshold")),
    ("copies and casts", ("copy_", "to_copy", "contiguous", "clone", "reorder")),
    ("pooling and sums", ("mean", "sum", "pool")),
    ("products and sums of maps", ("mul", "add", "div", "pow", "fill_", "zero_")),
)


def kind_of(name: str, shapes: list[Any]) -> str:
    """The kind of an operation by its name in the profile and the shapes of what it was given."""
    if "convolution" in name:
        weight = next((s for s in shapes[1:3] if len(s) == 4 and s[1] == 1 and s[2] > 1), None)
        return "depthwise convolutions" if weight is not None and weight[0] > 1 else "other convolutions"
    return next((kind for kind, words in KINDS if any(word in name for word in words)), "the rest")


def shares(model: str, precision: str, threads: int) -> dict[str, Any]:
    """Seconds of a step, and each kind's share of its operations' own time."""
    torch.manual_seed(0)
    built = build_model(model, outputs=4, channels=1, size_px=SIDE)
    network = prepare(built.module, "channels_last").train()
    images = torch.randn(BATCH, 1, SIDE, SIDE).to(memory_format=torch.channels_last)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits: Tensor = network(images)
        torch.autograd.backward(logits.float().square().mean())

    with threads_set(threads):
        step()
        start = time.perf_counter()
        for _ in range(STEPS):
            step()
        seconds = (time.perf_counter() - start) / STEPS
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as found:
            step()
    own: Counter[str] = Counter()
    for event in found.key_averages(group_by_input_shape=True):
        own[kind_of(event.key, event.input_shapes or [])] += event.self_cpu_time_total
    total = sum(own.values())
    return {"seconds": round(seconds, 3), **{kind: round(us / total, 3) for kind, us in own.most_common()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    found = {precision: shares(arguments.model, precision, arguments.threads) for precision in ("fp32", "bf16")}
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
