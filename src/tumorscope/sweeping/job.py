"""What all points of a sweep share: images without the test part, folds, decoded pixels, how steps are computed.

In: a folder that the sweep's parent process filled. Out: a `Job` that each worker process reads once. No file of it
names a test image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tumorscope.core.errors import IntegrityError
from tumorscope.core.files import atomic_path, read_json, save_npz, write_json, write_text
from tumorscope.core.types import Box, DatasetInfo, ImageRecord, Pixels
from tumorscope.data.manifest import Manifest
from tumorscope.imaging.cache import PixelCache, open_cache
from tumorscope.imaging.preprocess import Preprocessing
from tumorscope.sweeping.folds import Folds
from tumorscope.sweeping.space import Space, space_of
from tumorscope.training.plan import Plan
from tumorscope.training.recipe import Recipe, Sweep, load_recipe, to_toml

RECIPE, IMAGES, FOLDS, PLAN = "recipe.toml", "images.json", "folds.npz", "plan.json"


@dataclass(frozen=True)
class Job:
    """What all points share.

    Attributes:
        recipe: Resolved for the data, with its `[sweep]` table.
        manifest: Images of training and validation; worker processes cannot read pixels through it.
        folds: Parts that score a point.
        plan: How steps are computed, measured once.
    """

    recipe: Recipe
    manifest: Manifest
    folds: Folds
    plan: Plan
    _caches: dict[str, PixelCache] = field(default_factory=dict, repr=False, compare=False)

    @property
    def sweep(self) -> Sweep:
        """The recipe's `[sweep]` table."""
        if self.recipe.sweep is None:
            raise AssertionError("the recipe has no sweep")
        return self.recipe.sweep

    @property
    def space(self) -> Space:
        """What is tried."""
        return space_of(self.recipe)

    def cache(self, preprocessing: Preprocessing) -> PixelCache:
        """Decoded pixels of the images for one preparation; opened once a process."""
        if preprocessing.sha256 not in self._caches:
            keys = [r.pixels_sha256 for r in self.manifest.records]
            self._caches[preprocessing.sha256] = open_cache(keys, self.manifest.pixels, preprocessing)
        return self._caches[preprocessing.sha256]

    def save(self, folder: Path) -> None:
        """Write everything into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / RECIPE, to_toml(self.recipe))
        manifest = self.manifest
        write_json(
            folder / IMAGES,
            {
                "root": manifest.root,
                "layout": manifest.layout,
                "summary": manifest.summary,
                "classes": manifest.classes,
                "positive": manifest.positive,
                "info": asdict(manifest.info),
                "records": [list(astuple(r)) for r in manifest.records],
            },
        )
        parts = {f"{i:03}-{name}": rows for i, pair in enumerate(self.folds.parts) for name, rows in _named(pair)}
        with atomic_path(folder / FOLDS) as temporary, temporary.open("wb") as handle:
            save_npz(handle, **parts)
        write_json(folder / PLAN, asdict(self.plan))


def _named(pair: tuple[Any, Any]) -> tuple[tuple[str, Any], ...]:
    return ("train", pair[0]), ("val", pair[1])


def load_job(folder: Path) -> Job:
    """The job in a folder, as `Job.save` wrote it.

    Raises:
        IntegrityError: If a file of it is missing or damaged.
    """
    try:
        raw = read_json(folder / IMAGES)
        with np.load(folder / FOLDS, allow_pickle=False) as stored:
            parts = tuple(
                (stored[f"{i:03}-train"].astype(np.int64), stored[f"{i:03}-val"].astype(np.int64))
                for i in range(len(stored.files) // 2)
            )
        plan = Plan(**read_json(folder / PLAN))
        records = tuple(_record(one) for one in raw["records"])
        manifest = Manifest(
            root=Path(raw["root"]),
            layout=raw["layout"],
            summary=raw["summary"],
            classes=tuple(raw["classes"]),
            positive=raw["positive"],
            records=records,
            exclusions=(),
            findings=(),
            info=DatasetInfo(**raw["info"]),
            inputs=len(records),
            reader=_no_pixels,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"what the points share cannot be read: {type(error).__name__}: {error}",
            where=folder,
            fix="give the same `tumorscope sweep` command again, which writes it anew",
        ) from error
    return Job(load_recipe(str(folder / RECIPE)), manifest, Folds(parts), plan)


def _record(values: list[Any]) -> ImageRecord:
    path, label, split, patient, boxes, *rest = values
    return ImageRecord(path, label, split, patient, tuple(Box(*box) for box in boxes), *rest)


def _no_pixels(root: Path, records: Sequence[ImageRecord]) -> Iterator[Pixels]:
    """Worker processes read decoded pixels only."""
    raise IntegrityError(
        f"the decoded pixels of {len(records):,} images are gone",
        where=root,
        fix="give the same `tumorscope sweep` command again, which decodes them anew",
    )
