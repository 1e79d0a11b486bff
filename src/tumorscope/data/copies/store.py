"""Thumbnails kept by content, so that an image is decoded once for reading, audit and split together.

One file a data folder, rows of fixed length: SHA-256 of the decoded pixels, the 64 x 64 thumbnail, a checksum. Rows
are only ever added: a stopped run loses nothing that was written, a damaged row is left out and made again.
"""

from __future__ import annotations

import logging
import os
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.files import cache_root, sha256_bytes
from tumorscope.core.types import Pixels
from tumorscope.data.copies.descriptors import SIDE, Thumbs

VERSION = 1
"""Raised whenever `describe` may give another thumbnail for the same pixels."""
_HASH = 32
_THUMB = SIDE * SIDE
_ROW = _HASH + _THUMB + 4
_WAITING = 256

_log = logging.getLogger(__name__)


class ThumbStore:
    """Thumbnails by hash of the decoded pixels.

    Args:
        place: Data folder or file; the store is kept by its absolute path under the cache folder.
    """

    def __init__(self, place: Path) -> None:
        name = sha256_bytes(os.fsencode(os.path.abspath(place)))[:32]
        self.path = cache_root() / "thumbs" / f"{name}.v{VERSION}"
        self._waiting: list[bytes] = []
        self._lock = threading.Lock()

    def add(self, pixels_sha256: str, thumb: Pixels) -> None:
        """Keep one (64, 64) uint8 thumbnail; written in batches, the last one by `flush`."""
        body = bytes.fromhex(pixels_sha256) + thumb.tobytes()
        with self._lock:
            self._waiting.append(body + zlib.crc32(body).to_bytes(4, "little"))
            if len(self._waiting) >= _WAITING:
                self._write()

    def flush(self) -> None:
        """Write what is waiting."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        if not self._waiting:
            return
        data, self._waiting = b"".join(self._waiting), []
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as handle:
                torn = handle.tell() % _ROW  # a write that was cut off: fill its row, the checksum rules it out
                handle.write(bytes(_ROW - torn) * bool(torn) + data)
        except OSError as error:
            _log.info("thumbnails %s not kept: %s", self.path, error)

    def find(self, hashes: Sequence[str], out: Thumbs) -> NDArray[np.bool_]:
        """Fill rows of `out` for the hashes that are kept; returns (N,) bool, which of them were.

        Args:
            hashes: SHA-256 of the decoded pixels of N images.
            out: (N, 64, 64) uint8 array to fill.
        """
        self.flush()
        found = np.zeros(len(hashes), dtype=np.bool_)
        rows = self._rows()
        if rows is None:
            return found
        kept = {rows[i, :_HASH].tobytes(): i for i in range(len(rows))}
        for i, name in enumerate(hashes):
            at = kept.get(bytes.fromhex(name))
            if at is None:
                continue
            row = rows[at].tobytes()
            if zlib.crc32(row[:-4]).to_bytes(4, "little") == row[-4:]:
                out[i] = np.frombuffer(row, np.uint8, _THUMB, _HASH).reshape(SIDE, SIDE)
                found[i] = True
        return found

    def _rows(self) -> NDArray[np.uint8] | None:
        """(M, row length) uint8, mapped from the file; None where there is none."""
        try:
            count = self.path.stat().st_size // _ROW
            return np.memmap(self.path, np.uint8, "r", shape=(count, _ROW)) if count else None
        except OSError:
            return None
