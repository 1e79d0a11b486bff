"""Score a run's heatmaps on data with boxes: which images, which boxes, and everything the page shows.

In: a run and its data (then its test images without a copy in training are taken), or other data with boxes (then
one image of each group of copies, without files of the training data). Out: `explanations.json` and `gallery.npz`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.bundle.bundle import Bundle, load_bundle
from tumorscope.bundle.predictor import Predictor
from tumorscope.core.errors import DataError
from tumorscope.core.files import atomic_path, read_json, save_npz, write_json
from tumorscope.data.copies.survey import Survey, survey
from tumorscope.data.image_list import seen_in_training
from tumorscope.data.manifest import Manifest
from tumorscope.data.relabel import relabel
from tumorscope.data.split import load_split, sharing
from tumorscope.data.splitting import LIKELY_KINDS, groups_of
from tumorscope.explaining.gallery import gallery
from tumorscope.explaining.measuring import Boxed
from tumorscope.explaining.removal import curves_of, removal
from tumorscope.explaining.score import score
from tumorscope.imaging.boxes import Boxes, boxes_in_pixels, boxes_to_input
from tumorscope.imaging.cache import PixelCache, open_cache

Report = Callable[[str, int, int], None]
LESION_FREE = ("no", "no tumor", "no tumour", "notumor", "no_tumor", "normal", "healthy", "none", "negative")
"""Class names, folded, whose boxes do not surround a lesion (the head, in the public boxes set)."""
METHODS = ("grad-cam", "layer-cam")
"""Methods scored unless others are named: those that cost about one forward pass."""
THRESHOLD_IMAGES = 128
"""Validation images that thresholds are chosen on, drawn by the seed: each source makes a map of each."""
FORMAT = 1


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Images of a study.

    Attributes:
        rows: (n,) positions in the manifest that are scored.
        val: Positions that thresholds are chosen on, possibly none.
        train: Positions whose boxes make the mean box, possibly none.
        what: One sentence on which images and why.
        left_out: Number of images by reason.
    """

    rows: NDArray[np.int64]
    val: NDArray[np.int64]
    train: NDArray[np.int64]
    what: str
    left_out: dict[str, int]


def study(
    run: Path,
    manifest: Manifest,
    *,
    out: Path,
    command: str,
    methods: Sequence[str] = METHODS,
    mapping: Mapping[str, str] | None = None,
    lesion_free: Sequence[str] = (),
    seed: int = 0,
    progress: Report | None = None,
) -> dict[str, Any]:
    """Score and write `explanations.json` and `gallery.npz` into `out`.

    Args:
        run: Run folder.
        manifest: The run's own data, or other data; with boxes.
        out: Folder to write into.
        command: The command that makes it again.
        methods: Names in `METHODS` of `explaining.methods`.
        mapping: Class names of other data that the model calls otherwise.
        lesion_free: Further classes whose boxes surround no lesion.
        seed: Of everything random.
        progress: Called with (what, done, total).

    Returns:
        The content of `explanations.json`.

    Raises:
        DataError: If no image that may be used has a box, or classes do not match.
        IntegrityError: If the bundle is damaged.
    """
    bundle = load_bundle(run)
    card = bundle.card
    own = read_json(run / "run.json")["hashes"]["data"] == manifest.sha256
    copies = survey(manifest)
    chosen = _own(run, manifest, copies) if own else _other(run, manifest, copies)
    groups = groups_of(manifest, copies)
    free = {name.casefold() for name in (*LESION_FREE, *lesion_free)}
    records = (replace(r, boxes=()) if r.label.casefold() in free else r for r in manifest.records)
    manifest = replace(manifest, records=tuple(records))
    rng = np.random.default_rng(seed)
    chosen = replace(chosen, val=np.sort(rng.permutation(chosen.val)[:THRESHOLD_IMAGES]))
    named = manifest if own else relabel(manifest, card.classes, mapping or {})
    targets = np.array([card.classes.index(r.label) for r in named.records], dtype=np.int64)
    rows = np.concatenate([chosen.rows, chosen.val, chosen.train])
    cache = _decoded(manifest, rows, bundle)
    boxes = _boxes(manifest, rows, cache)
    ends = np.cumsum([len(chosen.rows), len(chosen.val), len(chosen.train)]).tolist()
    parts = [slice(0, ends[0]), slice(ends[0], ends[1]), slice(ends[1], ends[2])]
    tests, vals = (
        Boxed(cache.images[part], tuple(boxes[part]), targets[rows[part]]) if part.stop > part.start else None
        for part in parts[:2]
    )
    if tests is None or not tests.boxed.size:
        raise DataError(
            f"none of the {len(chosen.rows):,} images that may be used has a box round a lesion",
            expected="images with boxes, not copies of training images",
            where=manifest.root,
            fix="give data with boxes; `tumorscope audit` shows the copies",
        )
    predictor = Predictor.load(run)
    probs = predictor.probs(predictor.logits(np.array(tests.images)))
    codes = np.unique(groups[chosen.rows], return_inverse=True)[1].astype(np.int64)
    scored = score(
        bundle.model,
        tests,
        probs=probs,
        codes=codes,
        classes=card.classes,
        positive=card.positive_target,
        methods=methods,
        val=vals if vals is not None and vals.boxed.size else None,
        train_boxes=[b for b in boxes[parts[2]] if len(b)] or None,
        seed=seed,
        progress=progress,
    )
    best = max(methods, key=lambda name: scored["sources"][name]["overall"]["energy"]["value"])
    out.mkdir(parents=True, exist_ok=True)
    entries, pictures, heats = gallery(bundle, manifest, chosen.rows, tests, probs=probs, method=best)
    with atomic_path(out / "gallery.npz") as temporary, temporary.open("wb") as handle:
        save_npz(handle, images=pictures, heats=heats)
    content = {
        "format": FORMAT,
        "run": {"recipe": card.recipe, "title": card.title, "bundle": bundle.identity},
        "data": {
            "name": manifest.info.name or manifest.root.name,
            "n": len(chosen.rows),
            "with_boxes": int(tests.boxed.size),
            "what": chosen.what,
            "left_out": chosen.left_out,
        },
        "command": command,
        "score": scored,
        "removal": removal(predictor, tests, codes=codes, seed=seed),
        "curves": curves_of(bundle, predictor, tests, codes=codes, methods=methods, seed=seed, progress=progress),
        "gallery": entries,
    }
    write_json(out / "explanations.json", content)
    return content


