"""The input gate: a picture unlike the training images is refused before it is answered, and told why.

In: descriptors of training and validation images. Out: a `Gate` that travels with the bundle. A picture's distance
from the images of a class is a Mahalanobis distance with a shrunk covariance (Ledoit and Wolf 2004; as a detector of
foreign inputs Lee et al. 2018), once for how it looks and once with what lies where. A picture passes if it is near
enough to one class. How near is set on images of the class that the distances were not fitted to, so that at most the
asked share of new scans of each class is refused (class-conditional split conformal, Vovk 2012). It needs no network:
exported models and every backend have the same gate. It knows nothing of diseases, and a picture that passes is not
thereby a scan.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.bundle.descriptor import APPEARANCE, LENGTH, PROPERTIES, Features, coloured_share, describe
from tumorscope.core.files import atomic_path, save_npz
from tumorscope.core.types import Pixels, Targets

VERSION = 1
"""Goes up when the same image would give other features."""
SHARE = 0.05
"""Largest share of new scans of each class that is to be refused."""
ENOUGH = 100
"""Validation images of a class from which its limit is set on them alone; else its training images join them."""
LEAST = 20
"""Images a distance is fitted to at least."""
FOLDS = 5
MARGIN = 0.05
"""How far the shares of coloured pixels and of even areas may leave the range of the training images."""
OUTSIDE = 0.005
"""A property is worth a word outside all but this share of the training images on either side."""
NAMED = 2
PARTS = (slice(0, APPEARANCE), slice(0, LENGTH))
"""Features of the two distances: how it looks; how it looks and what lies where."""
EVEN = list(PROPERTIES).index("flat")
ALL = "all classes"


@dataclass(frozen=True)
class Described:
    """Descriptors of n images.

    Attributes:
        features: (n, LENGTH) float64.
        properties: (n, P) float64, in the order of `PROPERTIES`.
        coloured: (n,) share of coloured pixels.
        targets: (n,) class positions.
    """

    features: Features
    properties: Features
    coloured: Features
    targets: Targets

    def __len__(self) -> int:
        return len(self.features)


@dataclass(frozen=True)
class Metric:
    """One Mahalanobis distance: `|| ((features - centre) / scale) @ whiten ||`."""

    centre: Features
    scale: Features
    whiten: NDArray[np.float32]

    def __call__(self, features: Features) -> Features:
        """(n,) distances of (n, F) features."""
        distances: Features = np.linalg.norm(((features - self.centre) / self.scale) @ self.whiten, axis=1)
        return distances


@dataclass(frozen=True)
class Region:
    """What is near the images of one class.

    Attributes:
        name: The class, or `ALL`.
        metrics: The two distances from its images.
        limits: Largest distances that are near.
    """

    name: str
    metrics: tuple[Metric, Metric]
    limits: tuple[float, float]

    def distances(self, features: Features) -> tuple[float, float]:
        """The two distances of one image's (LENGTH,) features."""
        first, second = (
            float(metric(features[None, part])[0]) for metric, part in zip(self.metrics, PARTS, strict=True)
        )
        return first, second


