"""What every process that works on a cluster must be like, so that it answers as the one that asks would.

In: made by the asking process. Out: taken up once by each process there: variables set before torch is imported, one
thread each, the same versions of what numbers depend on.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tumorscope.core.errors import IntegrityError, ResourceError
from tumorscope.core.files import cache_root
from tumorscope.core.machine import versions
from tumorscope.core.waiting import WAITING

ONE = "1"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Terms:
    """What a process there must be like.

    Attributes:
        versions: Names and versions of what numbers depend on.
        environment: Variables and their values.
        folder: Folder to work in, for names that are relative to it; "" for any.
    """

    versions: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, str], ...]
    folder: str = ""

    def take_up(self) -> None:
        """Make the running process like this; does nothing the second time.

        Raises:
            IntegrityError: If it has other versions.
            ResourceError: If the folder is not there.
        """
        _take_up(self)


def terms(*, shared_cache: bool = False, folder: Path | None = None) -> Terms:
    """The terms of this process.

    Args:
        shared_cache: The cache folder of this process is that of all, and all of them see it.
        folder: Folder to work in.
    """
    environment = {**WAITING, "ORT_DISABLE_TELEMETRY": ONE, **dict.fromkeys(THREADS, ONE)}
    if shared_cache or "TUMORSCOPE_CACHE" in os.environ:
        environment["TUMORSCOPE_CACHE"] = os.path.abspath(cache_root())
    return Terms(tuple(versions().items()), tuple(environment.items()), "" if folder is None else str(folder))


@lru_cache(maxsize=4)
def _take_up(asked: Terms) -> None:
    here = versions()
    other = [
        f"{name} {here.get(name)} (asked for: {value})" for name, value in asked.versions if here.get(name) != value
    ]
    if other:
        raise IntegrityError(
            f"a node has other versions: {', '.join(other)}",
            expected="one environment on all machines: the same packages give the same answers",
            where=os.uname().nodename,
            fix="install the same constraints file everywhere, or share one environment over the network",
        )
    os.environ.update(asked.environment)
    if asked.folder:
        try:
            os.chdir(asked.folder)
        except OSError as error:
            raise ResourceError(
                f"a node does not see the working folder: {error.strerror}",
                expected="a folder that all nodes see, or absolute names of files",
                where=asked.folder,
                fix="give absolute names, or start from a shared folder",
            ) from error
