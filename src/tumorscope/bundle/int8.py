"""A network in 8-bit integers: smaller and often faster, with other answers, whose price is measured.

In: the ONNX file of a bundle and calibration images. Out: the quantised file; and the change in accuracy on
validation images with its interval.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.bundle.bundle import Bundle
from tumorscope.bundle.extras import import_onnx, import_onnxruntime
from tumorscope.bundle.onnx_model import INPUT, facts, quiet
from tumorscope.core.errors import UsageError
from tumorscope.core.types import Estimate, Logits, Targets
from tumorscope.evaluation.intervals import as_json
from tumorscope.evaluation.shares import mean_gap, mean_share

CALIBRATION_BATCH = 16
QUANTISED = ("Conv", "Gemm", "MatMul", "Add")
"""Operations computed in integers: where the arithmetic is. Scaling, normalisation and softmax stay in float32."""


def quantise(path: Path, images: NDArray[np.uint8], *, bundle: Bundle) -> bytes:
    """The ONNX file with weights and activations in 8 bits (static, symmetric weights a channel; Jacob et al. 2018).

    Args:
        path: Float32 ONNX file of `bundle`.
        images: (K, C, S, S) uint8 preprocessed images that activations' ranges are taken from.
        bundle: Where shapes and metadata come from.

    Raises:
        UsageError: If there are no images or their shape does not fit.
        ResourceError: If onnx or onnxruntime is missing.
    """
    if not len(images) or images.dtype != np.uint8 or images.shape[1:] != bundle.probe.shape[1:]:
        raise UsageError(
            f"calibration images of shape {images.shape} and kind {images.dtype}",
            expected=f"at least one, (K, {', '.join(map(str, bundle.probe.shape[1:]))}) uint8",
            fix="give preprocessed validation images",
        )
    onnx = import_onnx()
    import_onnxruntime()
    with quiet():
        from onnxruntime import quantization

        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "int8.onnx"
            quantization.quantize_static(
                str(path),
                str(target),
                _reader(quantization, images),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=list(QUANTISED),
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )
            model = onnx.load(str(target))
    onnx.helper.set_model_props(model, facts(bundle.card, bundle.identity))
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _reader(quantization: Any, images: NDArray[np.uint8]) -> Any:
    """The quantiser's way of asking for images."""

    def batches() -> Iterator[dict[str, NDArray[np.uint8]]]:
        for start in range(0, len(images), CALIBRATION_BATCH):
            yield {INPUT: np.array(images[start : start + CALIBRATION_BATCH], order="C")}

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # the package has no types
        def __init__(self) -> None:
            self.batches = batches()

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            return next(self.batches, None)

    return Reader()


@dataclass(frozen=True, slots=True)
class Int8Change:
    """What 8 bits cost on the same validation images.

    Attributes:
        n: Images.
        float32: Accuracy in float32.
        int8: Accuracy in 8 bits.
        difference: Accuracy in 8 bits minus in float32, paired.
        changed: Share of images whose predicted class changed.
    """

    n: int
    float32: Estimate
    int8: Estimate
    difference: Estimate
    changed: float

    def to_json(self) -> dict[str, Any]:
        """JSON-able account."""
        return {
            "n": self.n,
            "float32": as_json(self.float32),
            "int8": as_json(self.int8),
            "difference": as_json(self.difference),
            "changed": self.changed,
        }


def int8_change(
    float32: Logits, int8: Logits, *, targets: Targets, codes: Targets | None = None, seed: int = 0
) -> Int8Change:
    """Accuracy of the two on the same images, and the interval of its difference.

    Args:
        float32: (n, classes) logits before.
        int8: (n, classes) logits after, in the same order.
        targets: (n,) right classes.
        codes: (n,) group numbers 0..G-1, so that pictures of one patient stay together; each its own by default.
        seed: Same seed, same interval.

    Raises:
        UsageError: If the three are not of the same images.
    """
    if not (float32.shape == int8.shape and len(float32) == len(targets) > 0):
        raise UsageError(
            f"logits of shape {float32.shape} and {int8.shape} and {len(targets)} targets",
            expected="the same images, at least one",
            fix="compute both on the same validation images",
        )
    codes = np.arange(len(targets)) if codes is None else codes
    answers = [np.asarray(logits).argmax(axis=1) for logits in (float32, int8)]
    before, after = ((answer == targets).astype(np.float64) for answer in answers)
    return Int8Change(
        n=len(targets),
        float32=mean_share(before, codes=codes, targets=targets, seed=seed),
        int8=mean_share(after, codes=codes, targets=targets, seed=seed),
        difference=mean_gap(after, before, codes=codes, targets=targets, seed=seed),
        changed=float((answers[0] != answers[1]).mean()),
    )
