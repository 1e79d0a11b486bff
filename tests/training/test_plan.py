from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tumorscope.core.errors import ResourceError
from tumorscope.training import plan as module
from tumorscope.training.plan import Way, Wishes, choose_plan

IMAGES = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([0, 1, 0, 1])


def loss(logits: Tensor) -> Tensor:
    return functional.cross_entropy(logits, TARGETS)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))


def times(table: dict[tuple[str, str], tuple[float, float]]) -> Any:
    """A stand-in for the clock: (seconds, first loss) by candidate."""

    def fake(_m: Any, _i: Any, _l: Any, _d: Any, way: Way, **_k: Any) -> tuple[float, float]:
        return table[way.precision, way.memory_format]

    return fake


def test_the_fastest_safe_candidate_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    reference = float(loss(model(IMAGES)).detach())
    table = {
        ("bf16", "channels_last"): (0.1, reference * 1.5),  # fastest, but its loss is off
        ("bf16", "contiguous"): (0.3, reference * 1.001),
        ("fp32", "channels_last"): (0.2, reference),
        ("fp32", "contiguous"): (0.9, reference),
    }
    monkeypatch.setattr(module, "_time_step", times(table))
    plan = choose_plan(model, IMAGES, loss, wishes=Wishes(threads=2))
    assert (plan.precision, plan.memory_format) == ("fp32", "channels_last")
    assert "bf16, channels_last, 2 threads rejected" in plan.reason


class _Cancels(nn.Module):
    """Two large products that differ by the answer: bfloat16 keeps nothing of the difference."""

    def __init__(self) -> None:
        super().__init__()
        self.body = network()
        self.large = nn.Linear(2, 2, bias=False)
        nn.init.eye_(self.large.weight)

    def forward(self, images: Tensor) -> Tensor:
        logits = 20 * self.body(images).float()
        far: Tensor = self.large(logits + 3000.0) - self.large(torch.full_like(logits, 3000.0))
        return far


def test_what_cancels_in_bfloat16_is_computed_in_float32() -> None:
    model = _Cancels()
    plan = choose_plan(model, IMAGES, loss, wishes=Wishes(threads=1, compile=False))
    assert plan.precision == "fp32"
    assert plan.reason.count("rejected: loss") == 2
    assert "bf16, contiguous, 1 thread rejected" in plan.reason


def test_a_wish_for_what_is_unsafe_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    right = float(loss(network()(IMAGES)).detach())
    monkeypatch.setattr(
        module, "_time_step", lambda _m, _i, _l, _d, way, **_k: (0.1, right * (2 if way.compile else 1))
    )
    with pytest.raises(ResourceError, match="does not compute what the plain one does"):
        choose_plan(network(), IMAGES, loss, wishes=Wishes(compile=True))


def test_nan_is_never_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    reference = float(loss(model(IMAGES)).detach())
    table = dict.fromkeys([(p, f) for p in ("fp32", "bf16") for f in ("contiguous", "channels_last")], (0.1, reference))
    table["bf16", "channels_last"] = (0.01, float("nan"))
    monkeypatch.setattr(module, "_time_step", times(table))
    plan = choose_plan(model, IMAGES, loss)
    assert (plan.precision, plan.memory_format) != ("bf16", "channels_last")


def test_measuring_changes_nothing() -> None:
    model = network()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.get_rng_state()
    choose_plan(model, IMAGES, loss)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_the_choice_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    key = {"test": "remembered"}
    first = choose_plan(network(), IMAGES, loss, key=key)

    def never(*_a: Any, **_k: Any) -> tuple[float, float]:
        raise AssertionError("measured again")

    monkeypatch.setattr(module, "_time_step", never)
    assert choose_plan(network(), IMAGES, loss, key=key) == first
    with pytest.raises(AssertionError, match="measured again"):
        choose_plan(network(), IMAGES, loss, key={"test": "other"})


def test_fixed_values_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(module, "_time_step")
    plan = choose_plan(network(), IMAGES, loss, wishes=Wishes("fp32", "contiguous", 3, True))
    assert plan.reason == "set in the recipe"
    assert plan.line() == "cpu, fp32, contiguous, 3 threads, compiled"


def by_way(seconds: Callable[[Way], float]) -> Any:
    """A stand-in for the clock: seconds of a way; every loss is right."""
    right = float(loss(network()(IMAGES)).detach())
    return lambda _m, _i, _l, _d, way, **_k: (seconds(way), right)


def test_short_steps_are_tried_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(module, "_time_step", by_way(lambda way: 0.01 if way.threads == 1 else 0.02))
    assert choose_plan(network(), IMAGES, loss).threads == 1
    monkeypatch.setattr(module, "_time_step", by_way(lambda way: 0.01 * way.threads / 8 + 0.0096))
    assert choose_plan(network(), IMAGES, loss).threads == 1
    monkeypatch.setattr(module, "_time_step", by_way(lambda way: 0.02 if way.threads == 1 else 0.01))
    assert choose_plan(network(), IMAGES, loss).threads == 8
    monkeypatch.setattr(module, "_time_step", by_way(lambda way: 0.3 if way.threads == 1 else 0.4))
    assert choose_plan(network(), IMAGES, loss).threads == 8  # long steps are not tried
    assert choose_plan(network(), IMAGES, loss, wishes=Wishes(threads=5)).threads == 5


def test_a_long_run_is_tried_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_time_step", by_way(lambda way: 0.5 if way.compile else 1.0))
    assert not choose_plan(network(), IMAGES, loss, steps=599).compile
    plan = choose_plan(network(), IMAGES, loss, steps=601)
    assert plan.compile
    assert plan.line().endswith("compiled")
    assert not choose_plan(network(), IMAGES, loss, steps=601, wishes=Wishes(compile=False)).compile
    monkeypatch.setattr(module, "_time_step", by_way(lambda way: 0.99 if way.compile else 1.0))
    assert not choose_plan(network(), IMAGES, loss, steps=601).compile  # within noise


def test_a_machine_that_cannot_compile_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_compiler(way: Way) -> float:
        if way.compile:
            raise RuntimeError("no C++ compiler\nlong trace")
        return 1.0

    monkeypatch.setattr(module, "_time_step", by_way(no_compiler))
    plan = choose_plan(network(), IMAGES, loss, steps=601)
    assert not plan.compile
    assert "compiled does not work here: RuntimeError: no C++ compiler" in plan.reason
    with pytest.raises(ResourceError, match="cannot be compiled here") as caught:
        choose_plan(network(), IMAGES, loss, wishes=Wishes(compile=True))
    assert "g++" in caught.value.expected


def test_only_full_training_batches_go_through_the_compiled_network(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    model = network()

    def fake(inner: nn.Module, **_: Any) -> Any:
        def noted(images: Tensor) -> Any:
            seen.append("compiled")
            return inner(images)

        return noted

    monkeypatch.setattr(torch, "compile", fake)
    forward = module.compiled(model, 4)
    model.train()
    plain = model(IMAGES)
    assert torch.equal(forward(IMAGES), plain)
    assert seen == ["compiled"]
    forward(IMAGES[:3])
    model.eval()
    forward(IMAGES)
    assert seen == ["compiled"]
