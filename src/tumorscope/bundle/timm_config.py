"""What timm needs to load a bundle by itself: `config.json` in the layout of its `save_for_hf`.

In: a network and its card. Out: a JSON value for `timm.create_model("local-dir:BUNDLE", pretrained=True)`, which then
reads the bundle's `model.safetensors`; None for networks that timm does not have. Folded stems and heads of one output
are plain layers by now: one input channel, one class.
"""

from __future__ import annotations

from typing import Any

from tumorscope.bundle.card import Card
from tumorscope.models.registry import OWN_MODELS, BuiltModel

CROPS = {"squash": "squash", "pad": "border", "crop": "center"}
"""timm's names of what `Preprocessing.fit` says."""


def in_timm(card: Card) -> bool:
    """True if timm has the architecture."""
    return card.architecture["name"] not in OWN_MODELS


def timm_config(model: BuiltModel, card: Card) -> dict[str, Any] | None:
    """The content of `config.json`, or None."""
    if not in_timm(card):
        return None
    module: Any = model.module
    own, shape, outputs = module.pretrained_cfg, card.preprocessing, int(card.architecture["outputs"])
    arguments: dict[str, Any] = {"in_chans": shape.channels, **card.architecture["options"]}
    fixed = bool(own.get("fixed_input_size"))
    if fixed:
        arguments["img_size"] = shape.size_px
    config: dict[str, Any] = {
        "architecture": str(card.architecture["name"]).split(".", maxsplit=1)[0],
        "num_classes": outputs,
        "num_features": int(module.num_features),
        "model_args": arguments,
        "pretrained_cfg": {
            "num_classes": outputs,
            "input_size": [shape.channels, shape.size_px, shape.size_px],
            "fixed_input_size": fixed,
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "crop_mode": CROPS[shape.fit],
            "mean": list(card.normalisation.mean),
            "std": list(card.normalisation.std),
            "first_conv": own.get("first_conv"),
            "classifier": own.get("classifier"),
            "custom_load": False,
            "license": card.licence,
        },
    }
    if outputs == len(card.classes):
        config["label_names"] = list(card.classes)
    return config
