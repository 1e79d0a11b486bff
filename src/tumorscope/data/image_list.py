"""`images.csv` of a run: which image was in which part, with its hashes, so that later data can be held against it."""

from __future__ import annotations

import csv
from pathlib import Path

from tumorscope.core.files import atomic_path
from tumorscope.data.manifest import Manifest
from tumorscope.data.split import Split

IMAGE_COLUMNS = ("path", "part", "label", "patient", "sha256", "pixels_sha256")


def write_images(path: Path, manifest: Manifest, split: Split) -> None:
    """`images.csv` of a run: which image was in which part, with its hashes."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(IMAGE_COLUMNS)
        for r in manifest.records:
            part = split.assignment.get(r.path, "")
            name = r.path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            writer.writerow([name, part, r.label, r.patient or "", r.sha256, r.pixels_sha256])


def seen_in_training(run: Path) -> tuple[set[str], set[str]]:
    """File hashes and pixel hashes of a run's train and val images."""
    files: set[str] = set()
    pixels: set[str] = set()
    with (run / "images.csv").open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            if row["part"] in ("train", "val"):
                files.add(row["sha256"])
                pixels.add(row["pixels_sha256"])
    return files, pixels
