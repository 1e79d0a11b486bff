"""What computes a bundle's logits: torch, ONNX Runtime or OpenVINO, behind one contract, at equal answers.

In: a checked bundle and the name of a backend. Out: a `Backend` from preprocessed pixels to logits. Every backend but
torch itself is compared with torch when it is opened, and refused if its probabilities differ.
"""

from __future__ import annotations

import copy
import difflib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tumorscope.bundle.bundle import Bundle, Card
from tumorscope.bundle.extras import import_onnxruntime, import_openvino, installed
from tumorscope.bundle.network import Progress, run_network
from tumorscope.bundle.onnx_model import GRAPH_VERSION, INPUT, OUTPUTS, onnx_bytes
from tumorscope.core.errors import IntegrityError, UsageError
from tumorscope.core.files import (
    cache_root,
    read_json,
    sha256_bytes,
    sha256_file,
    sha256_value,
    write_bytes,
    write_json,
)
from tumorscope.core.types import Logits
from tumorscope.evaluation.calibration import apply_temperature

TOLERANCE = 1e-4
"""Largest difference of a probability from torch's that counts as an equal answer."""
BF16_TOLERANCE = 0.1
"""The same for backends that compute in bfloat16 (8 bits of mantissa), on the probe and on noise: it finds a broken
backend and promises no equal answer, so they run only where asked for by name."""
BATCH_IMAGES = 64
"""Images computed at a time, whatever the caller hands over."""
NOISE_IMAGES = 4
PACKAGES = ("onnx", "onnxscript", "onnxruntime", "openvino")
"""All that the extra `export` brings."""


class Backend(ABC):
    """Computes logits of preprocessed images; safe to call from several threads.

    Args:
        card: Shapes, classes and temperature.
        name: The backend's name in `BACKENDS`.
    """

    def __init__(self, card: Card, name: str) -> None:
        self.card = card
        self.name = name

    def logits(self, images: NDArray[np.uint8], *, progress: Progress | None = None) -> Logits:
        """(N, classes) float64 logits of (N, C, S, S) uint8 preprocessed images, in their order.

        Raises:
            UsageError: If the images are of another kind or shape.
        """
        shape = self.card.preprocessing
        expected = (shape.channels, shape.size_px, shape.size_px)
        if images.dtype != np.uint8 or images.shape[1:] != expected:
            raise UsageError(
                f"images of shape {images.shape} and kind {images.dtype}",
                expected=f"(N, {', '.join(map(str, expected))}) uint8, as `preprocess` gives",
                fix="preprocess the images with the card's preprocessing",
            )
        logits = np.empty((len(images), len(self.card.classes)), dtype=np.float64)
        for start in range(0, len(images), BATCH_IMAGES):
            rows = slice(start, start + BATCH_IMAGES)
            logits[rows] = self._batch(np.array(images[rows], order="C"))
            if progress is not None:
                progress(min(start + BATCH_IMAGES, len(images)), len(images))
        return logits

    @abstractmethod
    def _batch(self, images: NDArray[np.uint8]) -> NDArray[np.floating[Any]]:
        """(B, classes) logits of 1 to `BATCH_IMAGES` images in a contiguous array of their own."""


class TorchBackend(Backend):
    """The network itself.

    Args:
        bundle: The bundle.
        channels_last: Compute in that memory layout, on a copy of the network.
        bf16: Compute in bfloat16 where torch holds that to be safe.
    """

    def __init__(self, bundle: Bundle, *, channels_last: bool = False, bf16: bool = False) -> None:
        super().__init__(bundle.card, "torch-bf16" if bf16 else "torch-channels-last" if channels_last else "torch")
        self.network = bundle.model.module
        self.bf16 = bf16
        if channels_last:
            self.network = copy.deepcopy(self.network).to(memory_format=torch.channels_last)

    def _batch(self, images: NDArray[np.uint8]) -> NDArray[np.floating[Any]]:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
            return run_network(
                self.network,
                images,
                normalisation=self.card.normalisation,
                classes=len(self.card.classes),
                positive=self.card.positive_target,
                batch_size=BATCH_IMAGES,
            )


