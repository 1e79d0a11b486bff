"""Pairs of images that belong together, and the groups they form."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

CopyKind: TypeAlias = Literal["exact", "pixels", "near", "patient-likely"]
COPY_KINDS: tuple[CopyKind, ...] = ("exact", "pixels", "near")
"""The kinds that are copies of one picture; "patient-likely" is not."""


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """Two images that belong together.

    Attributes:
        a: Position of the first image, smaller than `b`.
        b: Position of the second.
        kind: "exact" (same file), "pixels" (same decoded picture), "near" (the same picture after re-encoding,
            resizing, change of brightness, small crop, shift or rotation, quarter turns, mirroring),
            "patient-likely" (another picture of the same person, such as a neighbouring slice of the volume).
        score: 0..1, the share of the textured area where the registered pictures agree; 1 for identical ones.
        mirrored: True if b shows a mirrored.
        rotation_deg: Counter-clockwise turn, -180..180, that leads from a (mirrored left to right first, if
            mirrored) to b. Approximate for pictures that are not square.
    """

    a: int
    b: int
    kind: CopyKind
    score: float
    mirrored: bool = False
    rotation_deg: float = 0.0


def group(n: int, pairs: Iterable[Pair], *, kinds: Collection[CopyKind] = COPY_KINDS) -> NDArray[np.int64]:
    """(n,) int64 group number of every image: images joined by a chain of pairs of `kinds` share one.

    Groups are numbered from 0 in the order of their first image; an image without pairs is a group of one.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    chosen = [(p.a, p.b) for p in pairs if p.kind in kinds]
    rows, cols = np.array(chosen, dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(chosen), np.int8), (rows, cols)), shape=(n, n))
    _, labels = connected_components(graph, directed=False)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]
