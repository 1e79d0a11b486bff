"""A network whose answer depends on one known spot, and images that carry a second spot to distract.

The red channel holds a spot for class "red", the green one for class "green"; every image has both, in different
quarters and never at the centre. The network reads red for class 0 and green for class 1, so heat for a class must
lie on that class's spot, and a map that only shows the image cannot tell which of the two is meant.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tumorscope.explaining.asking import Subject
from tumorscope.explaining.cohort import Cohort
from tumorscope.explaining.measuring import Boxed
from tumorscope.imaging.boxes import Boxes
from tumorscope.imaging.loader import Normalisation, to_unit
from tumorscope.models.registry import BuiltModel

SIZE = 32
CLASSES = ("red", "green")


class SpotNet(nn.Module):
    """A blur of each colour, then its mean: one output a class."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 2, 3, padding=1, padding_mode="replicate"), nn.BatchNorm2d(2), nn.ReLU(inplace=True)
        )
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(2, outputs)
        convolution = self.features[0]
        assert isinstance(convolution, nn.Conv2d)
        assert convolution.bias is not None
        with torch.no_grad():
            convolution.weight.zero_()
            convolution.weight[0, 0] = convolution.weight[1, 1] = 1 / 9
            convolution.bias.fill_(0.8)  # black is -1 after normalisation, the ground about -0.85
            self.head.weight.copy_(torch.eye(2) if outputs == 2 else torch.tensor([[-1.0, 1.0]]))
            self.head.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        maps = self.features(images)
        logits: Tensor = self.head(self.drop(maps.mean(dim=(2, 3))))
        return logits


def spot_model(outputs: int = 2) -> BuiltModel:
    """With one output the second class, green, is positive."""
    network = SpotNet(outputs)
    names = [name for name, _ in network.named_parameters()]
    return BuiltModel(
        module=network,
        groups=(tuple(n for n in names if n.startswith("features")), tuple(n for n in names if n.startswith("head"))),
        normalisation=Normalisation((0.5,) * 3, (0.5,) * 3),
        cam_layer="features",
        licence="Apache-2.0",
        weights="none",
        weights_sha256="",
    )


def spot_subject(outputs: int = 2) -> Subject:
    """The same, with the way its answer is read."""
    return Subject(spot_model(outputs), CLASSES, positive=1 if outputs == 1 else None)


def cohort_of(rows: Boxed, codes: NDArray[np.int64] | None = None, *, seed: int = 0) -> Cohort:
    """Images with the spot model's answers; every image its own group unless told."""
    numbers = np.arange(len(rows.targets), dtype=np.int64) if codes is None else codes
    return Cohort(rows, probs=probs_of(spot_model(), np.array(rows.images)), codes=numbers, seed=seed)


def spots(n: int, seed: int = 0) -> Boxed:
    """n images of alternating class with the box round the class's own spot."""
    rng = np.random.default_rng(seed)
    images = rng.integers(5, 20, (n, 3, SIZE, SIZE)).astype(np.uint8)
    boxes: list[Boxes] = []
    targets = np.arange(n, dtype=np.int64) % 2
    for i in range(n):
        quarters = rng.permutation(4)[:2]
        for channel, quarter in enumerate(quarters):
            left, top = (2 + 20 * int(q) + int(rng.integers(0, 3)) for q in (quarter % 2, quarter // 2))
            images[i, channel, top : top + 6, left : left + 6] = 220
            if channel == targets[i]:
                boxes.append(np.array([[left, top, left + 6, top + 6]], dtype=np.float64))
    return Boxed(images, tuple(boxes), targets)


def probs_of(built: BuiltModel, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n, 2) probabilities of a two-output model."""
    with torch.no_grad():
        logits: Tensor = built.module.eval()(built.normalisation.apply(to_unit(torch.from_numpy(images))))
    return np.asarray(logits.double().softmax(dim=1).numpy(), dtype=np.float64)
