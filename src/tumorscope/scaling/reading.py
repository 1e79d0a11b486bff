"""Reading for `audit` on a cluster: files in blocks, hashes and thumbnails back in order.

In: files that the index of the data folder does not know. Out: what `scan_files` keeps: index and thumbnails are
written by the asking process alone, so that the audit finds them as if it had read the files itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from tumorscope.core.errors import ImageFault, TumorscopeError
from tumorscope.data.copies.descriptors import SIDE, Thumbs
from tumorscope.data.load import load
from tumorscope.data.manifest import Manifest
from tumorscope.data.sources.scan import Described, Progress, Scan, Scanned, describe_file
from tumorscope.scaling.cluster import Cluster
from tumorscope.scaling.connect import connected
from tumorscope.scaling.shared import check_shared, some
from tumorscope.scaling.terms import Terms, terms

FILES = 64
"""Files of a block: 260 kB of thumbnails, about half a second of work."""


@dataclass(frozen=True, slots=True)
class Block:
    """What one block of files holds.

    Attributes:
        rows: Fields of `Scanned`, or of `ImageFault` where a file cannot be used.
        thumbs: (N, 64, 64) uint8, black where a file cannot be used.
    """

    rows: list[tuple[Any, ...]]
    thumbs: Thumbs


def load_on(
    address: str,
    data: str,
    *,
    positive: str | None = None,
    progress: Progress | None = None,
    console: Console | None = None,
) -> Manifest:
    """The manifest of the data at a path, its image files read on a cluster; arguments as for `load`.

    Raises:
        DataError: As `load` does.
        UsageError: For an address that is none.
        ResourceError: If Ray is missing, or the cluster does not answer or does not see the files.
    """
    with connected(address, console=console) as cluster:
        return load(data, positive=positive, progress=progress, scan=scanning(cluster))


def scanning(cluster: Cluster) -> Scan:
    """What reads files on the cluster."""

    def scan(files: Sequence[Path]) -> Iterator[Described]:
        asked = terms()
        check_shared(cluster, asked, files=some(files))
        names = [os.path.abspath(file) for file in files]
        blocks = (tuple(names[start : start + FILES]) for start in range(0, len(names), FILES))
        rest = iter(files)
        for block in cluster.in_order(read_block, asked, blocks):
            for values, thumb in zip(block.rows, block.thumbs, strict=True):
                file = next(rest)
                if len(values) > 2:
                    yield Scanned(*values), thumb
                elif values[0] == "unreadable":
                    yield describe_file(file)  # a node may see less than this machine: what counts is said here
                else:
                    yield ImageFault(*values)

    return scan


def read_block(asked: Terms, names: tuple[str, ...]) -> Block | TumorscopeError:
    """Run on a node: hashes, sizes and thumbnails of files, or why there are none."""
    try:
        asked.take_up()
    except TumorscopeError as error:
        return error
    rows: list[tuple[Any, ...]] = []
    thumbs = np.zeros((len(names), SIDE, SIDE), np.uint8)
    for i, name in enumerate(names):
        found = describe_file(Path(name))
        if isinstance(found, ImageFault):
            rows.append((found.reason, found.detail))
        else:
            rows.append(astuple(found[0]))
            thumbs[i] = found[1]
    return Block(rows, thumbs)
