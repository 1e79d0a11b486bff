"""Finds copies among medical images: exact, re-encoded, mirrored, turned, cropped, or of the same patient.

Usage: `thumbs = describe_many(images, count=n)`, `pairs = find_copies(CopyItems(thumbs, sha256, pixels))`,
`groups = group(n, pairs)`.
"""

from tumorscope.data.copies.descriptors import describe, describe_many
from tumorscope.data.copies.find import CopyItems, find_copies
from tumorscope.data.copies.groups import COPY_KINDS, CopyKind, Pair, group

__all__ = [
    "COPY_KINDS",
    "CopyItems",
    "CopyKind",
    "Pair",
    "describe",
    "describe_many",
    "find_copies",
    "group",
]