@dataclass(frozen=True)
class Gate:
    """A fitted gate.

    Attributes:
        regions: A picture passes if it lies in one of them.
        coloured: Least and largest share of coloured pixels that passes.
        even: Largest share of even areas that passes.
        ranges: (P, 2) usual range of each of `PROPERTIES`.
        share: Largest share of new scans of each class that was to be refused.
        calibration_images: Images the limits were set on.
        cross_fitted: How many of them are training images, measured by distances fitted to others.
    """

    regions: tuple[Region, ...]
    coloured: tuple[float, float]
    even: float
    ranges: Features
    share: float
    calibration_images: int
    cross_fitted: int

    def refusal(self, pixels: Pixels, prepared: NDArray[np.uint8]) -> str:
        """Why an image is refused, in words; "" if it passes.

        Args:
            pixels: (H, W) or (H, W, 3) uint8 as decoded.
            prepared: (C, S, S) uint8, the same image as `preprocess` gives it.
        """
        coloured = coloured_share(pixels)
        low, high = self.coloured
        if coloured > high:
            return f"colour in {coloured:.0%} of the picture, training images have it in at most {high:.0%}"
        if coloured < low:
            return f"colour in {coloured:.0%} of the picture, training images have it in at least {low:.0%}"
        features, properties = describe(prepared)
        if properties["flat"] > self.even:
            return f"even areas, as in drawings, in {properties['flat']:.0%} of the picture, limit {self.even:.0%}"
        nearest, distance, limit = math.inf, math.inf, 0.0
        for region in self.regions:
            pairs = list(zip(region.distances(features), region.limits, strict=True))
            worst = max(pairs, key=lambda pair: pair[0] / pair[1])
            if worst[0] / worst[1] < nearest:
                nearest, distance, limit = worst[0] / worst[1], *worst
        if nearest <= 1:
            return ""
        said = f"unlike the training images: distance {distance:.2f}, limit {limit:.2f}"
        return said + "".join(f", {words}" for words in self._unusual(properties))

    def _unusual(self, properties: dict[str, float]) -> list[str]:
        """Words for the properties that lie farthest outside their usual range."""
        found = []
        for (low, high), (name, words) in zip(self.ranges.tolist(), PROPERTIES.items(), strict=True):
            value, width = properties[name], max(high - low, 1e-6)
            if value < low or value > high:
                found.append((max(low - value, value - high) / width, words[value > high]))
        return [words for _, words in sorted(found, reverse=True)[:NAMED]]

    def summary(self) -> dict[str, Any]:
        """As a card tells it."""
        return {
            "version": VERSION,
            "share": self.share,
            "calibration_images": self.calibration_images,
            "cross_fitted": self.cross_fitted,
            "limits": {region.name: list(region.limits) for region in self.regions},
            "coloured": list(self.coloured),
            "even": self.even,
        }

    def save(self, path: Path) -> None:
        """Write the gate; equal gates give equal bytes."""
        arrays: dict[str, NDArray[Any]] = {
            "version": np.array([VERSION]),
            "names": np.array([region.name for region in self.regions], dtype=np.str_),
            "limits": np.array([region.limits for region in self.regions]),
            "bounds": np.array([*self.coloured, self.even, self.share]),
            "ranges": self.ranges,
            "counts": np.array([self.calibration_images, self.cross_fitted]),
        }
        for place in range(len(PARTS)):
            own = [region.metrics[place] for region in self.regions]
            arrays[f"centre{place}"] = np.stack([metric.centre for metric in own])
            arrays[f"scale{place}"] = np.stack([metric.scale for metric in own])
            # no digit is lost: fitting rounds to this
            arrays[f"whiten{place}"] = np.stack([metric.whiten for metric in own]).astype(np.float16)
        with atomic_path(path) as temporary, temporary.open("wb") as handle:
            save_npz(handle, **arrays)


def load_gate(path: Path) -> Gate:
    """What `Gate.save` wrote.

    Raises:
        ValueError, KeyError, OSError: If it is no gate, or one of another version.
    """
    with np.load(path, allow_pickle=False) as stored:
        version = int(stored["version"][0])
        if version != VERSION:
            raise ValueError(f"gate of version {version}, expected {VERSION}")
        low, high, even, share = stored["bounds"].tolist()
        images, crossed = stored["counts"].tolist()
        metrics = [
            [
                Metric(centre, scale, whiten.astype(np.float32))
                for centre, scale, whiten in zip(
                    *(stored[f"{name}{place}"] for name in ("centre", "scale", "whiten")), strict=True
                )
            ]
            for place in range(len(PARTS))
        ]
        regions = tuple(
            Region(name, (one, two), (first, second))
            for name, one, two, (first, second) in zip(
                stored["names"].tolist(), *metrics, stored["limits"].tolist(), strict=True
            )
        )
        ranges = stored["ranges"]
    lengths = [[len(metric.centre) for metric in region.metrics] for region in regions]
    if not regions or ranges.shape != (len(PROPERTIES), 2) or any(own != [p.stop for p in PARTS] for own in lengths):
        raise ValueError("gate of other features")
    return Gate(regions, (low, high), even, ranges, share, images, crossed)


def described(images: Iterable[tuple[Pixels | None, NDArray[np.uint8]]], targets: Targets) -> Described:
    """Descriptors of images given as decoded pixels (None if gray) and preprocessed, with their class positions."""
    rows, coloured = [], []
    for pixels, prepared in images:
        rows.append(describe(prepared))
        coloured.append(0.0 if pixels is None else coloured_share(pixels))
    return Described(
        np.array([features for features, _ in rows]).reshape(len(rows), LENGTH),
        np.array([list(properties.values()) for _, properties in rows]).reshape(len(rows), len(PROPERTIES)),
        np.array(coloured, dtype=np.float64),
        np.asarray(targets, dtype=np.int64),
    )


