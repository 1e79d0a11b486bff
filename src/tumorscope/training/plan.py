"""Execution plan: precision, memory layout, threads and compilation for this model on this machine, by timed steps.

In: a model, an example batch and its loss. Out: a `Plan`, remembered for the same model, batch, machine and torch
version. A way whose loss differs from fp32 by more than `LOSS_TOLERANCE` is rejected, however fast. Precision and
layout are tried in all combinations; then, where a step is so short that starting threads may cost more than it
gains, one thread; last, where the run is long enough to earn it back, compilation.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tumorscope.core.allocation import keep_freed_memory
from tumorscope.core.errors import ResourceError
from tumorscope.core.files import cache_root, read_json, sha256_value, write_json
from tumorscope.core.machine import machine
from tumorscope.training.depthwise import keep_depthwise_fp32

LOSS_TOLERANCE = 0.05
"""Relative difference of the first loss from fp32; bf16 keeps 8 bits of mantissa, about 0.4% a value."""
TIMED_STEPS = 3
GIVE_UP = 4.0
"""A way whose warm-up step takes this many times the best step so far is not timed further."""
SHORT_STEP_S = 0.1
"""Steps shorter than this are tried on one thread too."""
LONG_RUN_S = 600.0
"""Compilation takes about half a minute: it is tried for runs that would take longer than this without."""
GAIN = 1.05
"""How much faster a change must measure to be taken, so that noise does not choose."""

Precision = Literal["fp32", "bf16"]
MemoryFormat = Literal["contiguous", "channels_last"]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to compute a step."""

    precision: Precision
    memory_format: MemoryFormat
    threads: int
    compile: bool

    def words(self) -> str:
        """For the screen and the report."""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"{self.precision}, {self.memory_format}, {threads}" + (", compiled" if self.compile else "")


@dataclass(frozen=True, slots=True)
class Plan:
    """How steps are computed.

    Attributes:
        device: "cpu" or "cuda".
        precision: "fp32", or "bf16" for automatic mixed precision.
        memory_format: Layout of weights and batches.
        threads: Threads torch uses for one operation.
        compile: Whether full training batches go through the compiled network.
        reason: Why, with the measured steps.
    """

    device: str
    precision: Precision
    memory_format: MemoryFormat
    threads: int
    compile: bool
    reason: str

    @property
    def way(self) -> Way:
        """The plan without its reason."""
        return Way(self.precision, self.memory_format, self.threads, self.compile)

    def line(self) -> str:
        """One line for the screen and the report."""
        return f"{self.device}, {self.way.words()}"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is fixed beforehand; "auto" is measured."""

    precision: Literal["auto"] | Precision = "auto"
    memory_format: Literal["auto"] | MemoryFormat = "auto"
    threads: Literal["auto"] | int = "auto"
    compile: Literal["auto"] | bool = "auto"

    @property
    def settled(self) -> bool:
        """True if nothing is left to measure."""
        return "auto" not in (self.precision, self.memory_format, self.threads, self.compile)


def prepare(module: nn.Module, memory_format: MemoryFormat) -> nn.Module:
    """`module` made ready for training steps: 4-D weights in the memory layout, depthwise convolutions in float32."""
    layout = torch.channels_last if memory_format == "channels_last" else torch.contiguous_format
    converted: nn.Module = keep_depthwise_fp32(module.to(memory_format=layout))
    return converted


@contextmanager
def threads_set(threads: int) -> Iterator[None]:
    """Let torch use so many threads for one operation, within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def compiled(network: nn.Module, batch_size: int) -> Callable[[Tensor], Tensor]:
    """`network` as a function that is compiled for full training batches; other batches go the plain way.

    One shape and one mode are compiled, not every one that a run meets: each costs half a minute.
    """
    # looks for a CUDA toolkit and complains where there is none
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    fast = torch.compile(network, dynamic=False)

    def forward(images: Tensor) -> Tensor:
        logits: Tensor = fast(images) if network.training and len(images) == batch_size else network(images)
        return logits

    return forward


def choose_plan(
    module: nn.Module,
    images: Tensor,
    loss: Callable[[Tensor], Tensor],
    *,
    device: str = "cpu",
    wishes: Wishes | None = None,
    steps: int = 0,
    key: dict[str, Any] | None = None,
) -> Plan:
    """Pick the fastest safe way to train.

    Args:
        module: Network with `requires_grad` set as in the stage; it is copied, never changed.
        images: (B, C, H, W) float32 example batch.
        loss: From logits to a scalar, for that batch.
        device: Where to run.
        wishes: What is fixed beforehand.
        steps: Steps of the whole run that train all of the network; 0 never earns a compilation back.
        key: What identifies this measurement; the choice is remembered under it. None measures anew.

    Raises:
        ResourceError: If compilation is wished for and does not work here, or computes another loss.
    """
    wishes = wishes or Wishes()
    threads = torch.get_num_threads() if wishes.threads == "auto" else wishes.threads
    if wishes.precision != "auto" and wishes.memory_format != "auto" and wishes.settled:
        return Plan(device, wishes.precision, wishes.memory_format, threads, bool(wishes.compile), "set in the recipe")
    memory = cache_root() / "plans.json"
    identity = sha256_value(
        {
            "key": key,
            "machine": machine(),
            "torch": torch.__version__,
            "wishes": asdict(wishes),
            "steps": steps,
            "made ready": "depthwise in fp32, freed memory kept",
        }
    )
    if key is not None and (known := _recall(memory).get(identity)):
        try:
            return Plan(**known)
        except TypeError:
            pass  # written by another version: measured again and replaced below
    keep_freed_memory()  # as a training does: the ways are compared under its terms
    trial = _Trial(module, images, loss, device)
    plan = trial.choose(wishes, threads, steps)
    if key is not None:
        write_json(memory, {**_recall(memory), identity: asdict(plan)})
    return plan