class FileBackend(Backend):
    """A backend that runs an exported file."""

    @abstractmethod
    def run(self, images: NDArray[np.uint8], output: str) -> NDArray[np.floating[Any]]:
        """(B, classes) of one of the file's outputs, "logits" or "probs", for a contiguous batch."""

    def _batch(self, images: NDArray[np.uint8]) -> NDArray[np.floating[Any]]:
        return self.run(images, OUTPUTS[0])


class OnnxRuntimeBackend(FileBackend):
    """An ONNX file run by ONNX Runtime on the processor.

    Args:
        card: The bundle's card.
        path: The ONNX file.
        threads: Threads for one operation.
    """

    def __init__(self, card: Card, path: Path, *, threads: int) -> None:
        super().__init__(card, "onnxruntime")
        runtime = import_onnxruntime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # waiting threads sleep, as torch's do: spinning ones take the processor from whatever runs beside them
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(self, images: NDArray[np.uint8], output: str) -> NDArray[np.floating[Any]]:
        """See `FileBackend`."""
        found: NDArray[np.floating[Any]] = self._session.run([output], {INPUT: images})[0]
        return found


class OpenVinoBackend(FileBackend):
    """An ONNX file or OpenVINO IR run by OpenVINO on the processor.

    Args:
        card: The bundle's card.
        path: `model.onnx` or `model.xml`.
        threads: Threads for inference.
        bf16: Compute in bfloat16 where the processor can; else in float32.
    """

    def __init__(self, card: Card, path: Path, *, threads: int, bf16: bool = False) -> None:
        super().__init__(card, "openvino-bf16" if bf16 else "openvino")
        openvino = import_openvino()
        # left to itself it computes in bf16 where the processor can, and answers differ in the third digit
        precision = "bf16" if bf16 else "f32"
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            # it binds threads to cores from the first on: several processes with a share of the cores would meet there
            "ENABLE_CPU_PINNING": threads >= (os.cpu_count() or 1),
        }
        core = openvino.Core()
        self._compiled = core.compile_model(core.read_model(str(path)), "CPU", settings)

    def run(self, images: NDArray[np.uint8], output: str) -> NDArray[np.floating[Any]]:
        """See `FileBackend`."""
        # a request of its own, because one must not be used by two threads at once
        found: NDArray[np.floating[Any]] = np.array(self._compiled.create_infer_request().infer([images])[output])
        return found


@dataclass(frozen=True)
class BackendSpec:
    """One backend: what it is called, what it needs, how to open it.

    Attributes:
        name: As in `BACKENDS`.
        title: One line for people.
        packages: What must be installed beside torch.
        open: From bundle, folder for the ONNX file, and threads.
        tolerance: Largest difference of a probability from torch's.
    """

    name: str
    title: str
    packages: tuple[str, ...]
    open: Callable[[Bundle, Path, int], Backend]
    tolerance: float = TOLERANCE

    @property
    def exact(self) -> bool:
        """True if its answers count as equal to torch's, so that measuring may choose it."""
        return self.tolerance <= TOLERANCE

    @property
    def available(self) -> bool:
        """True if its packages are installed."""
        return all(installed(package) for package in self.packages)


BACKENDS: dict[str, BackendSpec] = {
    spec.name: spec
    for spec in (
        BackendSpec(
            "torch", "PyTorch, as in training's evaluation", (), lambda bundle, folder, threads: TorchBackend(bundle)
        ),
        BackendSpec(
            "torch-channels-last",
            "PyTorch with channels last in memory",
            (),
            lambda bundle, folder, threads: TorchBackend(bundle, channels_last=True),
        ),
        BackendSpec(
            "onnxruntime",
            "ONNX Runtime",
            ("onnx", "onnxscript", "onnxruntime"),
            lambda bundle, folder, threads: OnnxRuntimeBackend(bundle.card, kept_onnx(bundle, folder), threads=threads),
        ),
        BackendSpec(
            "openvino",
            "OpenVINO in float32",
            ("onnx", "onnxscript", "openvino"),
            lambda bundle, folder, threads: OpenVinoBackend(bundle.card, kept_onnx(bundle, folder), threads=threads),
        ),
        BackendSpec(
            "torch-bf16",
            "PyTorch in bfloat16 with channels last in memory: faster, answers differ in the third digit",
            (),
            lambda bundle, folder, threads: TorchBackend(bundle, channels_last=True, bf16=True),
            tolerance=BF16_TOLERANCE,
        ),
        BackendSpec(
            "openvino-bf16",
            "OpenVINO in bfloat16: faster, answers differ in the third digit",
            ("onnx", "onnxscript", "openvino"),
            lambda bundle, folder, threads: OpenVinoBackend(
                bundle.card, kept_onnx(bundle, folder), threads=threads, bf16=True
            ),
            tolerance=BF16_TOLERANCE,
        ),
    )
}


