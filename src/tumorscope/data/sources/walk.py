"""Find every file under a folder without ever going round in circles, and say of each why it is left out.

In: the data folder and a folder in it. Out: a `Listing`: files worth decoding, exclusions, links that leave
the data folder. Paths are POSIX and relative to the data folder, spelled as found (blanks, newlines and
undecodable bytes stay). A folder link is followed unless it leads above itself or to a folder already read.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tumorscope.core.types import Exclusion
from tumorscope.imaging.formats import IMAGE_SUFFIXES

_OTHER_FILES = """
.txt .csv .tsv .json .jsonl .xml .yaml .yml .toml .ini .cfg .md .rst .rtf .pdf .html .htm .css .js
.url .lnk .log .doc .docx .xls .xlsx .ppt .pptx .py .ipynb .m .r .sh .bat .db .zip .rar .7z .tar
.mp4 .avi .mov .wav .npz .npy .pkl .h5 .hdf5 .parquet .pt .pth .onnx .safetensors
"""
NOT_A_SCAN_SUFFIXES = frozenset(_OTHER_FILES.split())
"""Extensions that are no scan by name. Everything else is opened: the bytes decide what it is."""

SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini", "readme", "license", "licence", "checksums"})


@dataclass(slots=True)
class Listing:
    """What a walk found; `files` and `outside` are relative paths, `faults` are inputs that are not used."""

    files: list[str] = field(default_factory=list)
    faults: list[Exclusion] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def add(self, other: Listing) -> None:
        """Append what `other` found."""
        self.files += other.files
        self.faults += other.faults
        self.outside += other.outside

    def fault(self, path: str, reason: str, detail: str) -> None:
        """List `path` as not used."""
        self.faults.append(Exclusion(path, reason, detail))


@dataclass(frozen=True, slots=True)
class Entries:
    """Names in one folder by kind, each sorted; links are in `links` only if they lead to a folder."""

    folders: tuple[str, ...]
    links: tuple[str, ...]
    files: tuple[str, ...]
    faults: tuple[Exclusion, ...]


def is_hidden(name: str) -> bool:
    """True for dot files and dot folders, and for the folder that macOS puts into archives."""
    return name.startswith(".") or name == "__MACOSX"


def is_image_name(name: str) -> bool:
    """True if the extension is that of a format that is read."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def is_scan_name(name: str) -> bool:
    """False for notes, tables and system files, by extension or name."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix not in NOT_A_SCAN_SUFFIXES and name.lower() not in SYSTEM_FILES


def join(folder: str, name: str) -> str:
    """`folder/name`, or `name` in the data folder itself (folder "")."""
    return f"{folder}/{name}" if folder else name


def entries(root: Path, folder: str) -> Entries:
    """Names in `root/folder` by kind; broken links, pipes and the like come as faults."""
    folders: list[str] = []
    links: list[str] = []
    files: list[str] = []
    faults: list[Exclusion] = []
    place = os.path.join(root, folder) if folder else os.fspath(root)
    try:
        with os.scandir(place) as handle:
            found = sorted(handle, key=lambda entry: entry.name)
    except OSError as error:
        return Entries((), (), (), (Exclusion(folder or ".", "unreadable", error.strerror or "folder refused"),))
    for entry in found:
        path = join(folder, entry.name)
        try:
            mode = entry.stat(follow_symlinks=True).st_mode
        except OSError as error:
            faults.append(_stat_fault(path, error))
            continue
        if stat.S_ISDIR(mode):
            (links if entry.is_symlink() else folders).append(entry.name)
        elif stat.S_ISREG(mode):
            files.append(entry.name)
        else:
            faults.append(Exclusion(path, "unreadable", "a pipe, socket or device, not a file"))
    return Entries(tuple(folders), tuple(links), tuple(files), tuple(faults))


def _stat_fault(path: str, error: OSError) -> Exclusion:
    if error.errno == errno.ELOOP:
        return Exclusion(path, "symlink-loop", "a link that leads to itself")
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return Exclusion(path, "symlink-broken", "the target of the link does not exist")
    return Exclusion(path, "unreadable", error.strerror or type(error).__name__)


def is_above(target: str, folder: str) -> bool:
    """True if the real folder `target` is `folder` or lies above it."""
    return folder == target or folder.startswith(target.rstrip(os.sep) + os.sep)


def walk(root: Path, folder: str, *, leave_out: frozenset[str] = frozenset()) -> Listing:
    """Every file under `root/folder`, each in exactly one of `files` and `faults`.

    Args:
        root: Data folder.
        folder: Relative folder to read; may itself be a link.
        leave_out: Relative folders below it that are no part of the images (such as `labels`).
    """
    listing = Listing()
    home = os.path.realpath(root)
    seen: set[str] = set()
    queue: deque[str] = deque([folder])
    later: deque[str] = deque()
    while queue or later:
        if queue:
            here = queue.popleft()
            real = os.path.realpath(os.path.join(root, here))
        else:
            here = later.popleft()
            real = os.path.realpath(os.path.join(root, here))
            above = os.path.realpath(os.path.join(root, os.path.dirname(here)))
            if is_above(real, above):
                listing.fault(here, "symlink-loop", "the link leads to a folder above itself")
                continue
            if real in seen:
                listing.fault(here, "symlink-loop", "the link leads to a folder that is read already")
                continue
        seen.add(real)
        found = entries(root, here)
        listing.faults += found.faults
        for name in found.files:
            _take(listing, join(here, name), root=root, home=home, real=real)
        for name in (*found.folders, *found.links):
            path = join(here, name)
            if path in leave_out:
                continue
            if is_hidden(name):
                listing.add(walk_hidden(root, path))
            else:
                (queue if name in found.folders else later).append(path)
    listing.files.sort()
    return listing


def walk_hidden(root: Path, folder: str, *, images_only: bool = False) -> Listing:
    """Every file under a hidden folder as an exclusion; links to folders are not followed."""
    listing = Listing()
    queue = deque([folder])
    if os.path.islink(os.path.join(root, folder)):
        listing.fault(folder, "hidden", "a hidden link to a folder")
        return listing
    while queue:
        here = queue.popleft()
        found = entries(root, here)
        for name in (*found.files, *found.links):
            if not images_only or is_image_name(name):
                listing.fault(join(here, name), "hidden", f"inside {folder}")
        if not images_only:
            listing.faults += found.faults
        queue.extend(join(here, name) for name in found.folders)
    return listing


def _take(listing: Listing, path: str, *, root: Path, home: str, real: str) -> None:
    """List one regular file; `real` is the real path of its folder, `home` that of the data folder."""
    name = path.rpartition("/")[2]
    if is_hidden(name):
        listing.fault(path, "hidden", "a hidden file")
    elif not is_scan_name(name):
        listing.fault(path, "not-a-scan", f"{PurePosixPath(name).suffix or name} is no image by its name")
    else:
        listing.files.append(path)
        full = os.path.join(root, path)
        target = os.path.realpath(full) if os.path.islink(full) else real
        if not is_above(home, target):
            listing.outside.append(path)
