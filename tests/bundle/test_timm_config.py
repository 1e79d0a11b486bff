"""Bundles of timm networks load in timm by themselves and give the same logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from tests.bundle.bundles import COLOUR, GRAY, save, scans
from tumorscope.bundle.bundle import Bundle, load_bundle, save_bundle
from tumorscope.bundle.card import Card
from tumorscope.core.errors import IntegrityError
from tumorscope.core.files import read_json
from tumorscope.imaging.loader import to_unit
from tumorscope.imaging.preprocess import Preprocessing
from tumorscope.models.registry import build_model


def raw_logits(network: torch.nn.Module, bundle: Bundle) -> torch.Tensor:
    with torch.inference_mode():
        batch = bundle.card.normalisation.apply(to_unit(torch.from_numpy(bundle.probe.copy())))
        found: torch.Tensor = network.eval()(batch)
    return found


def assert_same(bundle: Bundle) -> None:
    theirs = timm.create_model(f"local-dir:{bundle.folder}", pretrained=True)
    ours = raw_logits(bundle.model.module, bundle)
    assert ours.std() > 0
    assert torch.allclose(raw_logits(theirs, bundle), ours, atol=1e-6)


@pytest.mark.parametrize(
    "architecture",
    [
        COLOUR,
        {**GRAY, "name": "test_resnet", "size_px": 64},
        {**COLOUR, "name": "test_vit", "channels": 1, "size_px": 96},
        {**COLOUR, "name": "test_efficientnet", "channels": 1, "options": {"pad_type": "same"}},
    ],
    ids=["colour", "gray-one-output", "vit", "option"],
)
def test_logits_are_equal(architecture: dict[str, Any], tmp_path: Path) -> None:
    bundle = load_bundle(save(tmp_path / "bundle", architecture))
    assert_same(bundle)
    config = read_json(bundle.folder / "config.json")
    outputs = architecture["outputs"]
    assert config["num_classes"] == outputs
    assert config.get("label_names") == (list(bundle.card.classes) if outputs == 3 else None)
    assert config["pretrained_cfg"]["input_size"] == [architecture["channels"]] + [architecture["size_px"]] * 2


def test_a_folded_stem_loads_as_one_channel(tmp_path: Path) -> None:
    torch.manual_seed(1)
    save_file(timm.create_model("test_resnet", num_classes=3).state_dict(), tmp_path / "w.safetensors")
    architecture = {**COLOUR, "channels": 1}
    built = build_model(**architecture, weights=str(tmp_path / "w.safetensors"), mean=(0.5, 0.4, 0.3), std=(0.2,) * 3)
    shape = Preprocessing(64, 1)
    card = Card(
        recipe="r",
        title="t",
        architecture=architecture,
        preprocessing=shape,
        normalisation=built.normalisation,
        classes=("a", "b", "c"),
        positive=None,
        temperature=1.0,
        threshold=None,
        licence="apache-2.0",
        metrics={},
        hashes={},
        versions={},
    )
    built.module.eval()
    save_bundle(tmp_path / "bundle", built, card, scans(shape, n=3))
    bundle = load_bundle(tmp_path / "bundle")
    assert_same(bundle)
    config = read_json(bundle.folder / "config.json")["pretrained_cfg"]
    assert config["mean"] == pytest.approx([0.4])


def test_own_networks_have_no_config(gray: Bundle) -> None:
    assert not (gray.folder / "config.json").exists()
    assert "timm does not have it" in (gray.folder / "README.md").read_text()


def test_a_changed_config_is_refused(tmp_path: Path) -> None:
    folder = save(tmp_path / "bundle", COLOUR)
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"num_classes": 3', '"num_classes": 4', 1))
    with pytest.raises(IntegrityError, match=r"config\.json is not the file"):
        load_bundle(folder)
