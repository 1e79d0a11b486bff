"""What the machine can do: the rate of a large matrix product, and the arithmetic of a training step.

python -m benchmarks.speed.peak
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.works import ANSWERING, WORKS, Work
from tumorscope.models.registry import build_model

SIDE = 4096
REPEATS = 5


def product_rate(dtype: torch.dtype) -> float:
    """GFLOP/s of the fastest of five products of two square matrices of side 4096."""
    a, b = (torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(i)).to(dtype) for i in (0, 1))
    a @ b
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - start)
    return 2 * SIDE**3 / min(seconds) / 1e9


def step_gflop(work: Work) -> float:
    """GFLOP of one training step of one gray image, forward and backward (a multiply-add counts as two)."""
    options = {"convs": 2, "batch_norm": True} if work.model == "cnn28" else None
    built = build_model(work.model, outputs=4, channels=1, size_px=work.size_px, options=options)
    with FlopCounterMode(display=False) as counter:
        built.module(torch.zeros(2, 1, work.size_px, work.size_px)).sum().backward()
    return float(counter.get_total_flops()) / 2 / 1e9


def image_gflop(model: str) -> float:
    """GFLOP of the answer to one gray image of 224 px."""
    network = build_model(model, outputs=4, channels=1, size_px=224).module.eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 1, 224, 224))
    return float(counter.get_total_flops()) / 1e9


def counted(work: Work) -> bool:
    """True for a work that trains the whole network and whose arithmetic torch counts rightly.

    It takes a grouped convolution's backward pass for an ungrouped one, and so counts EfficientNets tenfold.
    """
    if work.trainable != "all" or work.instead is not None:
        return False
    network = build_model(work.model, outputs=4, channels=1, size_px=work.size_px).module
    return all(module.groups == 1 for module in network.modules() if isinstance(module, torch.nn.Conv2d))


def measure() -> dict[str, Any]:
    """Rates in fp32 and bf16, GFLOP a training image where it can be counted, and GFLOP an answer."""
    return {
        "fp32_gflops": product_rate(torch.float32),
        "bf16_gflops": product_rate(torch.bfloat16),
        "step_gflop": {work.name: step_gflop(work) for work in WORKS if counted(work)},
        "image_gflop": {model: image_gflop(model) for model in ANSWERING},
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure()) + "\n")
