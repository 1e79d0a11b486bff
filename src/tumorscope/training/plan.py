"""Execution plan: precision and memory layout for this model on this machine, chosen by a few timed steps.

In: a model, an example batch and its loss. Out: a `Plan`, remembered for the same model, batch, machine and torch
version. A candidate whose loss differs from fp32 by more than `LOSS_TOLERANCE` is rejected, however fast.
"""

from __future__ import annotations

import copy
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tumorscope.core.files import cache_root, read_json, sha256_value, write_json
from tumorscope.training.depthwise import keep_depthwise_fp32

LOSS_TOLERANCE = 0.05
"""Relative difference of the first loss from fp32; bf16 keeps 8 bits of mantissa, about 0.4% a value."""
TIMED_STEPS = 3
GIVE_UP = 2.0
"""A candidate whose warm-up step takes this many times the best step so far is not timed further."""

Precision = Literal["fp32", "bf16"]
MemoryFormat = Literal["contiguous", "channels_last"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How steps are computed.

    Attributes:
        device: "cpu" or "cuda".
        precision: "fp32", or "bf16" for automatic mixed precision.
        memory_format: Layout of weights and batches.
        threads: Threads torch uses for one operation.
        compile: Whether the network is compiled.
        reason: Why, with the measured steps.
    """

    device: str
    precision: Precision
    memory_format: MemoryFormat
    threads: int
    compile: bool
    reason: str

    def line(self) -> str:
        """One line for the screen and the report."""
        return f"{self.device}, {self.precision}, {self.memory_format}, {self.threads} threads"


def machine() -> dict[str, str]:
    """What this machine is, as far as results and speed depend on it."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as handle:
            for line in handle:
                if line.startswith("model name"):
                    name = line.split(":", 1)[1].strip()
                    break
    except OSError:
        pass
    facts = {
        "cpu": name,
        "threads": str(torch.get_num_threads()),
        "system": platform.system(),
        "architecture": platform.machine(),
    }
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    from importlib.metadata import version

    import tumorscope

    names = ("torch", "torchvision", "timm", "lightning", "numpy", "pillow", "scikit-learn", "scipy")
    return {
        "tumorscope": tumorscope.__version__,
        "python": platform.python_version(),
        **{name: version(name) for name in names},
    }


def prepare(module: nn.Module, memory_format: MemoryFormat) -> nn.Module:
    """`module` made ready for training steps: 4-D weights in the memory layout, depthwise convolutions in float32."""
    layout = torch.channels_last if memory_format == "channels_last" else torch.contiguous_format
    converted: nn.Module = keep_depthwise_fp32(module.to(memory_format=layout))
    return converted


def choose_plan(
    module: nn.Module,
    images: Tensor,
    loss: Callable[[Tensor], Tensor],
    *,
    device: str = "cpu",
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto",
    key: dict[str, Any] | None = None,
) -> Plan:
    """Pick the fastest safe way to train.

    Args:
        module: Network with `requires_grad` set as in the stage; it is copied, never changed.
        images: (B, C, H, W) float32 example batch.
        loss: From logits to a scalar, for that batch.
        device: Where to run.
        precision: A fixed value, or "auto".
        memory_format: A fixed value, or "auto".
        key: What identifies this measurement; the choice is remembered under it. None measures anew.
    """
    threads = torch.get_num_threads()
    precisions: list[Precision] = ["fp32", "bf16"] if precision == "auto" else [precision]
    formats: list[MemoryFormat] = ["contiguous", "channels_last"] if memory_format == "auto" else [memory_format]
    if len(precisions) == len(formats) == 1:
        return Plan(device, precisions[0], formats[0], threads, False, "set in the recipe")
    memory = cache_root() / "plans.json"
    identity = sha256_value(
        {
            "key": key,
            "machine": machine(),
            "torch": torch.__version__,
            "candidates": [precisions, formats],
            "steps": "depthwise in fp32",
        }
    )
    if key is not None and (known := _recall(memory).get(identity)):
        try:
            return Plan(**known)
        except TypeError:
            pass  # written by another version: measured again and replaced below
    timings: dict[tuple[Precision, MemoryFormat], float] = {}
    reference = _first_loss(module, images, loss, device)
    rejected = []
    best = float("inf")
    for candidate in [(p, f) for p in reversed(precisions) for f in reversed(formats)]:
        seconds, value = _time_step(module, images, loss, device, *candidate, give_up=best * GIVE_UP)
        if not abs(value - reference) <= LOSS_TOLERANCE * max(abs(reference), 0.1):
            rejected.append(f"{'/'.join(candidate)} rejected: loss {value:.3f} against {reference:.3f}")
            continue
        timings[candidate] = seconds
        best = min(best, seconds)
    if not timings:
        return Plan(device, "fp32", "contiguous", threads, False, "; ".join(rejected))
    chosen = min(timings, key=lambda c: timings[c])
    rates = ", ".join(f"{'/'.join(c)} {len(images) / s:.0f}/s" for c, s in timings.items())
    plan = Plan(device, *chosen, threads, False, "; ".join([f"measured images a second: {rates}", *rejected]))
    if key is not None:
        write_json(memory, {**_recall(memory), identity: asdict(plan)})
    return plan


def _recall(path: Any) -> dict[str, Any]:
    try:
        stored = read_json(path)
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


def _first_loss(module: nn.Module, images: Tensor, loss: Callable[[Tensor], Tensor], device: str) -> float:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        return float(loss(copy.deepcopy(module).to(device)(images.to(device)).float()))


def _time_step(
    module: nn.Module,
    images: Tensor,
    loss: Callable[[Tensor], Tensor],
    device: str,
    precision: Precision,
    memory_format: MemoryFormat,
    *,
    give_up: float,
) -> tuple[float, float]:
    """Median seconds of a training step, and the loss of the first one."""
    trial = prepare(copy.deepcopy(module).to(device), memory_format)
    layout = torch.channels_last if memory_format == "channels_last" else torch.contiguous_format
    batch = images.to(device).contiguous(memory_format=layout)
    parameters = [p for p in trial.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.0)
    first = float("nan")
    seconds: list[float] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for step in range(TIMED_STEPS + 1):
            start = time.perf_counter()
            with torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16"):
                logits = trial(batch)
            value = loss(logits.float())
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if device == "cuda":
                torch.cuda.synchronize()
            elapsed = time.perf_counter() - start
            if step == 0:
                first = float(value.detach())
                if elapsed > give_up * 2:
                    return elapsed, first
            else:
                seconds.append(elapsed)
    return sorted(seconds)[len(seconds) // 2], first
