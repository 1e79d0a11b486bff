"""Small sealed files under `cache_root()/scan` that let a second load skip work already done.

A file is a line with the SHA-256 of the rest, then JSON. What is damaged, unreadable or of another decoder
version counts as absent: it only saves time.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from tumorscope.core.files import cache_root, sha256_bytes, write_bytes
from tumorscope.imaging.decode import DECODE_VERSION

Stamp = tuple[int, int, int]
"""Size in bytes, modification time and change time in nanoseconds."""

_log = logging.getLogger(__name__)


def stamp(file: Path) -> Stamp | None:
    """What changes when a file is written again, None if it cannot be asked."""
    try:
        status = os.stat(file)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def index_path(place: Path) -> Path:
    """Where the index of a data folder or file lies, by its absolute path."""
    return cache_root() / "scan" / f"{sha256_bytes(os.fsencode(os.path.abspath(place)))[:32]}.json"


def read_index(place: Path) -> Any:
    """The content written for `place`, None if there is none that can be trusted."""
    path = index_path(place)
    try:
        seal, body = path.read_bytes().split(b"\n", 1)
        if seal.decode("ascii") != sha256_bytes(body):
            raise ValueError("checksum differs")
        content = json.loads(body)
        return content["content"] if content["version"] == DECODE_VERSION else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError) as error:
        _log.info("scan index %s dropped: %s", path, error)
        return None


def write_index(place: Path, content: Any) -> None:
    """Keep `content` for `place`; a cache folder that cannot be written to costs time only, and is logged."""
    path = index_path(place)
    body = json.dumps({"version": DECODE_VERSION, "content": content}).encode("ascii")
    try:
        write_bytes(path, sha256_bytes(body).encode("ascii") + b"\n" + body)
    except OSError as error:
        _log.info("scan index %s not written: %s", path, error)