def fit_gate(
    train: Described,
    validation: Described,
    *,
    classes: Sequence[str],
    groups: NDArray[np.int64],
    share: float = SHARE,
    seed: int = 0,
) -> Gate | None:
    """A gate for pictures like the training images.

    Distances are fitted to training images of a class, its limits set on its validation images. Where there are fewer
    than `ENOUGH` of these, its training images join them, each measured by distances fitted to other groups of them.
    Classes with too few images share a region of all images.

    Args:
        train: Training images.
        validation: Validation images.
        classes: Names in target order.
        groups: (n,) group of each training image; copies share one.
        share: Largest share of new scans of each class to be refused.
        seed: For the folds.

    Returns:
        None where there are too few images for a limit at that share (about 1/share).
    """
    parts = [(name, train.targets == target, validation.targets == target) for target, name in enumerate(classes)]
    fits = [
        _fit(name, train.features[own], validation.features[new], groups[own], share, seed) for name, own, new in parts
    ]
    found = [fit for fit in fits if fit is not None]
    images, crossed = sum(fit.images for fit in found), sum(fit.crossed for fit in found)
    if len(found) < len(fits):
        # where a class has too few images, what is near any training image passes
        common = _fit(ALL, train.features, validation.features, groups, share, seed)
        if common is None:
            return None
        found.append(common)
        images, crossed = max(images, common.images), max(crossed, common.crossed)
    properties = np.concatenate([train.properties, validation.properties])
    coloured = np.concatenate([train.coloured, validation.coloured])
    return Gate(
        regions=tuple(fit.region for fit in found),
        coloured=(float(coloured.min()) - MARGIN, float(coloured.max()) + MARGIN),
        even=float(properties[:, EVEN].max()) + MARGIN,
        ranges=np.quantile(properties, [OUTSIDE, 1 - OUTSIDE], axis=0).T,
        share=share,
        calibration_images=images,
        cross_fitted=crossed,
    )


@dataclass(frozen=True)
class _Fit:
    """A region, the images its limits were set on, and how many of them are training images."""

    region: Region
    images: int
    crossed: int


def _fit(name: str, own: Features, new: Features, groups: NDArray[np.int64], share: float, seed: int) -> _Fit | None:
    """The region of (n, LENGTH) training images with limits from (m, LENGTH) validation images; None if too few."""
    if len(own) < LEAST:
        return None
    metrics = [_metric(own[:, part]) for part in PARTS]
    measured = [np.stack([metric(new[:, part]) for metric, part in zip(metrics, PARTS, strict=True)], axis=1)]
    strangers = _folds(groups, seed) if len(new) < ENOUGH else []
    measured += [np.stack([_metric(own[~fold, part])(own[fold, part]) for part in PARTS], axis=1) for fold in strangers]
    distances = np.concatenate(measured)
    # of n + 1 exchangeable images the new one is among the k farthest with probability k / (n + 1)
    above = math.floor((len(distances) + 1) * share + 1e-9)
    if not above:
        return None
    middle, far = np.median(distances, axis=0), np.quantile(distances, 0.95, axis=0)
    width = np.maximum(far - middle, 1e-6)
    limits = middle + width * np.sort(((distances - middle) / width).max(axis=1))[-above]
    region = Region(name, (metrics[0], metrics[1]), (float(limits[0]), float(limits[1])))
    return _Fit(region, len(distances), len(distances) - len(new))


def _folds(groups: NDArray[np.int64], seed: int) -> list[NDArray[np.bool_]]:
    """Masks of `FOLDS` parts of the images that no group crosses; none where there are fewer groups."""
    names, codes = np.unique(groups, return_inverse=True)
    if len(names) < 2 * FOLDS:
        return []
    fold = np.random.default_rng(seed).permutation(len(names)) % FOLDS
    return [fold[codes] == number for number in range(FOLDS)]


def _metric(features: Features) -> Metric:
    """The distance from `features`, (n, F), with shrunk covariance."""
    from sklearn.covariance import ledoit_wolf

    centre, spread = features.mean(axis=0), features.std(axis=0)
    # a feature that never varied in training must not decide alone
    scale = spread + 0.02 * np.median(spread) + 1e-3
    covariance, _ = ledoit_wolf((features - centre) / scale)
    values, vectors = np.linalg.eigh(covariance)
    whiten = vectors / np.sqrt(np.maximum(values, 1e-8))
    return Metric(centre, scale, whiten.astype(np.float16).astype(np.float32))
