"""Data in a model's class names and order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tumorscope.core.errors import DataError, UsageError
from tumorscope.data.manifest import Manifest


def relabel(manifest: Manifest, classes: tuple[str, ...], mapping: Mapping[str, str]) -> Manifest:
    """The manifest in a model's class names and order.

    Args:
        manifest: External data.
        classes: The model's classes.
        mapping: From the data's class names to the model's, for those that differ.

    Raises:
        DataError: If a class of the data is none of the model's; names both lists.
    """
    strangers = sorted(set(mapping) - set(manifest.classes))
    if strangers:
        raise UsageError(
            f"--map names classes that the data does not have: {strangers}",
            expected=f"some of {list(manifest.classes)}",
            where="--map",
            fix="write 'DATA NAME=MODEL NAME'",
        )
    names = {label: mapping.get(label, label) for label in manifest.classes}
    folded = {c.casefold(): c for c in classes}
    names = {label: name if name in classes else folded.get(name.casefold(), name) for label, name in names.items()}
    unknown = sorted(label for label, name in names.items() if name not in classes)
    if unknown:
        raise DataError(
            f"the data has classes the model does not know: {unknown}",
            expected=f"the model's classes {list(classes)}",
            where=manifest.root,
            fix="map them: --map 'no tumor=notumor' for each, or evaluate on matching data",
        )
    records = tuple(replace(r, label=names[r.label]) for r in manifest.records)
    return replace(manifest, records=records, classes=classes, positive=None)
