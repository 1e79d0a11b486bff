from __future__ import annotations

import pytest
import torch

from tumorscope.core.errors import UsageError
from tumorscope.models.freeze import apply_freeze, set_training_mode, trainable_names
from tumorscope.models.outputs import class_logits
from tumorscope.models.registry import OWN_MODELS, build_model

BACKBONES = ("resnet18", "mobilenetv2_050", "tf_efficientnet_lite0", "vit_tiny_patch16_224", "convnext_atto")
CONTRACT = [*OWN_MODELS, *BACKBONES]


@pytest.mark.parametrize("name", CONTRACT)
@pytest.mark.parametrize("channels", [1, 3])
def test_contract(name: str, channels: int) -> None:
    size = 28 if name == "cnn28" else 64
    built = build_model(name, outputs=4, channels=channels, size_px=size, dropout=0.1)
    built.module.eval()
    images = torch.randn(2, channels, size, size)
    hit: list[torch.Tensor] = []
    layer = built.module.get_submodule(built.cam_layer)
    handle = layer.register_forward_hook(lambda _m, _i, o: hit.append(o))
    logits = built.module(images)
    handle.remove()
    assert logits.shape == (2, 4)
    assert len(hit) == 1
    assert len(built.normalisation.mean) == len(built.normalisation.std) == channels
    names = [n for group in built.groups for n in group]
    assert sorted(names) == sorted(n for n, _ in built.module.named_parameters())
    head = apply_freeze(built, "head")
    last = apply_freeze(built, "last:1")
    everything = apply_freeze(built, "all")
    assert 0 < head < last < everything == built.parameters
    assert set(trainable_names(built, "head")) < set(trainable_names(built, "last:1"))
    assert built.licence


@pytest.mark.parametrize("size", [28, 64, 128, 224])
def test_cnn28_takes_every_medmnist_size(size: int) -> None:
    built = build_model("cnn28", outputs=1, channels=1, size_px=size)
    assert built.module(torch.zeros(1, 1, size, size)).shape == (1, 1)


def test_unknown_names_and_options_name_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"did you mean.*resnet50"):
        build_model("resnet5O", outputs=2, channels=1, size_px=64)
    with pytest.raises(UsageError, match="does not know the option 'widht'"):
        build_model("tinyvgg", outputs=2, channels=1, size_px=64, options={"widht": 3})
    with pytest.raises(UsageError, match="does not take"):
        build_model("resnet18", outputs=2, channels=1, size_px=64, options={"no_such_option": 3})
    with pytest.raises(UsageError, match="no pretrained weights"):
        build_model("cnn28", outputs=2, channels=1, size_px=28, weights="imagenet")
    built = build_model("cnn28", outputs=2, channels=1, size_px=28)
    with pytest.raises(UsageError, match="unknown freeze plan 'last:9'"):
        trainable_names(built, "last:9")


def test_frozen_norms_keep_their_statistics() -> None:
    built = build_model("resnet18", outputs=2, channels=1, size_px=64)
    apply_freeze(built, "last:1")
    set_training_mode(built.module)
    before = {k: v.clone() for k, v in built.module.state_dict().items() if "running" in k}
    built.module(torch.randn(4, 1, 64, 64))
    after = built.module.state_dict()
    moved = {k for k, v in before.items() if not torch.equal(v, after[k])}
    assert moved
    assert all(k.startswith("layer4") for k in moved)


def test_one_output_becomes_two_logits() -> None:
    raw = torch.tensor([[2.0], [-1.0]])
    for positive in (0, 1):
        probs = class_logits(raw, classes=2, positive=positive).softmax(dim=1)
        torch.testing.assert_close(probs[:, positive], torch.sigmoid(raw[:, 0]))
