"""Do all nodes see the same files? Asked before the work begins, because a node that does not would find none.

In: some files that will be read, and folders that will be written to. Out: nothing, or an error that names node and
path. Files are compared by length and first bytes; folders by a small file that this process writes into them.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tumorscope.core.errors import ResourceError, TumorscopeError
from tumorscope.core.files import sha256_bytes
from tumorscope.scaling.cluster import Cluster
from tumorscope.scaling.terms import Terms

HEAD_BYTES = 1 << 16
LATE_S = 10.0
"""How long a new file may take to be seen over a network."""


def check_shared(cluster: Cluster, terms: Terms, *, files: Iterable[Path] = (), folders: Iterable[Path] = ()) -> None:
    """Ask every node whether it fits the terms and sees `files` and `folders`.

    Args:
        cluster: The cluster.
        terms: What processes there must be like.
        files: Files that will be read; those that are not here are left out.
        folders: Folders that will be written to, which are made.

    Raises:
        ResourceError: If a node does not see one of them, or cannot work at all.
        IntegrityError: If a node has other versions.
    """
    wanted = [(os.path.abspath(file), mark(os.path.abspath(file))) for file in files]
    wanted = [(file, found) for file, found in wanted if found]
    probes = []
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            probe = Path(os.path.abspath(folder)) / f".tumorscope-probe-{secrets.token_hex(8)}"
            probe.write_bytes(secrets.token_bytes(16))
            probes.append(probe)
        wanted += [(str(probe), mark(str(probe))) for probe in probes]
        names = tuple(name for name, _ in wanted)
        for node, answer in cluster.on_each(look, terms, names).items():
            if isinstance(answer, TumorscopeError):
                raise answer
            for (name, here), there in zip(wanted, answer, strict=True):
                if there != here:
                    raise ResourceError(
                        f"node {node} sees {'another file' if there else 'no file'} at a path of this machine",
                        expected="one shared file system, under the same path on all machines",
                        where=Path(name).parent if Path(name) in probes else name,
                        fix="use a folder on the shared file system (docs/howto/many-machines.md); "
                        "the cache folder is $TUMORSCOPE_CACHE",
                    )
    finally:
        for probe in probes:
            probe.unlink(missing_ok=True)


def some(files: Sequence[Path]) -> list[Path]:
    """The first, a middle and the last of `files`: enough to tell whether a node sees their folder."""
    return [files[i] for i in sorted({0, len(files) // 2, len(files) - 1})] if files else []


def look(terms: Terms, names: tuple[str, ...]) -> list[str] | TumorscopeError:
    """Run on a node: the mark of each file there, "" where it is not seen; or why the node cannot work."""
    try:
        terms.take_up()
    except TumorscopeError as error:
        return error
    end = time.monotonic() + LATE_S
    found = [mark(name) for name in names]
    while "" in found and time.monotonic() < end:
        time.sleep(0.5)
        found = [mark(name) for name in names]
    return found


def mark(name: str) -> str:
    """What tells one file from another: length and hash of its first bytes; "" where it cannot be read."""
    try:
        with open(name, "rb") as handle:
            return f"{os.fstat(handle.fileno()).st_size} {sha256_bytes(handle.read(HEAD_BYTES))}"
    except OSError:
        return ""