def find_backend(name: str) -> BackendSpec:
    """The backend of that name.

    Raises:
        UsageError: If there is none.
    """
    if name not in BACKENDS:
        close = difflib.get_close_matches(name, BACKENDS, n=1)
        raise UsageError(
            f"no backend is called {name!r}",
            expected=f"one of auto, {', '.join(BACKENDS)}",
            where="--backend",
            fix=f"did you mean {close[0]}?" if close else "--backend torch",
        )
    return BACKENDS[name]


def open_backend(name: str, bundle: Bundle, *, folder: Path | None = None) -> Backend:
    """Open a backend for a bundle, with as many threads as torch uses, and compare its answers with torch's.

    Args:
        name: One of `BACKENDS`.
        bundle: The bundle.
        folder: Where the ONNX file is kept between calls; a folder in the cache by default.

    Raises:
        UsageError: For an unknown name.
        ResourceError: If a package is missing or the network cannot be written as ONNX.
        IntegrityError: If a probability differs from torch's by more than the backend's tolerance.
    """
    spec = find_backend(name)
    backend = spec.open(bundle, folder or kept_folder(bundle), torch.get_num_threads())
    if name != "torch":
        check_parity(backend, bundle, tolerance=spec.tolerance)
    return backend


def check_parity(backend: Backend, bundle: Bundle, *, tolerance: float = TOLERANCE) -> float:
    """Largest difference between a probability of the backend and torch's, over the bundle's probe and noise images.

    Raises:
        IntegrityError: If it is above `tolerance`, or not a number.
    """
    images = check_images(bundle)
    expected = apply_temperature(TorchBackend(bundle).logits(images), bundle.card.temperature)
    logits = backend.logits(images)
    found = [apply_temperature(logits, bundle.card.temperature)] if np.isfinite(logits).all() else [logits]
    if isinstance(backend, FileBackend):
        found.append(np.asarray(backend.run(images, OUTPUTS[1]), dtype=np.float64))
    gap = float(np.max([np.abs(probs - expected).max() for probs in found]))
    if not gap <= tolerance:
        raise IntegrityError(
            f"{backend.name} gives other answers than torch: probabilities differ by {gap:.2g}",
            expected=f"at most {tolerance:g}",
            where=bundle.folder,
            fix="use the backend torch",
        )
    return gap


def check_images(bundle: Bundle) -> NDArray[np.uint8]:
    """(P, C, S, S) uint8: the bundle's probe, and noise, which no cache of answers or clipped range gets right."""
    noise = np.random.default_rng(0).integers(0, 256, (NOISE_IMAGES, *bundle.probe.shape[1:]), dtype=np.uint8)
    return np.concatenate([bundle.probe, noise])


def package_versions() -> dict[str, str]:
    """Versions of everything a backend may run on; "missing" for what is not installed."""
    found = {"torch": str(torch.__version__)}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found


def kept_folder(bundle: Bundle) -> Path:
    """Where this bundle's ONNX file is kept: another for every version of what writes it."""
    versions = package_versions()
    writers = {name: versions[name] for name in ("torch", "onnx", "onnxscript")}
    key = sha256_value({"bundle": bundle.identity, "graph": GRAPH_VERSION, **writers})
    return cache_root() / "onnx" / key[:32]


def kept_onnx(bundle: Bundle, folder: Path) -> Path:
    """The bundle's ONNX file in `folder`, written if it is not there or not the file its record was written for."""
    path, record = folder / "model.onnx", folder / "model.json"
    try:
        if sha256_file(path) == read_json(record)["sha256"]:
            return path
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or half of an older one: written anew
    data = onnx_bytes(bundle)
    write_bytes(path, data)
    write_json(record, {"sha256": sha256_bytes(data), "bundle": bundle.identity})
    return path