def _own(run: Path, manifest: Manifest, copies: Survey) -> _Chosen:
    """The run's test images that share no picture with training or validation."""
    split = load_split(run / "split.json", manifest)
    test, val, train = (split.rows(manifest, part) for part in ("test", "val", "train"))
    parts = [split.assignment.get(r.path) for r in manifest.records]
    twins = np.isin(test, sharing(parts, copies.copies))
    what = "Test images of the run that have no copy in training or validation"
    return _Chosen(test[~twins], val, train, what + ".", {"have a copy in training": int(twins.sum())})


def _other(run: Path, manifest: Manifest, copies: Survey) -> _Chosen:
    """One image of each group of copies, without files and pictures of the run's training data."""
    files, pixels = seen_in_training(run)
    records = manifest.records
    seen = np.array([r.sha256 in files or r.pixels_sha256 in pixels for r in records])
    groups = copies.groups(LIKELY_KINDS)
    seen_groups = set(groups[seen].tolist())
    of_training = np.array([g in seen_groups for g in groups.tolist()])
    first = np.zeros(len(records), dtype=bool)
    first[np.unique(copies.copies, return_index=True)[1]] = True
    chosen = np.flatnonzero(first & ~of_training)
    empty = np.zeros(0, dtype=np.int64)
    left = {
        "same file or pixels in the run's training, or a copy or likely patient of one": int(of_training.sum()),
        "copies of an image that is used": int((~first & ~of_training).sum()),
    }
    what = "Other data: one image of each group of copies. Near copies of training images are found only by way of "
    return _Chosen(chosen, empty, empty, what + "an image that both hold to the byte or pixel.", left)


def _decoded(manifest: Manifest, rows: NDArray[np.int64], bundle: Bundle) -> PixelCache:
    positions = rows.tolist()
    return open_cache(
        [manifest.records[i].pixels_sha256 for i in positions],
        lambda: manifest.pixels(positions),
        bundle.card.preprocessing,
    )


def _boxes(manifest: Manifest, rows: NDArray[np.int64], cache: PixelCache) -> list[Boxes]:
    """Boxes of each image on the network's input."""
    found = []
    for place, row in enumerate(rows.tolist()):
        record = manifest.records[row]
        pixels = boxes_in_pixels(record.boxes, width_px=record.width_px, height_px=record.height_px)
        found.append(boxes_to_input(pixels, cache.geometry(place), size_px=cache.preprocessing.size_px))
    return found
