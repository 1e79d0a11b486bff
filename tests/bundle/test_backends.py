from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.bundle.bundles import mixed, scans
from tumorscope.bundle import backends
from tumorscope.bundle.backends import (
    BACKENDS,
    BATCH_IMAGES,
    TOLERANCE,
    Backend,
    OnnxRuntimeBackend,
    OpenVinoBackend,
    TorchBackend,
    check_parity,
    kept_folder,
    open_backend,
)
from tumorscope.bundle.bundle import Bundle
from tumorscope.bundle.network import run_network
from tumorscope.core.errors import IntegrityError, ResourceError, UsageError
from tumorscope.evaluation.calibration import apply_temperature
from tumorscope.imaging.decode import decode_file
from tumorscope.imaging.preprocess import preprocess


def probs(backend: Backend, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    return apply_temperature(backend.logits(images), backend.card.temperature)


@pytest.mark.parametrize("name", BACKENDS)
class TestContract:
    def test_answers_are_torch_s_for_any_number_of_images(self, name: str, bundle: Bundle) -> None:
        images = mixed(bundle, n=BATCH_IMAGES + 6)
        card = bundle.card
        expected = run_network(
            bundle.model.module,
            images,
            normalisation=card.normalisation,
            classes=len(card.classes),
            positive=card.positive_target,
        )
        expected_probs = apply_temperature(expected, card.temperature)
        assert expected_probs.std(axis=0).min() > 0.03  # else equal answers would say nothing
        backend = open_backend(name, bundle)
        assert backend.name == name
        logits = backend.logits(images)
        assert logits.dtype == np.float64
        assert logits.shape == (len(images), len(card.classes))
        assert np.abs(probs(backend, images) - expected_probs).max() <= BACKENDS[name].tolerance
        for n in (1, 3):
            assert np.abs(probs(backend, images[:n]) - expected_probs[:n]).max() <= BACKENDS[name].tolerance

    def test_the_order_is_kept(self, name: str, gray: Bundle) -> None:
        images = mixed(gray, n=7)
        backend = open_backend(name, gray)
        turned = probs(backend, images[::-1])[::-1]
        assert np.abs(turned - probs(backend, images)).max() <= BACKENDS[name].tolerance
        assert np.abs(turned[::-1] - probs(backend, images)).max() > 100 * TOLERANCE
        assert backend.name == name

    def test_no_images_and_progress(self, name: str, gray: Bundle) -> None:
        backend = open_backend(name, gray)
        assert backend.logits(gray.probe[:0]).shape == (0, 2)
        seen: list[tuple[int, int]] = []
        backend.logits(scans(gray.card.preprocessing, n=70), progress=lambda done, total: seen.append((done, total)))
        assert seen == [(64, 70), (70, 70)]

    def test_other_images_are_refused(self, name: str, gray: Bundle) -> None:
        backend = open_backend(name, gray)
        wrong: list[Any] = [gray.probe / 255, gray.probe[:, :, :-1], gray.probe[0]]
        for images in wrong:
            with pytest.raises(UsageError, match=r"images of shape .* and kind"):
                backend.logits(images)

    def test_two_threads_at_once(self, name: str, gray: Bundle) -> None:
        backend = open_backend(name, gray)
        parts = [scans(gray.card.preprocessing, n=5, seed=seed) for seed in range(8)]
        expected = [backend.logits(part) for part in parts]
        with ThreadPoolExecutor(4) as pool:
            for found, right in zip(pool.map(backend.logits, parts), expected, strict=True):
                np.testing.assert_allclose(found, right, atol=1e-6)


def test_torch_is_the_network_to_the_last_bit(gray: Bundle) -> None:
    images = mixed(gray, n=70)
    direct = run_network(gray.model.module, images, normalisation=gray.card.normalisation, classes=2, positive=0)
    assert (open_backend("torch", gray).logits(images) == direct).all()


def test_another_layout_leaves_the_bundle_alone(colour: Bundle) -> None:
    backend = open_backend("torch-channels-last", colour)
    assert isinstance(backend, TorchBackend)
    weight, own = (
        max((p for p in m.parameters() if p.ndim == 4), key=torch.numel) for m in (backend.network, colour.model.module)
    )
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert own.is_contiguous()


class Liar(TorchBackend):
    """Answers that are off by what the test says."""

    change: float = 0.0

    def _batch(self, images: NDArray[np.uint8]) -> NDArray[np.floating[Any]]:
        logits = np.array(super()._batch(images))
        logits[:, 0] += self.change
        return logits


@pytest.mark.parametrize(("change", "equal"), [(0.0, True), (1e-5, True), (1e-2, False), (float("nan"), False)])
def test_other_answers_are_refused(gray: Bundle, change: float, equal: bool) -> None:
    liar = Liar(gray)
    liar.change = change
    if equal:
        assert check_parity(liar, gray) <= TOLERANCE
        return
    with pytest.raises(IntegrityError, match="other answers than torch"):
        check_parity(liar, gray)


def test_opening_compares(gray: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def lie(bundle: Bundle, folder: Path, threads: int) -> Backend:
        liar = Liar(bundle)
        liar.change = 0.1
        return liar

    monkeypatch.setitem(BACKENDS, "openvino", replace(BACKENDS["openvino"], open=lie))
    with pytest.raises(IntegrityError, match=r"differ by 0\.0"):
        open_backend("openvino", gray)


def test_the_file_s_own_probabilities_are_compared_too(gray: Bundle, exports: dict[tuple[str, str], Path]) -> None:
    warm = replace(gray, card=replace(gray.card, temperature=2.0))
    path = exports["gray", "onnx"] / "model.onnx"
    assert check_parity(OnnxRuntimeBackend(gray.card, path, threads=1), gray) <= TOLERANCE
    with pytest.raises(IntegrityError, match="onnxruntime gives other answers"):
        check_parity(OnnxRuntimeBackend(warm.card, path, threads=1), warm)


@pytest.mark.real
@pytest.mark.parametrize("name", BACKENDS)
def test_answers_are_torch_s_on_real_scans(name: str, gray: Bundle, real_data: Path) -> None:
    files = sorted((real_data / "brain-mri-4class").rglob("*.jpg"))[::600]
    assert len(files) >= 8
    images = np.stack([preprocess(decode_file(path).pixels, gray.card.preprocessing)[0] for path in files])
    expected = probs(TorchBackend(gray), images)
    assert expected.std(axis=0).min() > 0.01
    assert np.abs(probs(open_backend(name, gray), images) - expected).max() <= BACKENDS[name].tolerance


def test_unknown_names_are_refused(gray: Bundle) -> None:
    with pytest.raises(UsageError, match="did you mean openvino"):
        open_backend("openvin", gray)


@pytest.mark.parametrize(
    ("package", "name"), [("onnxruntime", "onnxruntime"), ("openvino", "openvino"), ("onnx", "openvino")]
)
def test_a_missing_package_names_the_extra(
    gray: Bundle, package: str, name: str, monkeypatch: pytest.MonkeyPatch, one_cache: Path
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    if package != "onnx":
        monkeypatch.setattr(backends, "onnx_bytes", lambda bundle: b"")
    with pytest.raises(ResourceError, match="tumorscope\\[export\\]") as caught:
        open_backend(name, gray)
    assert package in caught.value.found


def test_a_damaged_kept_file_is_written_anew(
    gray: Bundle, exports: dict[tuple[str, str], Path], one_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = (exports["gray", "onnx"] / "model.onnx").read_bytes()
    monkeypatch.setattr(backends, "onnx_bytes", lambda bundle: written)
    open_backend("onnxruntime", gray)
    path = kept_folder(gray) / "model.onnx"
    assert path.is_relative_to(one_cache)
    good = path.read_bytes()
    stamp = path.stat().st_mtime_ns
    open_backend("onnxruntime", gray)
    assert path.stat().st_mtime_ns == stamp
    path.write_bytes(good[:1000] + bytes([good[1000] ^ 1]) + good[1001:])
    open_backend("onnxruntime", gray)
    assert path.read_bytes() == good


def test_threads_and_precision_are_as_asked(gray: Bundle, one_thread: None) -> None:
    runtime, vino = open_backend("onnxruntime", gray), open_backend("openvino", gray)
    assert isinstance(runtime, OnnxRuntimeBackend)
    assert runtime._session.get_session_options().intra_op_num_threads == 1
    assert isinstance(vino, OpenVinoBackend)
    assert vino._compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert vino._compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"
