"""Every method keeps one contract, and points at what the answer depends on."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.explaining.planted import spot_subject, spots
from tumorscope.core.errors import DataError, UsageError
from tumorscope.explaining.asking import Subject, prepared, target_scores, undisturbed
from tumorscope.explaining.cams import activations_and_gradients, spread_out
from tumorscope.explaining.localisation import pointing
from tumorscope.explaining.methods import METHODS, heatmaps, method_named
from tumorscope.models.registry import BuiltModel, build_model

Options = dict[str, str | int | float | bool]
VIT: Options = {"embed_dim": 24, "depth": 2, "num_heads": 2}
SWIN: Options = {"embed_dim": 12, "window_size": 2}
MODELS = ("cnn28-binary", "resnet18", "swin", "vit-token", "vit-avg")


@cache
def _cached(name: str) -> BuiltModel:
    torch.manual_seed(0)
    if name == "cnn28-binary":
        return build_model("cnn28", outputs=1, channels=1, size_px=28)
    if name == "resnet18":
        return build_model("resnet18", outputs=3, channels=1, size_px=32)
    if name == "swin":
        return build_model("swin_tiny_patch4_window7_224", outputs=3, channels=3, size_px=64, options=SWIN)
    options: Options = VIT | {"global_pool": name.removeprefix("vit-")}
    return build_model("vit_tiny_patch16_224", outputs=3, channels=3, size_px=64, options=options)


def _model(name: str) -> tuple[Subject, Tensor, Tensor]:
    """Model, images, targets."""
    built = _cached(name)
    size, channels, classes = {
        "cnn28-binary": (28, 1, 2),
        "resnet18": (32, 1, 3),
        "swin": (64, 3, 3),
        "vit-token": (64, 3, 3),
        "vit-avg": (64, 3, 3),
    }[name]
    images = torch.randn(3, channels, size, size, generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([0, 1, classes - 1])
    return Subject(built, tuple("abc"[:classes]), 0 if classes == 2 else None), images, targets


PAIRS = [(m, n) for m in METHODS for n in MODELS if METHODS[m].applies(_cached(n)) is None]


def test_which_method_applies_to_which_network() -> None:
    applied = {n: [m for m in METHODS if (m, n) in PAIRS] for n in MODELS}
    cams = ["grad-cam", "layer-cam", "hires-cam", "integrated-gradients", "occlusion"]
    tokens = ["attention-gradients", "integrated-gradients", "occlusion"]
    assert applied == {"cnn28-binary": cams, "resnet18": cams, "swin": cams, "vit-token": tokens, "vit-avg": tokens}


# the methods that treat every network alike are not tried on the slow ones
@pytest.mark.parametrize(
    ("method", "model"), [(m, n) for m, n in PAIRS if n not in ("swin", "resnet18") or m.endswith("cam")]
)
def test_contract(method: str, model: str) -> None:
    subject, images, targets = _model(model)
    heat = METHODS[method].heat
    network = subject.built.module.train()
    first = next(network.parameters())
    first.requires_grad_(False)
    first.grad = torch.ones_like(first)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    given = images.clone()
    steps: list[tuple[int, int]] = []
    found = heat(
        subject,
        images,
        targets=targets,
        progress=lambda done, total: steps.append((done, total)),
    )
    # shape, type, sign
    assert found.shape == (3, *images.shape[2:])
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert bool(torch.isfinite(found).all())
    assert float(found.min()) >= 0
    assert bool((found.amax(dim=(1, 2)) > 0).any())
    # the network and the images are as they were
    assert all(part.training for part in network.modules())
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert [p.requires_grad for p in network.parameters()].count(False) == 1
    assert torch.equal(first.grad, torch.ones_like(first))
    assert all(p.grad is None for p in list(network.parameters())[1:])
    assert not any(part._forward_hooks for part in network.modules())
    assert torch.equal(images, given)
    first.grad = None
    first.requires_grad_(True)
    # progress ends at its total
    assert steps
    assert steps[-1][0] == steps[-1][1]
    assert all(a <= b for (a, _), (b, _) in pairwise(steps))
    # a batch equals one by one, and calling again equals the first time, inside inference mode too
    scale = float(found.max())
    with torch.inference_mode():
        single = [heat(subject, images[i : i + 1], targets=targets[i : i + 1]) for i in range(3)]
    assert torch.allclose(torch.cat(single), found, atol=1e-3 * scale)
    # the target selects the class
    other = heat(subject, images, targets=(targets + 1) % len(subject.classes))
    assert float((other - found).abs().max()) > 1e-2 * scale


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("method", [m for m in METHODS if m != "attention-gradients"])
def test_heat_lies_on_the_planted_spot(method: str, outputs: int) -> None:
    rows = spots(8)
    subject = spot_subject(outputs)
    found = heatmaps(subject, rows.images, method=method, targets=rows.targets, batch_size=3)
    masks = rows.masks(np.arange(8))
    assert pointing(found, masks).tolist() == [1.0] * 8
    swapped = heatmaps(subject, rows.images, method=method, targets=1 - rows.targets)
    assert pointing(swapped, masks).max() == 0


def _patches(n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noise with one bright or dark patch of a 4 x 4 grid: images, classes, places."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.1 * torch.randn(n, 1, 64, 64, generator=generator)
    targets = torch.randint(0, 2, (n,), generator=generator)
    places = torch.randint(0, 16, (n,), generator=generator)
    for image, target, place in zip(images, targets.tolist(), places.tolist(), strict=True):
        row, column = divmod(place, 4)
        image[0, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16] += 4.0 * target - 2.0
    return images, targets, places


@pytest.mark.parametrize(("pool", "least"), [("token", 0.9), ("avg", 0.5)])
def test_attention_lies_on_the_planted_patch(pool: str, least: float) -> None:
    torch.manual_seed(0)
    built = build_model("vit_tiny_patch16_224", outputs=2, channels=1, size_px=64, options=VIT | {"global_pool": pool})
    optimizer = torch.optim.Adam(built.module.parameters(), lr=3e-3)
    for step in range(60):
        images, targets, _ = _patches(32, step)
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(built.module(images), targets))
        optimizer.step()
    images, targets, places = _patches(64, 999)
    heat = METHODS["attention-gradients"].heat(Subject(built, ("a", "b"), None), images, targets=targets)
    hottest = heat.flatten(1).argmax(dim=1)
    row, column = hottest // 64 // 16, hottest % 64 // 16
    assert float((4 * row + column == places).float().mean()) >= least
    # chance and a grid that is read the wrong way round give a sixteenth, the diagonal apart
    assert float((4 * column + row == places).float().mean()) < 0.3


@pytest.mark.parametrize("model", ["resnet18", "cnn28-binary"])
def test_grad_cam_is_captums(model: str) -> None:
    from captum.attr import LayerGradCam

    subject, images, targets = _model(model)
    built = subject.built
    built.module.eval()
    layer = built.module.get_submodule(built.cam_layer)
    if len(subject.classes) == 2:
        signs = torch.tensor([1.0 if t == subject.positive else -1.0 for t in targets.tolist()])
        reference = LayerGradCam(lambda x: signs * built.module(x)[:, 0], layer).attribute(images)
    else:
        reference = LayerGradCam(built.module, layer).attribute(images, target=targets)
    activations, gradients = activations_and_gradients(subject, images, targets=targets)
    own = (gradients.mean(dim=(2, 3), keepdim=True) * activations).sum(dim=1, keepdim=True)
    assert torch.allclose(own, reference, atol=1e-5)


def test_layer_cam_weighs_each_activation_by_its_own_positive_gradient() -> None:
    subject, images, targets = _model("cnn28-binary")
    activations, gradients = activations_and_gradients(subject, images, targets=targets)
    assert float(gradients.min()) < 0
    by_hand = torch.where(gradients > 0, gradients, 0.0).mul(activations).sum(dim=1).clamp_min(0)
    found = METHODS["layer-cam"].heat(subject, images, targets=targets)
    assert torch.allclose(found, spread_out(by_hand, 28))
    grad_cam = METHODS["grad-cam"].heat(subject, images, targets=targets)
    assert not torch.allclose(found, grad_cam, rtol=0.1)


def test_channels_stand_first_whatever_the_networks_layout() -> None:
    subject, images, targets = _model("swin")
    for found in activations_and_gradients(subject, images, targets=targets):
        assert found.shape == (3, 8 * 12, 2, 2)


@pytest.mark.parametrize("method", ["grad-cam", "layer-cam", "hires-cam"])
def test_a_batch_of_maps_costs_one_pass(method: str) -> None:
    subject, images, targets = _model("resnet18")
    passes: list[int] = []
    handle = subject.built.module.register_forward_hook(lambda _m, inputs, _o: passes.append(len(inputs[0])))
    METHODS[method].heat(subject, images, targets=targets)
    handle.remove()
    assert passes == [3]


def test_the_finer_map_is_the_last_with_a_place_for_eight_pixels() -> None:
    for name, sides in (("resnet18", (4, 128)), ("swin", (8, 24)), ("cnn28-binary", (4, 128))):
        subject, images, targets = _model(name)
        activations, gradients = activations_and_gradients(subject, images, targets=targets, fine=True)
        assert activations.shape == gradients.shape == (3, sides[1], sides[0], sides[0])
    coarse = Subject(build_model("resnet18", outputs=3, channels=1, size_px=32), ("a", "b", "c"))
    vars(coarse.built.module)["feature_info"] = [{"module": "layer4"}]
    with pytest.raises(UsageError, match="8 x 8 pixels"):
        METHODS["hires-cam"].heat(coarse, torch.zeros(1, 1, 32, 32), targets=torch.tensor([0]))


def test_grad_cam_of_the_pooled_map_is_the_answer_itself() -> None:
    subject = Subject(build_model("mobilenetv2_050", outputs=3, channels=1, size_px=64), ("a", "b", "c"))
    images, targets = torch.randn(2, 1, 64, 64), torch.tensor([0, 2])
    activations, gradients = activations_and_gradients(subject, images, targets=targets)
    weight, bias = (subject.built.module.get_parameter(f"classifier.{n}") for n in ("weight", "bias"))
    parts = (gradients * activations).sum(dim=(1, 2, 3))
    with torch.no_grad():
        answer = subject.built.module.eval()(images).gather(1, targets[:, None])[:, 0]
    assert activations.shape[1] == weight.shape[1]
    assert torch.allclose(parts + bias[targets], answer, rtol=1e-3, atol=1e-4)


def test_fast_attention_is_switched_on_again() -> None:
    subject, images, targets = _model("vit-token")
    parts = [part for part in subject.built.module.modules() if hasattr(part, "fused_attn")]
    before = [part.fused_attn for part in parts]
    assert any(before)
    METHODS["attention-gradients"].heat(subject, images, targets=targets)
    assert [part.fused_attn for part in parts] == before


def test_integrated_gradients_start_from_black() -> None:
    subject, images, targets = _model("cnn28-binary")
    heat = METHODS["integrated-gradients"].heat
    black = subject.built.normalisation.apply(torch.zeros_like(images))
    gray = torch.zeros_like(images)
    assert float(heat(subject, black, targets=targets).max()) == 0
    assert float(heat(subject, gray, targets=targets).max()) > 0


def test_modes_come_back_part_by_part_even_after_an_error() -> None:
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout())
    network.train()
    network[0].eval()
    seen: list[bool] = []

    def fails() -> None:
        with undisturbed(network):
            seen.extend(part.training for part in network)
            seen.extend(p.requires_grad for p in network.parameters())
            raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        fails()
    assert seen == [False] * 4
    assert network[1].training
    assert not network[0].training
    assert all(p.requires_grad for p in network.parameters())


def test_memory_layout_follows_the_network() -> None:
    built = _cached("resnet18")
    images = torch.randn(2, 1, 32, 32)
    assert prepared(built.module, images).is_contiguous()
    moved = build_model("resnet18", outputs=3, channels=3, size_px=32).module
    moved.to(memory_format=torch.channels_last)
    colour = prepared(moved, torch.randn(2, 3, 32, 32))
    assert colour.is_contiguous(memory_format=torch.channels_last)


def test_one_output_speaks_for_both_classes() -> None:
    raw = torch.tensor([[2.0], [2.0]])
    scores = target_scores(raw, torch.tensor([0, 1]), classes=2, positive=0)
    assert scores.tolist() == [2.0, -2.0]
    assert target_scores(raw, torch.tensor([0, 1]), classes=2, positive=1).tolist() == [-2.0, 2.0]
    with pytest.raises(UsageError, match="3 classes"):
        target_scores(raw, torch.tensor([0, 1]), classes=3, positive=None)
    with pytest.raises(UsageError, match="positive class None"):
        target_scores(raw, torch.tensor([0, 1]), classes=2, positive=None)


def test_what_cannot_be_done_is_said() -> None:
    vit, cnn = _cached("vit-token"), _cached("cnn28-binary")
    with pytest.raises(UsageError, match=r"tokens.*\n.*attention-gradients"):
        method_named("grad-cam", vit)
    with pytest.raises(UsageError, match="no transformer"):
        method_named("attention-gradients", cnn)
    with pytest.raises(UsageError, match="no heatmap method is called 'gradcam'"):
        method_named("gradcam", cnn)
    with pytest.raises(UsageError, match="not a map"):
        activations_and_gradients(
            Subject(replace(vit, cam_layer="blocks.1"), ("a", "b", "c")),
            torch.zeros(1, 3, 64, 64),
            targets=torch.tensor([0]),
        )
    assert METHODS["grad-cam"].applies(replace(cnn, cam_layer="")) is not None


def test_heat_that_is_not_finite_is_refused() -> None:
    subject = spot_subject()
    with torch.no_grad():
        subject.built.module.get_parameter("head.weight").fill_(float("inf"))
    with pytest.raises(DataError, match="the heat of 2 of 2 images is not finite"):
        heatmaps(subject, spots(2).images, method="grad-cam", targets=np.array([0, 1]))
