"""Export a run for another runtime, and say what 8-bit integers cost on its validation images.

In: a run or bundle, and for 8 bits the run's data. Out: the export folder; with 8 bits the accuracy on validation
before and after. Ranges of activations are found on training images; test is not opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from tumorscope.bundle.bundle import Card, load_bundle
from tumorscope.bundle.export import ExportFormat, export_bundle
from tumorscope.bundle.exported import load_export
from tumorscope.bundle.int8 import Int8Change, int8_change
from tumorscope.bundle.predictor import Predictor
from tumorscope.core.errors import UsageError
from tumorscope.core.files import read_json, write_json
from tumorscope.core.screen import bar
from tumorscope.data.manifest import Manifest
from tumorscope.data.split import load_split
from tumorscope.imaging.cache import open_cache

CALIBRATION_IMAGES = 128
"""Training images that activation ranges are found on."""


@dataclass(frozen=True, slots=True)
class Int8Report:
    """What 8 bits cost.

    Attributes:
        change: On the run's validation images.
    """

    change: Int8Change

    def sentence(self) -> str:
        """For the screen."""
        before, after, gap = self.change.float32, self.change.int8, self.change.difference
        return (
            f"validation, n = {self.change.n:,}: accuracy {before.value:.3f} in float32, {after.value:.3f} in 8 bits, "
            f"difference {gap.value:+.3f} (95% {gap.low:+.3f} to {gap.high:+.3f}); "
            f"{self.change.changed:.1%} of the predictions changed"
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-able."""
        return self.change.to_json()


def export_model(
    folder: Path,
    form: str,
    *,
    out: Path,
    int8: bool = False,
    manifest: Manifest | None = None,
    console: Console | None = None,
) -> Int8Report | None:
    """Write the export; see `tumorscope.export` for arguments and errors."""
    kind = cast(ExportFormat, form)
    if not int8:
        export_bundle(folder, out, kind=kind)
        return None
    if manifest is None or not (folder / "split.json").is_file():
        raise UsageError(
            "8-bit integers without the images to set their ranges on",
            expected="a run folder, and its data",
            where="--int8",
            fix="give the run (not its bundle alone) and --data with the data it was trained on",
        )
    split = load_split(folder / "split.json", manifest)
    rng = np.random.default_rng(0)
    train = split.rows(manifest, "train")
    chosen = {"train": np.sort(rng.permutation(train)[:CALIBRATION_IMAGES]), "val": split.rows(manifest, "val")}
    card = load_bundle(folder).card
    console = console or Console(quiet=True)
    images = {part: _prepared(manifest, rows, card, console) for part, rows in chosen.items()}
    export_bundle(folder, out, kind=kind, calibration=images["train"])
    groups = np.array([split.groups.get(manifest.records[i].path, -1 - i) for i in chosen["val"].tolist()])
    targets = np.array([card.classes.index(manifest.classes[t]) for t in manifest.targets[chosen["val"]].tolist()])
    report = Int8Report(
        int8_change(
            Predictor.load(folder).logits(images["val"]),
            load_export(out).logits(images["val"]),
            targets=targets,
            codes=np.unique(groups, return_inverse=True)[1].astype(np.int64),
        )
    )
    content = read_json(out / "export.json")
    write_json(out / "export.json", {**content, "int8_on_validation": report.to_json()})
    return report


def _prepared(manifest: Manifest, rows: NDArray[np.int64], card: Card, console: Console) -> NDArray[np.uint8]:
    """(k, C, S, S) preprocessed images at `rows`."""
    positions = rows.tolist()
    with bar(console, "decode") as progress:
        cache = open_cache(
            [manifest.records[i].pixels_sha256 for i in positions],
            lambda: manifest.pixels(positions),
            card.preprocessing,
            progress=progress,
        )
    return np.array(cache.images)