def _recall(path: Any) -> dict[str, Any]:
    try:
        stored = read_json(path)
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


class _Trial:
    """Timed steps of one network on one batch."""

    def __init__(self, module: nn.Module, images: Tensor, loss: Callable[[Tensor], Tensor], device: str) -> None:
        self.module, self.images, self.loss, self.device = module, images, loss, device
        self.seconds: dict[Way, float] = {}
        self.remarks: list[str] = []
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            self.reference = float(loss(copy.deepcopy(module).to(device)(images.to(device)).float()))

    def choose(self, wishes: Wishes, threads: int, steps: int) -> Plan:
        """The fastest safe way that the wishes leave open."""
        precisions: list[Precision] = ["bf16", "fp32"] if wishes.precision == "auto" else [wishes.precision]
        formats: list[MemoryFormat] = ["channels_last", "contiguous"]
        if wishes.memory_format != "auto":
            formats = [wishes.memory_format]
        for precision in precisions:
            for memory_format in formats:
                self.measure(Way(precision, memory_format, threads, False))
        if not self.seconds:
            plain = Way("fp32", "contiguous", threads, False)
            return Plan(self.device, *_fields(plain), reason="; ".join(self.remarks))
        best = min(self.seconds, key=self.seconds.__getitem__)
        if wishes.threads == "auto" and threads > 1 and self.device == "cpu" and self.seconds[best] < SHORT_STEP_S:
            best = self.prefer(best, replace(best, threads=1))
        if wishes.compile is True:
            best = self.demand(replace(best, compile=True))
        elif wishes.compile == "auto" and steps * self.seconds[best] > LONG_RUN_S:
            best = self.prefer(best, replace(best, compile=True))
        rates = "; ".join(f"{way.words()} {len(self.images) / s:.0f}/s" for way, s in self.seconds.items())
        reason = "; ".join([f"measured images a second: {rates}", *self.remarks])
        return Plan(self.device, *_fields(best), reason=reason)

    def prefer(self, best: Way, other: Way) -> Way:
        """`other` if it is safe and clearly faster."""
        try:
            self.measure(other)
        except Exception as error:
            if not other.compile:
                raise
            self.remarks.append(f"{other.words()} does not work here: {_first_line(error)}")
        return other if self.seconds.get(other, float("inf")) * GAIN < self.seconds[best] else best

    def demand(self, way: Way) -> Way:
        """`way`, measured and safe, or an error."""
        try:
            self.measure(way)
        except Exception as error:
            raise ResourceError(
                f"the network cannot be compiled here: {_first_line(error)}",
                expected="a C++ compiler (g++ or clang++) that torch.compile finds",
                where="[train] compile = true",
                fix="install one, or leave compile out",
            ) from error
        if way not in self.seconds:
            raise ResourceError(
                f"the compiled network does not compute what the plain one does: {self.remarks[-1]}",
                expected=f"the first loss within {LOSS_TOLERANCE:.0%} of float32's",
                where="[train] compile = true",
                fix="leave compile out",
            )
        return way

    def measure(self, way: Way) -> None:
        """Time a way; one with another loss is noted and left out."""
        give_up = min(self.seconds.values(), default=float("inf")) * GIVE_UP
        seconds, value = _time_step(self.module, self.images, self.loss, self.device, way, give_up=give_up)
        if abs(value - self.reference) <= LOSS_TOLERANCE * max(abs(self.reference), 0.1):
            self.seconds[way] = seconds
        else:
            self.remarks.append(f"{way.words()} rejected: loss {value:.3f} against {self.reference:.3f}")


def _fields(way: Way) -> tuple[Precision, MemoryFormat, int, bool]:
    return way.precision, way.memory_format, way.threads, way.compile


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:120] if lines else ''}"


def _time_step(
    module: nn.Module,
    images: Tensor,
    loss: Callable[[Tensor], Tensor],
    device: str,
    way: Way,
    *,
    give_up: float,
) -> tuple[float, float]:
    """Median seconds of a training step, and the loss of the first one."""
    trial = prepare(copy.deepcopy(module).to(device), way.memory_format)
    forward = compiled(trial, len(images)) if way.compile else trial
    layout = torch.channels_last if way.memory_format == "channels_last" else torch.contiguous_format
    batch = images.to(device).contiguous(memory_format=layout)
    parameters = [p for p in trial.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.0)
    first = float("nan")
    seconds: list[float] = []
    with torch.random.fork_rng(devices=[]), threads_set(way.threads):
        torch.manual_seed(0)
        for step in range(TIMED_STEPS + 1):
            start = time.perf_counter()
            with torch.autocast(device, dtype=torch.bfloat16, enabled=way.precision == "bf16"):
                logits = forward(batch)
            value = loss(logits.float())
            optimizer.zero_grad()
            torch.autograd.backward(value)
            optimizer.step()
            if device == "cuda":
                torch.cuda.synchronize()
            elapsed = time.perf_counter() - start
            if step == 0:
                first = float(value.detach())
                if elapsed > give_up and not way.compile:
                    return elapsed, first
            else:
                seconds.append(elapsed)
    return sorted(seconds)[len(seconds) // 2], first
