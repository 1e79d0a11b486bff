from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from tumorscope.core.errors import IntegrityError, ResourceError, UsageError
from tumorscope.models.backbones import fold_stem
from tumorscope.models.registry import build_model


def gray_and_rgb(mean: tuple[float, ...], std: tuple[float, ...], one: float, spread: float) -> list[torch.Tensor]:
    gray = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    rgb = (gray.expand(-1, 3, -1, -1) - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    return [(gray - one) / spread, rgb]


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2_050", "convnext_atto", "vit_tiny_patch16_224"])
def test_folded_stem_equals_copied_channels(name: str) -> None:
    """With equal means and deviations (0.5) the one-channel network is the same function."""
    torch.manual_seed(0)
    extra: Any = {"img_size": 64} if name.startswith("vit") else {}
    model: Any = timm.create_model(name, num_classes=3, **extra).eval()
    half = (0.5, 0.5, 0.5)
    gray, rgb = gray_and_rgb(half, half, 0.5, 0.5)
    with torch.no_grad():
        expected = model(rgb)
        normalisation = fold_stem(model, model.pretrained_cfg["first_conv"], half, half)
        found = model(gray)
    assert (normalisation.mean, normalisation.std) == ((0.5,), (0.5,))
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-3)


def test_folded_stem_with_imagenet_means_is_exact_away_from_the_border() -> None:
    torch.manual_seed(0)
    model: Any = timm.create_model("resnet18", num_classes=3).eval()
    model.bn1.running_mean.normal_()
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    with torch.no_grad():
        stem = torch.nn.Sequential(model.conv1, model.bn1)
        _, rgb = gray_and_rgb(mean, std, 0, 1)
        expected = stem(rgb)
        normalisation = fold_stem(model, "conv1", mean, std)
        gray, _ = gray_and_rgb(mean, std, normalisation.mean[0], normalisation.std[0])
        found = stem(gray)
    torch.testing.assert_close(found[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=1e-4, rtol=1e-4)
    # without the folded constant it would be off by far more
    assert float((found - expected)[..., 2:-2, 2:-2].abs().max()) < 1e-3


@pytest.mark.real
@pytest.mark.parametrize(
    ("file", "name", "options"),
    [
        ("tf_efficientnet_lite0.in1k.safetensors", "tf_efficientnet_lite0", {}),
        ("mobilenetv2_100.in1k.safetensors", "mobilenetv2_100", {"pad_type": "same"}),
    ],
)
def test_local_weights_fold_to_equal_outputs(
    local_weights: Path, file: str, name: str, options: dict[str, str]
) -> None:
    built = build_model(
        name,
        outputs=4,
        channels=1,
        size_px=64,
        weights=str(local_weights / file),
        options=options,
        mean=(0.5,),
        std=(0.5,),
    )
    extra: Any = options
    reference: Any = timm.create_model(name, num_classes=4, **extra)
    state = {k: v for k, v in load_file(local_weights / file).items() if not k.startswith("classifier")}
    reference.load_state_dict(state, strict=False)
    reference.classifier.load_state_dict(built.module.get_submodule("classifier").state_dict())
    half = (0.5, 0.5, 0.5)
    gray, rgb = gray_and_rgb(half, half, 0.5, 0.5)
    with torch.no_grad():
        expected, found = reference.eval()(rgb), built.module.eval()(gray)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
    assert len(built.weights_sha256) == 64


@pytest.mark.parametrize("outputs", [1, 2, 4])
def test_a_new_head_on_pretrained_features_starts_near_chance(tmp_path: Path, outputs: int) -> None:
    path = tmp_path / "lite0.safetensors"
    save_file(timm.create_model("tf_efficientnet_lite0", num_classes=7).state_dict(), path)
    built = build_model("tf_efficientnet_lite0", outputs=outputs, channels=1, size_px=64, weights=str(path))
    head = built.module.get_submodule("classifier")
    features = torch.rand(8, 1280, generator=torch.Generator().manual_seed(0)) * 6  # ReLU6 features at their largest
    torch.manual_seed(0)
    other: Any = timm.create_model("tf_efficientnet_lite0", num_classes=outputs)
    usual = other.get_classifier()
    assert float(head(features).detach().abs().max()) < 8 < float(usual(features).detach().abs().max())


@pytest.fixture
def weight_file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    save_file(timm.create_model("resnet18", num_classes=7).state_dict(), path)
    return path


def build(path: Path, name: str = "resnet18") -> None:
    build_model(name, outputs=2, channels=1, size_px=64, weights=str(path))


def test_a_head_of_another_size_is_left_out(weight_file: Path) -> None:
    build(weight_file)


@pytest.mark.parametrize("fault", ["missing", "unknown", "shape", "nan", "garbage"])
def test_wrong_weights_are_refused(weight_file: Path, fault: str) -> None:
    state = load_file(weight_file)
    if fault == "missing":
        del state["layer1.0.conv1.weight"]
    elif fault == "unknown":
        state["extra.weight"] = torch.zeros(3)
    elif fault == "shape":
        state["layer1.0.conv1.weight"] = torch.zeros(3, 3)
    elif fault == "nan":
        state["layer1.0.conv1.weight"][0] = torch.nan
    save_file(state, weight_file)
    if fault == "garbage":
        weight_file.write_bytes(b"\x00" * 64)
    with pytest.raises(IntegrityError):
        build(weight_file)


def test_pickles_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"not \.safetensors"):
        build(tmp_path / "model.pth")
    with pytest.raises(UsageError, match="does not exist"):
        build(tmp_path / "model.safetensors")


def test_no_hub_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_a: object, **_k: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ResourceError, match="could not be had"):
        build_model("resnet18", outputs=2, channels=1, size_px=64, weights="imagenet")


@pytest.mark.parametrize("name", ["resnetv2_50x1_bit", "resnet50_gn"])
def test_stems_that_cannot_be_folded_exactly_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(timm.create_model(name).state_dict(), path)
    with pytest.raises(UsageError, match="cannot be folded"):
        build_model(name, outputs=2, channels=1, size_px=64, weights=str(path))


def test_models_without_one_classifier_and_wrong_tags_are_refused() -> None:
    with pytest.raises(UsageError, match="no single classification layer"):
        build_model("deit_tiny_distilled_patch16_224", outputs=2, channels=1, size_px=224)
    with pytest.raises(UsageError, match="pretrained tag"):
        build_model("resnet18.nope", outputs=2, channels=1, size_px=64)
