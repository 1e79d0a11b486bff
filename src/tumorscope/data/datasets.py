"""Fetch a MedMNIST file once, checked against its official checksum, and find it again by name."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from tumorscope.core.errors import IntegrityError, ResourceError, UsageError
from tumorscope.core.files import CHUNK_BYTES, atomic_path, cache_root
from tumorscope.data.medmnist_catalogue import SIZES_PX, CatalogueEntry, catalogue

TIMEOUT_S = 30.0
_NAME = re.compile(r"^([a-z]+mnist)(?:_(28|64|128|224))?$")


def list_datasets() -> tuple[CatalogueEntry, ...]:
    """Every MedMNIST set in the catalogue, by flag."""
    return tuple(entry for _, entry in sorted(catalogue().items()))


def datasets_folder() -> Path:
    """Where fetched files lie."""
    return cache_root() / "datasets"


def named(name: str) -> tuple[CatalogueEntry, int] | None:
    """Entry and size in pixels of a name such as "breastmnist" or "breastmnist_64", None for other names."""
    match = _NAME.match(name)
    if match is None or match[1] not in catalogue():
        return None
    return catalogue()[match[1]], int(match[2] or 28)


def find(entry: CatalogueEntry, *, size_px: int = 28) -> Path:
    """The fetched file.

    Raises:
        ResourceError: It is not on this machine; says the address and the folder.
    """
    file = datasets_folder() / entry.file_name(size_px)
    if file.is_file():
        return file
    raise ResourceError(
        f"{entry.file_name(size_px)} is not in {datasets_folder()}",
        where=entry.url(size_px),
        fix=f"run `tumorscope datasets fetch {entry.flag} --size {size_px}`, or put the file there yourself",
    )


def fetch(
    flag: str,
    *,
    size_px: int = 28,
    out: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Download one official file and return its path; a file that is already there and right is kept.

    Args:
        flag: Name in the catalogue.
        size_px: 28, 64, 128 or 224.
        out: Folder; the cache by default.
        progress: Called with (bytes done, bytes in all; 0 if unknown).

    Raises:
        UsageError: No such set or size.
        ResourceError: The network or the disk does not allow it; one line with the address and the folder.
        IntegrityError: What came is not the official file; nothing is kept.
    """
    entry = catalogue().get(flag)
    if entry is None:
        raise UsageError(
            f"no data set {flag!r} in the catalogue",
            expected=", ".join(sorted(catalogue())),
            fix="choose one",
        )
    if size_px not in SIZES_PX:
        raise UsageError(f"no size {size_px}", expected=", ".join(map(str, SIZES_PX)), fix="choose one")
    folder = (out or datasets_folder()).expanduser()
    target = folder / entry.file_name(size_px)
    if target.is_file() and _md5(target) == entry.md5[size_px]:
        return target
    url = entry.url(size_px)
    from http.client import HTTPException
    from urllib.error import HTTPError

    try:
        with atomic_path(target) as temporary:
            digest = _download(url, temporary, progress)
            if digest != entry.md5[size_px]:
                raise IntegrityError(
                    f"the file from {url} has MD5 {digest}",
                    expected=f"{entry.md5[size_px]}, the official checksum",
                    where=target,
                    fix="try again; if it stays so, the file was changed on the way or at its source",
                )
    except (HTTPException, OSError) as error:  # URLError and timeouts are OSErrors
        if isinstance(error, HTTPError):
            error.close()
        raise ResourceError(
            f"cannot fetch {url} ({error}); download it elsewhere and put {target.name} into {folder}"
        ) from error
    return target


def _download(url: str, target: Path, progress: Callable[[int, int], None] | None) -> str:
    """MD5 of what was written to `target`."""
    import urllib.request

    digest = hashlib.md5(usedforsecurity=False)
    request = urllib.request.Request(url, headers={"User-Agent": "tumorscope"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply, target.open("wb") as handle:
        total = int(reply.headers.get("Content-Length") or 0)
        free = shutil.disk_usage(target.parent).free
        if total > free:
            raise OSError(f"{total:,} bytes needed, {free:,} free")
        done = 0
        while chunk := reply.read(CHUNK_BYTES):
            handle.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            if progress:
                progress(done, total)
    return digest.hexdigest()


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
