from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tumorscope.bundle import backends, choosing
from tumorscope.bundle.backends import BACKENDS, Backend, BackendSpec, TorchBackend
from tumorscope.bundle.bundle import Bundle
from tumorscope.bundle.choosing import Choice, choose_backend
from tumorscope.core.errors import UsageError
from tumorscope.core.files import read_json, write_json, write_text

pytestmark = pytest.mark.usefixtures("one_cache")


class Clock:
    """Time that passes only when a backend says so."""

    now = 0.0

    def read(self) -> float:
        return self.now


CLOCK = Clock()


class Paced(TorchBackend):
    """Torch's answers, changed and taking as long as the test says."""

    seconds: float = 0.01
    change: float = 0.0

    def _batch(self, images: NDArray[np.uint8]) -> NDArray[np.floating[Any]]:
        CLOCK.now += self.seconds
        logits = np.array(super()._batch(images))
        logits[:, 0] += self.change
        return logits


def paced(name: str, *, seconds: float = 0.01, change: float = 0.0) -> BackendSpec:
    def open_paced(bundle: Bundle, folder: Path, threads: int) -> Backend:
        backend = Paced(bundle)
        backend.seconds, backend.change = seconds, change
        return backend

    return replace(BACKENDS[name], packages=(), open=open_paced)


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replace the registry, and the clock."""
    monkeypatch.setattr(choosing, "time", SimpleNamespace(perf_counter=CLOCK.read))

    def put(**specs: BackendSpec) -> None:
        for name in list(BACKENDS):
            monkeypatch.delitem(BACKENDS, name)
        for name, spec in specs.items():
            monkeypatch.setitem(BACKENDS, name, spec)

    return put


def test_every_backend_is_measured_and_the_choice_remembered(
    gray: Bundle, exports: dict[tuple[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = (exports["gray", "onnx"] / "model.onnx").read_bytes()
    monkeypatch.setattr(backends, "onnx_bytes", lambda bundle: written)
    choice = choose_backend(gray, batch=4)
    assert choice.name in BACKENDS
    assert choice.reason.startswith("measured images a second at batch 4: ")
    assert all((f"{name} " in choice.reason) == spec.exact for name, spec in BACKENDS.items())

    def again(*_: Any) -> Choice:
        raise AssertionError("measured twice")

    monkeypatch.setattr(choosing, "_measure", again)
    assert choose_backend(gray, batch=4) == choice
    for batch, remember in ((1, True), (4, False)):
        with pytest.raises(AssertionError, match="measured twice"):
            choose_backend(gray, batch=batch, remember=remember)


@pytest.mark.parametrize("slow", ["torch", "openvino"])
def test_the_fastest_is_taken(gray: Bundle, only: Any, slow: str) -> None:
    fast = "openvino" if slow == "torch" else "torch"
    only(**{name: paced(name, seconds=0.02 if name == slow else 0.01) for name in ("torch", "openvino")})
    assert choose_backend(gray, batch=2).name == fast


def test_torch_stays_where_nothing_is_clearly_faster(gray: Bundle, only: Any) -> None:
    for seconds, name in ((0.097, "torch"), (0.094, "openvino")):
        only(torch=paced("torch", seconds=0.1), openvino=paced("openvino", seconds=seconds))
        assert choose_backend(gray, batch=1, remember=False).name == name


def test_other_answers_are_left_out_however_fast(gray: Bundle, only: Any) -> None:
    only(torch=paced("torch", seconds=0.1), openvino=paced("openvino", change=0.01))
    choice = choose_backend(gray, batch=2)
    assert choice.name == "torch"
    assert "openvino left out: torch gives other answers than torch: probabilities differ by 0.0" in choice.reason


def test_what_is_not_installed_is_said(gray: Bundle, only: Any) -> None:
    only(torch=paced("torch"), openvino=replace(BACKENDS["openvino"], packages=("no_such_package",)))
    choice = choose_backend(gray, batch=2)
    assert choice.name == "torch"
    assert choice.reason.endswith("; openvino is not installed")


@pytest.mark.parametrize("damage", ["{", "[]", "other fields"])
def test_a_damaged_memory_is_measured_anew(gray: Bundle, one_cache: Path, only: Any, damage: str) -> None:
    only(torch=paced("torch"))
    choose_backend(gray, batch=2)
    path = one_cache / "backends.json"
    if damage == "other fields":
        write_json(path, {key: {"winner": "x"} for key in read_json(path)})
    else:
        write_text(path, damage)
    assert choose_backend(gray, batch=2).name == "torch"
    assert [set(value) for value in read_json(path).values()] == [{"name", "reason"}]


def test_a_wish_is_taken_without_measuring(gray: Bundle, one_cache: Path) -> None:
    assert choose_backend(gray, wish="openvino") == Choice("openvino", "asked for")
    assert not one_cache.exists()
    with pytest.raises(UsageError, match="no backend is called 'fastest'"):
        choose_backend(gray, wish="fastest")
