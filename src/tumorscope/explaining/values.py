"""Every score of every image as a table, so that two studies of the same images can be compared image by image.

In: a cohort and its values. Out: `values.csv`; and, read back, the paired difference of two such tables.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.errors import DataError
from tumorscope.core.files import write_text
from tumorscope.core.types import Estimate
from tumorscope.data.manifest import Manifest
from tumorscope.evaluation.cells import escape_cell
from tumorscope.evaluation.resampling import Floats
from tumorscope.evaluation.shares import mean_gap
from tumorscope.explaining.cohort import Cohort, renumbered


def write_values(
    path: Path, manifest: Manifest, rows: NDArray[np.int64], cohort: Cohort, table: Mapping[str, Mapping[str, Floats]]
) -> None:
    """One line for each value of an image with a box, so that two studies of the same images can be paired.

    Args:
        path: CSV file with the columns path, label, group, name, measure, value.
        manifest: Gives paths and labels.
        rows: (n,) positions of the cohort's images in it.
        cohort: The images.
        table: Name of heat or of a change of the picture to measure to (m,) values.
    """
    boxed = cohort.rows.boxed
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("path", "label", "group", "name", "measure", "value"))
    for name, measures in table.items():
        for measure, values in measures.items():
            for place, value in zip(boxed.tolist(), values.tolist(), strict=True):
                record = manifest.records[int(rows[place])]
                group = int(cohort.codes[place])
                cells = (escape_cell(record.path), escape_cell(record.label), group, name, measure, f"{value:.6g}")
                writer.writerow(cells)
    write_text(path, buffer.getvalue())


def paired(first: Path, second: Path, *, name: str, measure: str, seed: int = 0) -> tuple[Estimate, int]:
    """Mean of the first table's values minus the second's, image by image, with a 95% interval by group.

    Args:
        first: CSV file of `write_values`.
        second: Another, of the same images.
        name: Name of heat or of a change of the picture.
        measure: Measure of it.
        seed: Of the resamples.

    Returns:
        The estimate, and the number of images.

    Raises:
        DataError: If the two tables do not hold the same images with that measure.
    """
    one, other = (_column(path, name, measure) for path in (first, second))
    if not one or one.keys() != other.keys():
        raise DataError(
            f"{measure} of {name!r} is known of {len(one)} and of {len(other)} images, of which "
            f"{len(one.keys() & other.keys())} are the same",
            expected="two studies of the same images",
            where=f"{first}, {second}",
            fix="score both runs on the same data, by the same methods",
        )
    paths = sorted(one)
    labels = sorted({one[path][0] for path in paths})
    targets = np.array([labels.index(one[path][0]) for path in paths], dtype=np.int64)
    codes = renumbered(np.array([one[path][1] for path in paths], dtype=np.int64))
    values = [np.array([table[path][2] for path in paths]) for table in (one, other)]
    return mean_gap(values[0], values[1], codes=codes, targets=targets, seed=seed), len(paths)


def _column(path: Path, name: str, measure: str) -> dict[str, tuple[str, int, float]]:
    """Path of an image to its label, group and value."""
    with path.open(encoding="utf-8", newline="") as handle:
        rows = [r for r in csv.DictReader(handle) if (r["name"], r["measure"]) == (name, measure)]
    return {r["path"]: (r["label"], int(r["group"]), float(r["value"])) for r in rows}
