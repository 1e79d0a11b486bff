"""Finished pieces of a long search, kept in a folder so that a stopped search goes on where it was.

In: what a piece was made from, and its arrays. Out: the arrays again. A piece is found by the content it was made
from, never by its place in the work: one of another data set, or a damaged one, is not found and made again.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.files import atomic_path, save_npz, sha256_bytes, sha256_value

VERSION = 1
"""Raised whenever the same content may give other pieces."""

_log = logging.getLogger(__name__)


class Pieces:
    """Pieces of work on one set of images.

    Args:
        folder: Where they are kept; None to keep nothing.
        content: What all pieces are made from, as a hash.
    """

    def __init__(self, folder: Path | None = None, content: str = "") -> None:
        self.folder = folder
        self._content = content

    def key(self, stage: str, *of: NDArray[Any] | int) -> str:
        """Name of the piece of `stage` that is made from the arrays and numbers `of`; "" if nothing is kept."""
        if self.folder is None:
            return ""
        parts = [p if isinstance(p, int) else sha256_bytes(np.ascontiguousarray(p).tobytes()) for p in of]
        return sha256_value([VERSION, self._content, stage, parts])

    def load(self, key: str) -> dict[str, NDArray[Any]] | None:
        """The arrays of a piece; None if it is not kept, or not whole."""
        if self.folder is None:
            return None
        path = self._path(self.folder, key)
        try:
            with path.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            return arrays if arrays.pop("key").tolist() == [key] else None
        except FileNotFoundError:
            return None
        except Exception as error:  # a damaged archive raises many kinds; it is made again
            _log.info("piece %s dropped: %s", path, error)
            return None

    def save(self, key: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Keep a piece, all of it or nothing; a folder that cannot be written to keeps nothing."""
        if self.folder is None:
            return
        path = self._path(self.folder, key)
        try:
            with atomic_path(path) as temporary, temporary.open("wb") as handle:
                save_npz(handle, key=np.array([key]), **arrays)
        except OSError as error:
            _log.info("piece %s not kept: %s", path, error)

    def clear(self) -> None:
        """Remove every piece, unfinished and foreign ones too, and the folder if nothing else is in it."""
        if self.folder is None:
            return
        try:
            for path in (*self.folder.glob("piece-*.npz"), *self.folder.glob(".piece-*.npz.*")):
                path.unlink(missing_ok=True)
            if self.folder.is_dir() and not any(self.folder.iterdir()):
                self.folder.rmdir()
        except OSError as error:
            _log.info("pieces in %s not removed: %s", self.folder, error)

    @staticmethod
    def _path(folder: Path, key: str) -> Path:
        return folder / f"piece-{key[:24]}.npz"
