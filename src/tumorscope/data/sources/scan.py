"""Read, hash and decode every file once, in threads or elsewhere, and remember the answers for the next run.

In: files. Out: for each, in order, a `Scanned` (hashes, size, mode) or the `ImageFault` that excludes it; its
thumbnail goes to the folder's `ThumbStore`, so that the search for copies decodes nothing again. The index lies
under `cache_root()/scan`, one file a data folder, written every few thousand files so that a stopped scan goes on;
an entry counts only while path, size, modification and change time of the file are the same and the decoder is of
the same version. A damaged index is dropped and rebuilt: it only saves time, the reader checks hashes again.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, TypeVar

from tumorscope.core.errors import DataError, ImageFault
from tumorscope.core.files import sha256_bytes
from tumorscope.core.types import ImageRecord, Pixels
from tumorscope.data.copies.descriptors import describe
from tumorscope.data.copies.store import ThumbStore
from tumorscope.data.sources.index import Stamp, read_index, stamp, write_index
from tumorscope.imaging.decode import decode_image, pixels_sha256, read_image_bytes

Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""

KEEP_EVERY = 5000
"""Files after which the index is written, or a tenth of those it holds, so that a stopped scan loses little and the
writing, which is of the whole index, stays a small part of the work."""

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True, slots=True)
class Scanned:
    """What one decoded file is; fields as in `ImageRecord`, with the notes of `Decoded`."""

    sha256: str
    pixels_sha256: str
    width_px: int
    height_px: int
    mode: str
    gray: bool
    notes: tuple[str, ...]


Described = tuple[Scanned, Pixels] | ImageFault
"""One file with its (64, 64) uint8 thumbnail, or why it cannot be used."""
Scan = Callable[[Sequence[Path]], Iterator[Described]]
"""What reads files: one `Described` each, in their order."""


def threaded(function: Callable[[In], Out], items: Iterable[In], *, workers: int = 0) -> Iterator[Out]:
    """`map` in a thread pool: results in order, at most a few items a worker held at a time.

    Args:
        function: Called in worker threads.
        items: Its arguments.
        workers: Number of threads; 0 for one a CPU.
    """
    count = workers or os.cpu_count() or 1
    waiting: deque[Future[Out]] = deque()
    pool = ThreadPoolExecutor(count)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= 8 * count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def scan_here(files: Sequence[Path]) -> Iterator[Described]:
    """Read the files in threads of this process."""
    return threaded(describe_file, files)


def scan_files(
    files: Sequence[Path],
    *,
    root: Path,
    progress: Progress | None = None,
    use_index: bool = True,
    scan: Scan = scan_here,
) -> list[Scanned | ImageFault]:
    """Hashes, size and mode of every file, or why it cannot be used, in the order of `files`.

    Args:
        files: Regular files or links to them.
        root: Data folder: the index is kept by its absolute path.
        progress: Told how far it is.
        use_index: False reads every file again; the index is then rewritten.
        scan: What reads the files that the index does not know.
    """
    known = _known(root) if use_index else {}
    answers: list[Scanned | ImageFault | None] = []
    stamps: list[Stamp | None] = []
    for file in files:
        mark = stamp(file)
        entry = known.get(os.path.abspath(file))
        stamps.append(mark)
        answers.append(entry[1] if entry is not None and mark is not None and entry[0] == mark else None)
    todo = [i for i, answer in enumerate(answers) if answer is None]
    done = len(files) - len(todo)
    next_keep = done + KEEP_EVERY
    if progress:
        progress(done, len(files))
    store = ThumbStore(root)

    def keep() -> None:
        store.flush()
        entries = {
            os.path.abspath(file): (mark, answer)
            for file, mark, answer in zip(files, stamps, answers, strict=True)
            if mark is not None and answer is not None and not _may_pass(answer)
        }
        _remember(root, entries)

    for i, found in zip(todo, scan([files[i] for i in todo]) if todo else (), strict=True):
        if isinstance(found, ImageFault):
            answers[i] = found
        else:
            answers[i], thumb = found
            store.add(found[0].pixels_sha256, thumb)
        done += 1
        if progress:
            progress(done, len(files))
        if done >= next_keep:
            keep()
            next_keep = done + max(KEEP_EVERY, done // 10)
    if todo:
        keep()
    return [answer for answer in answers if answer is not None]


def _may_pass(answer: Scanned | ImageFault) -> bool:
    """True for a refusal by the operating system, which is asked again next time."""
    return isinstance(answer, ImageFault) and answer.reason == "unreadable"


def read_records(root: Path, records: Sequence[ImageRecord]) -> Iterator[Pixels]:
    """The `PixelReader` of every source whose images are files: decoded pixels, in order.

    Raises:
        DataError: A file is gone or its bytes differ from the record's hash.
    """

    def read(record: ImageRecord) -> Pixels:
        try:
            data = read_image_bytes(root / record.path)
            if sha256_bytes(data) != record.sha256:
                raise _changed("has changed since the data was loaded", root, record)
            return decode_image(data, name=record.path).pixels
        except ImageFault as fault:
            raise _changed(f"cannot be read any more ({fault.detail})", root, record) from fault

    return threaded(read, records)


def _changed(what: str, root: Path, record: ImageRecord) -> DataError:
    return DataError(
        f"{record.path} {what}",
        expected=f"the file with SHA-256 {record.sha256[:16]}...",
        where=root / record.path,
        fix="load the data again, so that split, cache and results refer to the files as they are",
    )


def describe_file(file: Path) -> Described:
    """Hashes, size, mode and thumbnail of one file, or why it cannot be used; safe to call from several threads."""
    try:
        data = read_image_bytes(file)
        image = decode_image(data, name=file.name)
    except ImageFault as fault:
        return ImageFault(fault.reason, fault.detail)  # without the traceback, which holds the bytes
    scanned = Scanned(
        sha256_bytes(data),
        pixels_sha256(image.pixels),
        image.width_px,
        image.height_px,
        image.mode,
        image.gray,
        image.notes,
    )
    return scanned, describe(image.pixels)


def _known(root: Path) -> dict[str, tuple[Stamp, Scanned | ImageFault]]:
    """Answers of an earlier scan by absolute path; an entry that cannot be understood drops them all."""
    content = read_index(root)
    try:
        return {path: _from_row(row) for path, row in (content or {}).items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def _from_row(row: Any) -> tuple[Stamp, Scanned | ImageFault]:
    (size, modified, changed), values = row
    mark = (size, modified, changed)
    if len(values) == 2:
        reason, detail = values
        return mark, ImageFault(reason, detail)
    sha256, pixels, width, height, mode, gray, notes = values
    return mark, Scanned(sha256, pixels, width, height, mode, gray, tuple(notes))


def _remember(root: Path, entries: dict[str, tuple[Stamp, Scanned | ImageFault]]) -> None:
    rows = {
        path: [mark, (answer.reason, answer.detail) if isinstance(answer, ImageFault) else astuple(answer)]
        for path, (mark, answer) in entries.items()
    }
    write_index(root, rows)
