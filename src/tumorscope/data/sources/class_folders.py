"""Class folders: `yes/ no/`, or `Training/ Testing/` and the like with class folders inside.

The folder name is the label; every file under it, at any depth, is an input. Names of the parts are matched
without regard to case (see `SPLIT_FOLDERS`). Where there is a training and a validation folder but no test
folder, the validation folder is the test part, because it is the only data kept apart from training; a
validation part is then drawn from the training part. Images beside the class folders have no label and are
listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tumorscope.core.errors import DataError
from tumorscope.core.types import DatasetInfo, Exclusion, Finding, SplitName
from tumorscope.data.manifest import Manifest
from tumorscope.data.sources import codes
from tumorscope.data.sources.base import Candidate, Draft, LoadOptions, Source, assemble, no_label_names
from tumorscope.data.sources.codes import finding
from tumorscope.data.sources.names import name_key, split_of
from tumorscope.data.sources.walk import (
    entries,
    is_above,
    is_hidden,
    is_image_name,
    is_scan_name,
    join,
    walk,
    walk_hidden,
)

_LOOK_DEPTH = 4


@dataclass(frozen=True, slots=True)
class Part:
    """One folder that holds class folders: "" for the data folder itself."""

    folder: str
    split: SplitName | None


def recognise(path: Path) -> bool:
    """True for a folder with at least two class folders, or parts of a split with class folders inside."""
    if not path.is_dir():
        return False
    parts = split_parts(path)
    if parts:
        return any(_holds_image(path, join(p.folder, name)) for p in parts for name in class_names(path, p.folder))
    names = class_names(path, "")
    return len(names) >= 2 and any(_holds_image(path, name) for name in names)


def load(path: Path, options: LoadOptions) -> Manifest:
    """The manifest of class folders under `path`.

    Raises:
        DataError: The classes are there twice, or no image is usable.
    """
    no_label_names(options, path)
    draft = Draft(path, SOURCE.name)
    parts = split_parts(path)
    parts, notice = val_as_test(parts)
    draft.findings += notice
    spelled: dict[str, list[str]] = {}
    for part in parts or (Part("", None),):
        names = class_names(path, part.folder)
        _refuse_nesting(path, part.folder, names)
        add_strays(draft, part.folder)
        for name in names:
            key = name_key(name)
            spelled.setdefault(key, []).append(name)
            listing = walk(path, join(part.folder, name))
            draft.exclusions += listing.faults
            draft.outside += listing.outside
            draft.candidates += [Candidate(p, spelled[key][0], part.split) for p in listing.files]
    if parts:
        add_strays(draft, "")
        draft.findings += unread_folders(path, parts)
    draft.findings += spelling_findings(spelled)
    return assemble(
        draft,
        headline=lambda count, official: headline(count, official=official, parts=parts),
        declared=[names[0] for names in spelled.values()],
        info=DatasetInfo(name=path.name),
        options=options,
    )


def split_parts(root: Path) -> tuple[Part, ...]:
    """Folders in `root` named like parts of a split, train first.

    Raises:
        DataError: Two folders stand for one part.
    """
    found = entries(root, "")
    named = [(split, name) for name in (*found.folders, *found.links) if (split := split_of(name))]
    order: tuple[SplitName, ...] = ("train", "val", "test")
    for split in order:
        names = [name for s, name in named if s == split]
        if len(names) > 1:
            raise DataError(
                f"{len(names)} folders for the {split} part: {', '.join(sorted(names))}",
                expected="one folder a part",
                where=root,
                fix="merge the folders or move one of them away",
            )
    return tuple(Part(name, split) for wanted in order for split, name in named if split == wanted)


def val_as_test(parts: tuple[Part, ...]) -> tuple[tuple[Part, ...], list[Finding]]:
    """`parts` with the validation folder as test part where there is no other, and the finding about it."""
    splits = [part.split for part in parts]
    if "val" not in splits or "train" not in splits or "test" in splits:
        return parts, []
    folder = next(part.folder for part in parts if part.split == "val")
    detail = f"{folder!r} is used as the test part; a validation part is to be drawn from the training part."
    moved = tuple(Part(p.folder, "test") if p.split == "val" else p for p in parts)
    return moved, [finding(codes.VAL_AS_TEST, detail=detail, paths=[folder])]


def class_names(root: Path, folder: str) -> tuple[str, ...]:
    """Names of the folders in `root/folder` that may be classes: not hidden, and no link leading upwards."""
    found = entries(root, folder)
    here = (root / folder).resolve()
    links = (name for name in found.links if not is_above(str((here / name).resolve()), str(here)))
    return tuple(sorted(name for name in (*found.folders, *links) if not is_hidden(name)))


def add_strays(draft: Draft, folder: str) -> None:
    """List what lies beside the class folders: unlabelled images, hidden images, links leading upwards."""
    found = entries(draft.root, folder)
    classes = class_names(draft.root, folder)
    for name in found.files:
        path = join(folder, name)
        if is_hidden(name) and is_image_name(name):
            draft.exclusions.append(Exclusion(path, "hidden", "a hidden file"))
        elif is_image_name(name) and is_scan_name(name):
            draft.exclusions.append(Exclusion(path, "no-label", "beside the class folders, in none of them"))
    for name in (*found.folders, *found.links):
        path = join(folder, name)
        if is_hidden(name):
            draft.exclusions += walk_hidden(draft.root, path, images_only=True).faults
        elif name in found.links and name not in classes:
            draft.exclusions.append(Exclusion(path, "symlink-loop", "the link leads to a folder above itself"))


def unread_folders(root: Path, parts: Sequence[Part]) -> list[Finding]:
    """The finding for folders beside the parts of a split."""
    names = [n for n in class_names(root, "") if n not in {part.folder for part in parts}]
    if not names:
        return []
    detail = f"{len(names)} folders beside the split folders were not read: {', '.join(map(repr, names))}."
    return [finding(codes.NOT_READ, detail=detail, paths=names)]


def spelling_findings(spelled: Mapping[str, Sequence[str]]) -> list[Finding]:
    """The finding for classes with several spellings, from key to spellings in the order found."""
    several = [sorted(set(names)) for names in spelled.values() if len(set(names)) > 1]
    if not several:
        return []
    detail = "; ".join(f"{' and '.join(map(repr, names))} are one class" for names in several) + "."
    return [finding(codes.SPELLING, detail=detail, paths=[name for names in several for name in names])]


def headline(count: int, *, official: bool, parts: Sequence[Part], what: str = "") -> str:
    """Start of the summary line, such as "4 classes in Training/Testing, official split"."""
    text = f"{count} classes{what}"
    if not parts:
        return f"{text}, no official split"
    text += f" in {'/'.join(part.folder for part in parts)}"
    stand_in = [p.folder for p in parts if p.split == "test" and split_of(p.folder) == "val"]
    if stand_in:
        return f"{text}, {stand_in[0]} is the test part"
    return f"{text}, official split" if official else f"{text}, no complete split"


def _refuse_nesting(root: Path, folder: str, names: Sequence[str]) -> None:
    """Raise where folders are nested in a way that would mix up classes or parts.

    A "class" that holds the class folders again, as in some archives, would count images twice; one that
    holds `train` and `test` would lose the official split.
    """
    keys = {name_key(name) for name in names}
    for name in names:
        inner = class_names(root, join(folder, name))
        split = [i for i in inner if split_of(i)]
        if split:
            raise DataError(
                f"{join(folder, name)!r} holds split folders ({', '.join(split)})",
                expected="split folders above the class folders, such as train/yes and test/yes",
                where=root / folder,
                fix="load one data set at a time, or move the split folders to the top",
            )
        if len(inner) >= 2 and {name_key(i) for i in inner} <= keys - {name_key(name)}:
            raise DataError(
                f"{join(folder, name)!r} holds the class folders {', '.join(inner)} again",
                expected="each class folder once",
                where=root / folder,
                fix=f"load {root / folder / name} instead, or remove that folder",
            )


def _holds_image(root: Path, folder: str, depth: int = _LOOK_DEPTH) -> bool:
    found = entries(root, folder)
    if any(is_image_name(name) and not is_hidden(name) for name in found.files):
        return True
    return depth > 0 and any(
        _holds_image(root, join(folder, name), depth - 1) for name in found.folders if not is_hidden(name)
    )


SOURCE = Source(
    name="class-folders",
    title="one folder a class, with or without split folders above",
    example="yes/*.jpg no/*.jpg   or   Training/glioma/*.jpg Testing/glioma/*.jpg   or   train/ val/ test/",
    recognise=recognise,
    load=load,
)
