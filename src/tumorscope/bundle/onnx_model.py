"""A bundle as one ONNX graph: from preprocessed uint8 pixels to logits and calibrated probabilities.

The graph holds scaling, normalisation, network, class logits, temperature and softmax, so whoever runs it needs only
to resize the image. What else there is to know travels in the file's metadata.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from io import StringIO
from typing import Any

import torch
from torch import Tensor, nn

import tumorscope
from tumorscope.bundle.bundle import Bundle, Card
from tumorscope.bundle.extras import import_onnx
from tumorscope.core.errors import ResourceError
from tumorscope.imaging.loader import to_unit
from tumorscope.models.outputs import class_logits

GRAPH_VERSION = 1
"""Goes up when the same bundle would give another graph; kept files of another version are not used."""
INPUT, OUTPUTS = "images", ("logits", "probs")
USE = "research use only; not for clinical decisions"


class WholeModel(nn.Module):
    """(N, C, S, S) uint8 pixels to (N, classes) logits and probabilities, float32."""

    def __init__(self, network: nn.Module, card: Card) -> None:
        super().__init__()
        self.network = network
        self.card = card

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and probabilities."""
        raw = self.network(self.card.normalisation.apply(to_unit(images)))
        logits = class_logits(raw, classes=len(self.card.classes), positive=self.card.positive_target)
        return logits, torch.softmax(logits / self.card.temperature, dim=1)


def facts(card: Card, identity: str) -> dict[str, str]:
    """What goes into the metadata of an exported file: names and JSON values."""
    values: dict[str, Any] = {
        "classes": list(card.classes),
        "positive": card.positive,
        "preprocessing": asdict(card.preprocessing),
        "temperature": card.temperature,
        "threshold": card.threshold,
        "title": card.title,
        "recipe": card.recipe,
        "licence": card.licence,
        "bundle": identity,
        "hashes": card.hashes,
        "tumorscope": tumorscope.__version__,
        "use": USE,
    }
    return {name: json.dumps(value, sort_keys=True) for name, value in values.items()}


def onnx_bytes(bundle: Bundle) -> bytes:
    """The ONNX file of a bundle, with any number of images a batch; equal bundles give equal bytes.

    Raises:
        ResourceError: If onnx or onnxscript is missing, or the network cannot be written as ONNX.
    """
    onnx = import_onnx()
    card = bundle.card
    whole = WholeModel(bundle.model.module, card).eval()
    side = card.preprocessing.size_px
    # two images: a batch of one would be taken for a constant
    example = torch.zeros((2, card.preprocessing.channels, side, side), dtype=torch.uint8)
    try:
        with quiet(), torch.no_grad():
            program = torch.onnx.export(
                whole,
                (example,),
                dynamo=True,
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=65536)},),
                verbose=False,
            )
        if program is None:
            raise RuntimeError("the exporter gave nothing")
        model = program.model_proto
        _strip(model)
        model.producer_name, model.producer_version = "tumorscope", tumorscope.__version__
        model.doc_string = f"{card.title}. {USE[0].upper()}{USE[1:]}."
        onnx.helper.set_model_props(model, facts(card, bundle.identity))
        onnx.checker.check_model(model, full_check=True)
        data: bytes = model.SerializeToString(deterministic=True)
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        raise ResourceError(
            f"{card.architecture['name']} cannot be written as ONNX: {type(error).__name__}: {lines[0][:160]}",
            expected="a network of operations that ONNX has",
            where=bundle.folder,
            fix="predict with the backend torch",
        ) from error
    return data


def _strip(message: Any) -> None:
    """Remove notes of the exporter, which name folders of this machine, in every part of the graph."""
    for name in ("doc_string", "metadata_props"):
        if name in message.DESCRIPTOR.fields_by_name:
            message.ClearField(name)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if hasattr(value, "__len__") else (value,):
                _strip(part)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what exporters say to developers, about their own insides, from the screen and from warning filters."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    names = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        try:
            root.setLevel(logging.ERROR)
            for name in names:
                logging.getLogger(name).setLevel(logging.ERROR)
            yield
        finally:
            # logging.warning(), which the quantiser calls, adds a handler to the root logger
            root.handlers[:] = handlers
            root.setLevel(level)
            for name in names:
                logging.getLogger(name).setLevel(levels[name])
