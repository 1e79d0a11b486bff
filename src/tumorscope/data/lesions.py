"""Boxes that surround a lesion, apart from those that public sets draw round the head of a scan without one.

In: a manifest with boxes. Out: the same manifest, with the boxes of lesion-free classes left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tumorscope.data.manifest import Manifest

LESION_FREE = ("no", "no tumor", "no tumour", "notumor", "no_tumor", "normal", "healthy", "none", "negative")
"""Class names, folded, whose boxes do not surround a lesion (the head, in the public boxes set)."""


def lesion_boxes(manifest: Manifest, lesion_free: Sequence[str] = ()) -> Manifest:
    """The manifest without boxes on images of classes named so, or in `lesion_free`; upper and lower case are equal."""
    free = {name.casefold() for name in (*LESION_FREE, *lesion_free)}
    records = (replace(r, boxes=()) if r.label.casefold() in free else r for r in manifest.records)
    return replace(manifest, records=tuple(records))
