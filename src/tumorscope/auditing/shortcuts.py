"""Can the label be predicted from what carries no disease? Then a network can, too, and its accuracy means little.

In: `Material`. Out: one answer a check, from small cross-validated models whose folds keep copies and patients whole.
A finding says that the interval of the balanced accuracy lies clear of chance. Classes that came from different
scanners, hospitals or web sites are the usual reason (Zech et al. 2018; Geirhos et al. 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tumorscope.auditing.check import Answer, Check, fine, found, not_applicable, skipped
from tumorscope.auditing.jpeg_header import JpegHeader, read_jpeg_header
from tumorscope.auditing.material import Material
from tumorscope.auditing.probing import (
    FOLDS,
    MARGIN,
    MIN_GROUPS,
    Features,
    MakeModel,
    Sample,
    balanced_accuracy,
    draw,
    estimate_words,
    forest_model,
    name_model,
    out_of_fold,
    tree_model,
)
from tumorscope.auditing.shortcut_features import (
    LEFT_SIDE,
    border_features,
    box_features,
    coarse_features,
    compression_features,
    histogram_features,
    name_features,
    name_pattern,
    pooled,
    size_features,
    without_boxes,
)
from tumorscope.core.types import Estimate, ImageRecord, Severity, Targets
from tumorscope.data.copies.descriptors import Thumbs
from tumorscope.evaluation.intervals import as_json

GRAVE = 0.25
"""A warning where the low end is a quarter of the way from chance to always right, such as 0.625 of two classes;
below that the finding is for information."""
GRAVE_PICTURE = 0.5
"""The same for the coarse picture and its brightness, where a large lesion shows as well: half of the way. The clean
phantom set, whose lesions differ in brightness and nothing else tells the class, reaches 0.28."""
_ARRAY = ".npz#"


def _skill(estimate: Estimate, sample: Sample) -> float:
    """Low end of the interval on a scale where chance is 0 and always right is 1."""
    return ((estimate.low or 0.0) - sample.chance) / (1 - sample.chance)


def _clear(estimate: Estimate, sample: Sample) -> bool:
    return (estimate.low or 0.0) > sample.chance + MARGIN


def _grade(estimate: Estimate, sample: Sample, *, grave: float = GRAVE) -> Severity:
    return "warning" if _skill(estimate, sample) >= grave else "info"


def _predict(sample: Sample, features: Features, *, make_model: MakeModel, seed: int) -> Estimate:
    predicted = out_of_fold(sample, features, make_model=make_model).argmax(1)
    return balanced_accuracy(sample, predicted.astype(np.int64), seed=seed)


def _judge(
    sample: Sample,
    estimate: Estimate,
    *,
    more: Mapping[str, Estimate] | None = None,
    remark: str = "",
    severity: Severity,
) -> Answer:
    """The answer to one estimate: a finding where it lies clear of chance."""
    detail = (
        f"Balanced accuracy {estimate_words(estimate)}, chance {sample.chance:.2f}: "
        f"{FOLDS}-fold cross-validation of {sample.words}.{' ' if remark else ''}{remark}"
    )
    figures: dict[str, Any] = {
        "balanced_accuracy": as_json(estimate),
        "chance": sample.chance,
        "margin": MARGIN,
        "images": len(sample),
        "candidates": sample.candidates,
        "groups": sample.groups,
        "classes": list(sample.classes),
        "folds": FOLDS,
        **{name: as_json(other) for name, other in (more or {}).items()},
    }
    if not _clear(estimate, sample):
        return fine(detail, figures=figures)
    return found(detail, count=len(sample), figures=figures, severity=severity)


def _from_records(features: Callable[[Sequence[ImageRecord]], Features], *, same: str) -> Callable[[Material], Answer]:
    """A look at what the records alone say; `same` is the answer where it is one for all images."""

    def look(material: Material) -> Answer:
        sample = draw(material)
        if isinstance(sample, Answer):
            return sample
        rows = features([material.manifest.records[i] for i in sample.rows.tolist()])
        if not np.ptp(rows, axis=0).any():
            return fine(same)
        estimate = _predict(sample, rows, make_model=tree_model, seed=material.seed)
        return _judge(sample, estimate, severity=_grade(estimate, sample))

    return look


def _from_thumbs(
    features: Callable[[Thumbs], Features], *, grave: float = GRAVE, remark: str = ""
) -> Callable[[Material], Answer]:
    """A look at the thumbnails; a warning from the share `grave` of the way on."""

    def look(material: Material) -> Answer:
        sample = draw(material)
        if isinstance(sample, Answer):
            return sample
        rows = features(material.thumbs[sample.rows])
        estimate = _predict(sample, rows, make_model=forest_model, seed=material.seed)
        return _judge(sample, estimate, remark=remark, severity=_grade(estimate, sample, grave=grave))

    return look


def _names(material: Material) -> Answer:
    """CUT005; for information only, since the network does not see names."""
    if all(_ARRAY in path for path in material.paths):
        return not_applicable("The images are rows of an array file and have no names of their own.")
    sample = draw(material)
    if isinstance(sample, Answer):
        return sample
    patterns = [name_pattern(material.paths[i]) for i in sample.rows.tolist()]
    if len(set(patterns)) == 1:
        return fine(f"All names have one pattern, {patterns[0][1:-1]!r} (digits as 0).")
    estimate = _predict(sample, name_features(patterns), make_model=name_model, seed=material.seed)
    remark = f"Digits count as 0: {len(set(patterns)):,} patterns. A network sees no names, but different ones show "
    remark += "that the classes came from different places."
    return _judge(sample, estimate, remark=remark, severity="info")


def _compression(material: Material) -> Answer:
    """CUT006; the tables are the file's, bytes a pixel depend on the picture too."""
    if all(_ARRAY in path for path in material.paths):
        return not_applicable("The images are rows of an array file and were not compressed one by one.")
    sample = draw(material)
    if isinstance(sample, Answer):
        return sample
    records = [material.manifest.records[i] for i in sample.rows.tolist()]
    headers: list[JpegHeader | None] = []
    sizes: list[int] = []
    for record in records:
        path = material.manifest.root / record.path
        try:
            headers.append(read_jpeg_header(path))
            sizes.append(path.stat().st_size)
        except OSError as error:
            return skipped(f"{record.path} cannot be read any more: {error.strerror or error}.")
    jpegs = sum(header is not None for header in headers)
    if not jpegs:
        return not_applicable(f"None of {len(sample):,} files is a JPEG.")
    settings = compression_features(headers)
    density = [[size / (r.width_px * r.height_px)] for size, r in zip(sizes, records, strict=True)]
    both = np.concatenate([settings, np.array(density, np.float32)], 1)
    alone = _predict(sample, settings, make_model=tree_model, seed=material.seed)
    with_density = _predict(sample, both, make_model=tree_model, seed=material.seed)
    remark = f"{jpegs:,} files are JPEG. Format and settings alone give {estimate_words(alone)}; with bytes a pixel, "
    remark += f"which depend on the picture too, {estimate_words(with_density)}."
    by_settings = _clear(alone, sample)
    return _judge(
        sample,
        alone if by_settings else with_density,
        more={"settings_alone": alone, "with_bytes_a_pixel": with_density},
        remark=remark,
        severity=_grade(alone, sample) if by_settings else "info",
    )


