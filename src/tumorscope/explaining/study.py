"""Score a run's heatmaps on data with boxes: which images, which boxes, and everything the page shows.

In: a run and its data (then its test images without a copy in training are taken), or other data with boxes (then
one image of each group of copies, without files of the training data). Out: `explanations.json` and `gallery.npz`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.bundle.bundle import Bundle, load_bundle
from tumorscope.bundle.predictor import Predictor
from tumorscope.core.errors import DataError, UsageError
from tumorscope.core.files import atomic_path, read_json, save_npz, write_json
from tumorscope.data.copies.survey import survey
from tumorscope.data.lesions import lesion_boxes
from tumorscope.data.manifest import Manifest
from tumorscope.data.relabel import relabel
from tumorscope.data.splitting import groups_of
from tumorscope.evaluation.resampling import Floats
from tumorscope.explaining.asking import Report, Subject
from tumorscope.explaining.choosing import other_images, own_images
from tumorscope.explaining.cohort import Cohort
from tumorscope.explaining.gallery import gallery
from tumorscope.explaining.measuring import Boxed
from tumorscope.explaining.methods import fast_methods, method_named
from tumorscope.explaining.removal import curves_of, removal, take_away
from tumorscope.explaining.score import score
from tumorscope.explaining.shuffled import shuffled_model
from tumorscope.explaining.sources import References
from tumorscope.explaining.values import write_values
from tumorscope.imaging.boxes import Boxes, boxes_in_pixels, boxes_to_input
from tumorscope.imaging.cache import PixelCache, open_cache

THRESHOLD_IMAGES, THRESHOLD_IMAGES_SLOW = 128, 16
"""Validation images that thresholds are chosen on, drawn by the seed: each source makes a map of each."""
SLOW_BOXED, SLOW_FREE = 32, 8
"""Images with boxes and without that slow methods, of tens of passes a map, are scored on."""
SHUFFLED = "shuffled labels"
FORMAT = 1


def study(
    run: Path,
    manifest: Manifest,
    *,
    out: Path,
    command: str,
    methods: Sequence[str] = (),
    mapping: Mapping[str, str] | None = None,
    lesion_free: Sequence[str] = (),
    shuffled: Path | None = None,
    trained_on: Manifest | None = None,
    seed: int = 0,
    progress: Report | None = None,
) -> dict[str, Any]:
    """Score and write `explanations.json` and `gallery.npz` into `out`.

    Where a slow method is among `methods`, all of them are scored on a part of the images, drawn by `seed`: 32 with
    boxes and 8 without. The account says so.

    Args:
        run: Run folder.
        manifest: The run's own data, or other data; with boxes.
        out: Folder to write into.
        command: The command that makes it again.
        methods: Names in `METHODS` of `explaining.methods`.
        mapping: Class names of other data that the model calls otherwise.
        lesion_free: Further classes whose boxes surround no lesion.
        shuffled: A run of the same recipe with `train.control = "permuted-labels"`: one more model that knows nothing.
        trained_on: With other data: the run's own, so that near copies of its training images are left out.
        seed: Of everything random.
        progress: Called with (what, done, total).

    Returns:
        The content of `explanations.json`.

    Raises:
        DataError: If no image that may be used has a box, or classes do not match.
        UsageError: For an unknown method, for `trained_on` beside the run's own data, or if `shuffled` is no such run
            or takes other images or classes.
        IntegrityError: If a bundle is damaged.
    """
    bundle = load_bundle(run)
    card, subject = bundle.card, Subject.of(bundle)
    methods = tuple(methods) or fast_methods(bundle.model)
    checked = [method_named(name, bundle.model) for name in methods]
    slow = any(method.slow for method in checked)
    others: dict[str, Subject] = {}
    differences: list[str] = []
    if shuffled is not None:
        others[SHUFFLED], differences = shuffled_model(shuffled, run, bundle)
    own = read_json(run / "run.json")["hashes"]["data"] == manifest.sha256
    if own and trained_on is not None:
        raise UsageError(
            "the data to score on is what the run was trained on",
            expected="--trained-on beside other data only",
            where="--trained-on",
            fix="leave it out: the run's own test images without a copy in training are taken",
        )
    copies = survey(manifest)
    if own:
        chosen = own_images(run, manifest, copies)
    else:
        chosen = other_images(run, manifest, copies, seed=seed, trained_on=trained_on)
    groups = groups_of(manifest, copies)
    manifest = lesion_boxes(manifest, lesion_free)
    rng = np.random.default_rng(seed)
    thresholds = THRESHOLD_IMAGES_SLOW if slow else THRESHOLD_IMAGES
    with_boxes = chosen.val[[bool(manifest.records[i].boxes) for i in chosen.val.tolist()]]
    chosen = replace(chosen, val=np.sort(rng.permutation(with_boxes)[:thresholds]))
    if slow:
        kept = _part([bool(manifest.records[i].boxes) for i in chosen.rows.tolist()], rng)
        reason = f"not drawn; slow methods are scored on {SLOW_BOXED} images with boxes and {SLOW_FREE} without"
        left_out = chosen.left_out | {reason: len(chosen.rows) - len(kept)}
        chosen = replace(chosen, rows=chosen.rows[kept], left_out=left_out)
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
    cohort = Cohort(tests, probs=probs, codes=codes, seed=seed)
    values: dict[str, Mapping[str, Floats]] = {}
    scored = score(
        subject,
        cohort,
        methods=methods,
        values=values,
        references=References(
            val=vals if vals is not None and vals.boxed.size else None,
            train_boxes=[b for b in boxes[parts[2]] if len(b)] or None,
            others=others,
        ),
        progress=progress,
    )
    taken = take_away(predictor, cohort)
    values |= {name: {"accuracy": right} for name, right in taken.boxed.items()}
    out.mkdir(parents=True, exist_ok=True)
    entries, pictures, heats = gallery(
        subject,
        cohort,
        manifest=manifest,
        rows=chosen.rows,
        own=card.preprocessing,
        method=scored["best"],
        progress=progress,
    )
    with atomic_path(out / "gallery.npz") as temporary, temporary.open("wb") as handle:
        save_npz(handle, images=pictures, heats=heats)
    write_values(out / "values.csv", manifest, chosen.rows, cohort, values)
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
        "shuffled": None if shuffled is None else {"differences": differences},
        "removal": removal(taken, cohort, classes=card.classes),
        "curves": curves_of(subject, predictor, cohort, methods=methods, progress=progress),
        "gallery": entries,
    }
    write_json(out / "explanations.json", content)
    return content


def _part(boxed: Sequence[bool], rng: np.random.Generator) -> NDArray[np.int64]:
    """Positions of 32 images with boxes and 8 without, drawn; all of those there are fewer of."""
    has = np.array(boxed, dtype=bool)
    drawn = [rng.permutation(np.flatnonzero(found))[:n] for found, n in ((has, SLOW_BOXED), (~has, SLOW_FREE))]
    return np.sort(np.concatenate(drawn)).astype(np.int64)


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
