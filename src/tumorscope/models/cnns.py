"""The three networks of the student systems that are trained from random weights.

Each takes (B, C, S, S) float32 and gives (B, outputs) logits. `blocks` lists the parts in order, so that freezing
and heatmaps find the last convolution without knowing the network.
"""

from __future__ import annotations

from torch import Tensor, nn


class ConvNet(nn.Module):
    """Convolution blocks, then a classifier.

    Args:
        blocks: Feature extractor, in order.
        classifier: From the last block's (B, C, H, W) to (B, outputs).
    """

    def __init__(self, blocks: list[nn.Module], classifier: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.classifier = classifier

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) activations of the last block."""
        for block in self.blocks:
            images = block(images)
        return images

    def forward(self, images: Tensor) -> Tensor:
        """(B, outputs) logits."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


def cnn28(
    *, channels: int, outputs: int, size_px: int, dropout: float, convs: int = 1, batch_norm: bool = False
) -> ConvNet:
    """S0: three conv-ReLU-maxpool blocks and fully connected layers, for 28-pixel images.

    Args:
        channels: Input channels.
        outputs: Logits a picture.
        size_px: Side of the square input; the larger MedMNIST sizes are pooled to the same 4x4 at the end.
        dropout: Before both linear layers.
        convs: Convolutions in each block; S0 has one.
        batch_norm: Put batch norm after each convolution; S0 has none.
    """
    blocks: list[nn.Module] = []
    width_in = channels
    for width in (32, 64, 128):
        layers: list[nn.Module] = []
        for _ in range(convs):
            layers.append(nn.Conv2d(width_in, width, 3, padding=1, bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU(inplace=True))
            width_in = width
        blocks.append(nn.Sequential(*layers, nn.MaxPool2d(2, ceil_mode=True)))
    side = min(4, -(-size_px // 8))
    classifier = nn.Sequential(
        nn.AdaptiveAvgPool2d(side),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(width_in * side**2, 128),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(128, outputs),
    )
    return ConvNet(blocks, classifier)


def cnn_bn(*, channels: int, outputs: int, size_px: int, dropout: float) -> ConvNet:
    """S1's baseline: blocks of convolution, batch norm, ReLU, max pool and dropout, then fully connected."""
    del size_px
    blocks: list[nn.Module] = []
    width_in = channels
    for width in (16, 32, 64, 128):
        blocks.append(
            nn.Sequential(
                nn.Conv2d(width_in, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2),
                nn.Dropout2d(dropout / 4),
            )
        )
        width_in = width
    classifier = nn.Sequential(
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(width_in * 16, 128),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(128, outputs),
    )
    return ConvNet(blocks, classifier)


def tinyvgg(*, channels: int, outputs: int, size_px: int, dropout: float, width: int = 10) -> ConvNet:
    """S4: two blocks of three convolutions with ReLU and a max pool each, then flatten and one linear layer.

    "Three convolutional layers in each" block is S4's own description; width 10 is the TinyVGG family's
    (Wang et al. 2020, CNN Explainer).
    """
    blocks: list[nn.Module] = []
    width_in = channels
    for _ in range(2):
        layers: list[nn.Module] = []
        for _ in range(3):
            layers += [nn.Conv2d(width_in, width, 3, padding=1), nn.ReLU(inplace=True)]
            width_in = width
        blocks.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
    side = size_px // 2 // 2
    classifier = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(width * side * side, outputs))
    return ConvNet(blocks, classifier)