def _lesion_removed(material: Material) -> Answer:
    """CUT007."""
    records = material.manifest.records
    boxed = np.array([i for i, r in enumerate(records) if r.boxes], dtype=np.int64)
    if not boxed.size:
        return not_applicable("No image has a box.")
    rows, left_out = _enough_boxes(material, boxed)
    if np.unique(material.targets[rows]).size < 2:
        return not_applicable(
            f"Boxes in {MIN_GROUPS} or more independent groups of images are needed in at least two classes; "
            f"{len(left_out)} classes have fewer."
        )
    sample = draw(material, rows=rows)
    if isinstance(sample, Answer):
        return sample
    boxes = [records[i].boxes for i in sample.rows.tolist()]
    thumbs = material.thumbs[sample.rows]
    filled = np.stack([without_boxes(thumb, own) for thumb, own in zip(thumbs, boxes, strict=True)])
    seed = material.seed
    estimate = _predict(sample, pooled(filled, LEFT_SIDE), make_model=forest_model, seed=seed)
    whole = _predict(sample, pooled(thumbs, LEFT_SIDE), make_model=forest_model, seed=seed)
    place = _predict(sample, box_features(boxes), make_model=tree_model, seed=seed)
    remark = f"With the lesion left in: {estimate_words(whole)}. The place of the filled patch may tell the class by "
    remark += f"itself: place and size of the boxes alone give {estimate_words(place)}."
    if left_out:
        remark += f" Left out for too few boxes: {', '.join(left_out)}."
    by_place = (place.value or 0.0) >= (estimate.value or 0.0)
    return _judge(
        sample,
        estimate,
        more={"lesion_left_in": whole, "boxes_alone": place},
        remark=remark,
        severity="info" if by_place else _grade(estimate, sample),
    )


def _enough_boxes(material: Material, boxed: Targets) -> tuple[Targets, tuple[str, ...]]:
    """Boxed images of the classes that have groups enough of them, and the names of the other classes."""
    targets, groups = material.targets[boxed], material.independent[boxed]
    names = material.manifest.classes
    enough = [c for c in range(len(names)) if np.unique(groups[targets == c]).size >= MIN_GROUPS]
    left_out = tuple(name for c, name in enumerate(names) if c not in enough)
    return boxed[np.isin(targets, enough)], left_out


SHORTCUT_CHECKS: tuple[Check, ...] = (
    Check(
        "CUT001",
        "The label can be predicted from image size and colour mode alone.",
        "warning",
        _from_records(size_features, same="All images have the same size and colour mode."),
    ),
    Check(
        "CUT002",
        "The label can be predicted from the outer border of the images alone.",
        "warning",
        _from_thumbs(border_features),
    ),
    Check(
        "CUT003",
        "The label can be predicted from a very coarse thumbnail alone.",
        "warning",
        _from_thumbs(coarse_features, grave=GRAVE_PICTURE, remark="A large lesion may show at 8 x 8 pixels."),
    ),
    Check(
        "CUT004",
        "The label can be predicted from the intensity histogram alone.",
        "warning",
        _from_thumbs(histogram_features, grave=GRAVE_PICTURE, remark="A large or bright lesion changes it too."),
    ),
    Check("CUT005", "The label can be predicted from the pattern of the file names.", "info", _names),
    Check("CUT006", "The label can be predicted from how the files were compressed.", "warning", _compression),
    Check("CUT007", "The label can be predicted with the boxed lesion removed.", "warning", _lesion_removed),
)
"""Every check of this file, in the order of their codes."""
