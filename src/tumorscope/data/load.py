"""`load`: a path or a name to a Manifest, whatever the layout. The one place where layouts are registered."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tumorscope.core.errors import DataError
from tumorscope.data.datasets import find, named
from tumorscope.data.manifest import Manifest
from tumorscope.data.medmnist_catalogue import catalogue
from tumorscope.data.sources import class_folders, medmnist, table, yolo_boxes
from tumorscope.data.sources.base import LoadOptions, Source, choose_positive, no_label_names
from tumorscope.data.sources.scan import Progress, Scan, scan_here
from tumorscope.data.sources.walk import entries, is_hidden, is_image_name

SOURCES: tuple[Source, ...] = (table.SOURCE, yolo_boxes.SOURCE, class_folders.SOURCE, medmnist.SOURCE)
"""Every layout, the most particular first: the first that recognises a path reads it."""

_WRAPPERS = 3


def load(
    data: str | Path,
    *,
    positive: str | None = None,
    label_names: Mapping[int, str] | None = None,
    progress: Progress | None = None,
    use_index: bool = True,
    scan: Scan = scan_here,
) -> Manifest:
    """The manifest of the data at a path or under a name.

    Args:
        data: Folder, table or array file (`~` is expanded); a MedMNIST name; "phantom" or
            "phantom:key=value".
        positive: Class that sensitivity refers to in a two-class problem; by default the names decide.
        label_names: Class name of each number, for data with numbered labels; must agree with the
            catalogue.
        progress: Called with (images done, images in all).
        use_index: False reads every file again instead of trusting path, size and time.
        scan: What reads image files; threads of this process by default.

    Raises:
        DataError: Nothing there, no known layout, or nothing usable; says what was found.
        ResourceError: A named data set is not on this machine.
    """
    options = LoadOptions(positive, label_names, progress, use_index, scan)
    name = str(data)
    if name == "phantom" or name.startswith("phantom:"):
        return _phantom(name, options)
    path = Path(data).expanduser().absolute()
    if not path.exists() or not name:
        path = _by_name(name, path)
    for _ in range(_WRAPPERS):
        for source in SOURCES:
            if source.recognise(path):
                return source.load(path, options)
        inner = _only_folder(path)
        if inner is None:
            break
        path = inner
    raise _unrecognised(path)


def _phantom(spec: str, options: LoadOptions) -> Manifest:
    """The generated set; its classes have names of their own."""
    from tumorscope.data.phantom import load_phantom

    no_label_names(options, Path(spec))
    manifest = load_phantom(spec, progress=options.progress)
    positive = choose_positive(manifest.classes, wanted=options.positive, guess=manifest.positive, where=manifest.root)
    return replace(manifest, positive=positive)


def _by_name(name: str, path: Path) -> Path:
    """The fetched file of a MedMNIST name."""
    if known := named(name):
        entry, size_px = known
        return find(entry, size_px=size_px)
    near = difflib.get_close_matches(name, [*catalogue(), "phantom"], n=1)
    raise DataError(
        f"nothing at {str(path)!r}" if name else "an empty path",
        expected="a folder or file, a MedMNIST name, or phantom",
        where=path,
        fix=f"did you mean {near[0]}?" if near else "check the spelling; `tumorscope datasets list` names sets",
    )


def _only_folder(path: Path) -> Path | None:
    """The one folder inside, where archives wrap their content in a folder of their own."""
    if not path.is_dir():
        return None
    found = entries(path, "")
    shown = [name for name in found.folders if not is_hidden(name)]
    if len(shown) != 1 or any(is_image_name(name) for name in found.files):
        return None
    return path / shown[0]


def _unrecognised(path: Path) -> DataError:
    if path.is_dir():
        found = entries(path, "")
        kinds = Counter(Path(name).suffix.lower() or "no extension" for name in found.files)
        folders = [*found.folders, *found.links]
        shown = ", ".join(map(repr, folders[:8])) + (", ..." if len(folders) > 8 else "")
        text = f"{len(folders)} folders" + (f" ({shown})" if folders else "")
        text += f" and {len(found.files)} files"
        text += f" ({', '.join(f'{n} {k}' for k, n in kinds.most_common(6))})" if kinds else ""
    else:
        text = f"a file named {path.name!r} of {path.stat().st_size:,} bytes"
    return DataError(
        f"no known layout: {text}",
        expected="one of these layouts\n" + LAYOUTS,
        where=path,
        fix="give the folder that holds the class folders, or write a table with columns path and label",
    )


LAYOUTS = "\n".join(f"    {source.name:14} {source.title}\n{'':19}{source.example}" for source in SOURCES)
"""The accepted layouts as text."""
