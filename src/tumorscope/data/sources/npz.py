"""Rows of arrays inside an `.npz` file, one at a time: the file may be larger than memory.

Nothing pickled is ever read: an array of objects is refused by its header.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from tumorscope.core.errors import DataError

SMALL_BYTES = 256 << 20
"""An array up to this size is held whole, so that its rows come in any order."""


@dataclass(frozen=True, slots=True)
class ArrayHeader:
    """Shape and type of one member."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row along the first axis."""
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize


@contextmanager
def open_npz(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive at `path`, with whatever is wrong inside it as a DataError."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        ValueError,
        KeyError,
        OSError,
        NotImplementedError,
    ) as error:
        raise DataError(
            f"the array file is damaged: {error}",
            expected="an .npz file as numpy.savez writes it",
            where=path,
            fix="fetch or write the file again",
        ) from error


def member_names(archive: zipfile.ZipFile) -> set[str]:
    """Names of the arrays in the archive."""
    return {name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")}


def read_header(archive: zipfile.ZipFile, member: str) -> ArrayHeader:
    """Shape and type of an array; nothing else of it is read.

    Raises:
        DataError: It holds objects (which only pickle can read) or is in column order.
        ValueError: It is no NumPy array.
    """
    with archive.open(f"{member}.npy") as handle:
        return _header(handle, member)


def rows(archive: zipfile.ZipFile, member: str) -> Iterator[NDArray[Any]]:
    """Each row of an array, in order, read as it is asked for."""
    with archive.open(f"{member}.npy") as handle:
        header = _header(handle, member)
        for number in range(header.shape[0]):
            data = handle.read(header.row_bytes)
            if len(data) != header.row_bytes:
                raise ValueError(f"{member} ends at row {number:,} of {header.shape[0]:,}")
            yield np.frombuffer(data, header.dtype).reshape(header.shape[1:])


def whole(archive: zipfile.ZipFile, member: str) -> NDArray[Any]:
    """A small array at once."""
    with archive.open(f"{member}.npy") as handle:
        header = _header(handle, member)
        data = handle.read()
    if len(data) != header.row_bytes * header.shape[0]:
        raise ValueError(f"{member} has {len(data):,} bytes, {header.row_bytes * header.shape[0]:,} expected")
    return np.frombuffer(data, header.dtype).reshape(header.shape)


class RowReader:
    """Rows of one array by number: in any order if it is small, best in rising order if it is large."""

    def __init__(self, archive: zipfile.ZipFile, member: str) -> None:
        header = read_header(archive, member)
        self._archive, self._member = archive, member
        self._count = header.shape[0]
        small = header.row_bytes * self._count <= SMALL_BYTES
        self._array = whole(archive, member) if small else None
        self._stream: Iterator[NDArray[Any]] = iter(())
        self._next = self._count

    def row(self, number: int) -> NDArray[Any]:
        """Row `number`; a large array is read again from its start if that row has passed."""
        if not 0 <= number < self._count:
            raise ValueError(f"{self._member} has no row {number:,}, it has {self._count:,} rows")
        if self._array is not None:
            small: NDArray[Any] = self._array[number]
            return small
        if number < self._next:
            self._stream, self._next = rows(self._archive, self._member), 0
        while self._next < number:
            next(self._stream)
            self._next += 1
        self._next += 1
        return next(self._stream)


def _header(handle: IO[bytes], member: str) -> ArrayHeader:
    version = npy.read_magic(handle)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, column_order, dtype = read(handle)
    if dtype.hasobject:
        raise DataError(
            f"the array {member!r} holds Python objects",
            expected="numbers: objects are stored as pickle, which can run code and is never read",
            fix="save the array again with a number type such as uint8",
        )
    if not shape or (column_order and len(shape) > 1):
        raise DataError(
            f"the array {member!r} has shape {shape} in {'column' if column_order else 'row'} order",
            expected="one row an image, in row order",
            fix="save it again with numpy.ascontiguousarray",
        )
    return ArrayHeader(tuple(shape), dtype)
