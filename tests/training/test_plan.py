from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tumorscope.training import plan as module
from tumorscope.training.plan import choose_plan

IMAGES = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([0, 1, 0, 1])


def loss(logits: Tensor) -> Tensor:
    return functional.cross_entropy(logits, TARGETS)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))


def times(table: dict[tuple[str, str], tuple[float, float]]) -> Any:
    """A stand-in for the clock: (seconds, first loss) by candidate."""

    def fake(_m: Any, _i: Any, _l: Any, _d: Any, precision: str, layout: str, **_k: Any) -> tuple[float, float]:
        return table[precision, layout]

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
    plan = choose_plan(model, IMAGES, loss)
    assert (plan.precision, plan.memory_format) == ("fp32", "channels_last")
    assert "bf16/channels_last rejected" in plan.reason


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
    plan = choose_plan(network(), IMAGES, loss, precision="fp32", memory_format="contiguous")
    assert plan.reason == "set in the recipe"
