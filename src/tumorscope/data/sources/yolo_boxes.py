"""Boxes in YOLO text files, one beside each image, in the three ways such sets are kept.

- `Train/CLASS/{images,labels}` (or without `Train`): the folder is the class of the image; the boxes are kept
  as they are, and a box of another class is a finding.
- `images/{train,val,test}` with `labels/{train,val,test}`.
- `{train,valid,test}/{images,labels}`.

In the last two the class of an image is the class of its boxes. An image without a box, or with boxes of
several classes, is excluded as "no-label": whether it shows no tumor or was not annotated cannot be told.

Class numbers are named by `data.yaml`, by `label_names`, or, in the first way only, by the class folders in
alphabetical order, which must then agree with most boxes of each number. As in class folders, a validation
folder without a test folder is the test part. Label files are no inputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tumorscope.core.errors import DataError
from tumorscope.core.types import Box, DatasetInfo, Exclusion, SplitName
from tumorscope.data.manifest import Manifest
from tumorscope.data.sources import codes
from tumorscope.data.sources.base import Candidate, Draft, LoadOptions, Source, assemble
from tumorscope.data.sources.boxes import BoxLedger, yolo_boxes
from tumorscope.data.sources.class_folders import (
    Part,
    add_strays,
    class_names,
    headline,
    spelling_findings,
    split_parts,
    unread_folders,
    val_as_test,
)
from tumorscope.data.sources.data_yaml import read_names
from tumorscope.data.sources.names import class_order, name_key, split_of
from tumorscope.data.sources.walk import entries, is_hidden, join, walk

YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml")


@dataclass(frozen=True, slots=True)
class Pair:
    """A folder of images and that of their label files; `label` is None where the boxes name the class."""

    images: str
    labels: str
    split: SplitName | None
    label: str | None
    read: str
    """Folder that is walked for inputs: `images`, or the class folder around it."""


def recognise(path: Path) -> bool:
    """True if an `images` and a `labels` folder lie side by side at one of the three places."""
    return path.is_dir() and bool(_class_pairs(path, _parts(path)) or _plain_pairs(path))


def load(path: Path, options: LoadOptions) -> Manifest:
    """The manifest of a set with YOLO boxes.

    Raises:
        DataError: Class numbers have no names, or names that the folders contradict.
    """
    draft = Draft(path, SOURCE.name)
    ledger = BoxLedger()
    parts = _parts(path)
    pairs = _class_pairs(path, parts)
    if pairs:
        parts, notice = val_as_test(parts)
        moved = {part.folder: part.split for part in parts}
        pairs = [_moved(pair, moved) for pair in pairs]
        for folder in [part.folder for part in parts] or [""]:
            add_strays(draft, folder)
        declared = _merge_spellings(draft, pairs)
        pairs = [_labelled(pair, declared) for pair in pairs]
        classes = class_order(declared.values())
        if parts:
            draft.findings += unread_folders(path, parts)
    else:
        pairs = _plain_pairs(path)
        parts = tuple(Part(pair.images, pair.split) for pair in pairs if pair.split)
        parts, notice = val_as_test(parts)
        moved = {part.folder: part.split for part in parts}
        pairs = [_moved(pair, moved) for pair in pairs]
        parts = tuple(Part(_shown(part.folder), part.split) for part in parts)
        classes = ()
    draft.findings += notice
    names = _class_numbers(path, classes, options)
    counted: Counter[tuple[int, str]] = Counter()
    for pair in pairs:
        _add_pair(draft, pair, names, ledger, counted)
    if classes and not _given_names(path, options):
        _check_order(path, names, counted)
    draft.findings += ledger.findings()
    return assemble(
        draft,
        headline=lambda count, official: headline(count, official=official, parts=parts, what=" with boxes"),
        declared=classes or [c.label for c in draft.candidates],
        info=DatasetInfo(name=path.name),
        options=options,
    )


def _parts(path: Path) -> tuple[Part, ...]:
    return tuple(part for part in split_parts(path) if part.folder)


def _beside(root: Path, folder: str) -> tuple[str, str] | None:
    """Relative paths of `images` and `labels` in `folder`, in any case, None if either is missing."""
    found = entries(root, folder)
    by_name = {name.casefold(): join(folder, name) for name in (*found.links, *found.folders)}
    if "images" in by_name and "labels" in by_name:
        return by_name["images"], by_name["labels"]
    return None


def _class_pairs(root: Path, parts: tuple[Part, ...]) -> list[Pair]:
    """One pair a class folder, none unless at least one holds `images` and `labels`."""
    pairs, boxed = [], False
    for part in parts or (Part("", None),):
        for name in class_names(root, part.folder):
            folder = join(part.folder, name)
            both = _beside(root, folder)
            boxed = boxed or both is not None
            images, labels = both or (folder, join(folder, "labels"))
            pairs.append(Pair(images, labels, part.split, name, folder))
    return pairs if boxed and not _plain_pairs(root) else []


def _plain_pairs(root: Path) -> list[Pair]:
    if both := _beside(root, ""):
        images, labels = both
        inner = [(name, split_of(name)) for name in class_names(root, images)]
        by_split = [
            Pair(join(images, name), join(labels, name), split, None, join(images, name))
            for name, split in inner
            if split
        ]
        return by_split or [Pair(images, labels, None, None, images)]
    found = [(part, _beside(root, part.folder)) for part in _parts(root)]
    return [Pair(*both, part.split, None, both[0]) for part, both in found if both]


def _shown(images: str) -> str:
    """The split folder's name in `images/train` or `train/images`."""
    return next((piece for piece in images.split("/") if split_of(piece)), images)


def _moved(pair: Pair, moved: Mapping[str, SplitName | None]) -> Pair:
    split = next((moved[f] for f in (pair.images, pair.read.rpartition("/")[0]) if f in moved), pair.split)
    return Pair(pair.images, pair.labels, split, pair.label, pair.read)


def _merge_spellings(draft: Draft, pairs: list[Pair]) -> dict[str, str]:
    spelled: dict[str, list[str]] = {}
    for pair in pairs:
        if pair.label is not None:
            spelled.setdefault(name_key(pair.label), []).append(pair.label)
    draft.findings += spelling_findings(spelled)
    return {key: names[0] for key, names in spelled.items()}


def _labelled(pair: Pair, declared: Mapping[str, str]) -> Pair:
    label = None if pair.label is None else declared[name_key(pair.label)]
    return Pair(pair.images, pair.labels, pair.split, label, pair.read)


def _given_names(path: Path, options: LoadOptions) -> bool:
    return options.label_names is not None or any((path / name).is_file() for name in YAML_NAMES)


def _class_numbers(path: Path, classes: tuple[str, ...], options: LoadOptions) -> dict[int, str]:
    """Class name of each number, spelled as the class folders are."""
    written = next((path / name for name in YAML_NAMES if (path / name).is_file()), None)
    names = read_names(written) if written else None
    if options.label_names is not None:
        given = {int(number): name for number, name in options.label_names.items()}
        if names is not None and given != names:
            raise DataError(
                f"label_names {given} differ from {names}",
                expected="the names in the file",
                where=written or path,
                fix="leave label_names out, or correct the file",
            )
        names = given
    if names is None and classes:
        return dict(enumerate(classes))
    if names is None:
        raise DataError(
            "class numbers of the boxes have no names",
            expected=f"{YAML_NAMES[0]} with `names:`, or label_names",
            where=path,
            fix="write data.yaml with a line such as `names: [glioma, meningioma]`",
        )
    folders = {name_key(name): name for name in classes}
    return {number: folders.get(name_key(name), name) for number, name in names.items()}


def _add_pair(
    draft: Draft,
    pair: Pair,
    names: Mapping[int, str],
    ledger: BoxLedger,
    counted: Counter[tuple[int, str]],
) -> None:
    listing = walk(draft.root, pair.read, leave_out=frozenset({pair.labels}))
    draft.exclusions += listing.faults
    draft.outside += listing.outside
    written = _label_files(draft.root, pair.labels)
    numbers = {name: number for number, name in names.items()}
    for path in listing.files:
        inner = path.removeprefix(pair.images + "/")
        stem = inner.removesuffix(PurePosixPath(inner).suffix) if inner != path else None
        text = written.pop(stem, None) if stem is not None else None
        boxes: tuple[Box, ...] = ()
        if text is None:
            ledger.add(codes.BOX_NO_FILE, path)
        else:
            label_path = f"{pair.labels}/{stem}.txt"
            boxes = yolo_boxes(text, names=names, path=label_path, ledger=ledger)
            _compare(boxes, pair.label, label_path, ledger)
        if pair.label is not None:
            counted.update((numbers[box.label], pair.label) for box in boxes)
        label = pair.label if pair.label is not None else _common(boxes)
        if label is not None:
            draft.candidates.append(Candidate(path, label, pair.split, None, boxes))
        else:
            several = sorted({box.label for box in boxes})
            detail = f"boxes of several classes: {', '.join(several)}" if several else "no usable box"
            draft.exclusions.append(Exclusion(path, "no-label", detail))
    for stem in written:
        ledger.add(codes.BOX_ORPHAN, f"{pair.labels}/{stem}.txt")


def _compare(boxes: tuple[Box, ...], label: str | None, path: str, ledger: BoxLedger) -> None:
    found = sorted({box.label for box in boxes})
    if len(found) > 1:
        ledger.add(codes.BOX_MIXED, path, ", ".join(found))
    elif found and label is not None and found != [label]:
        ledger.add(codes.BOX_OTHER_CLASS, path, f"{found[0]!r} in the folder {label!r}")


def _common(boxes: tuple[Box, ...]) -> str | None:
    labels = {box.label for box in boxes}
    return labels.pop() if len(labels) == 1 else None


def _label_files(root: Path, folder: str) -> dict[str, str]:
    """Content of each label file by its path below `folder` without extension."""
    texts: dict[str, str] = {}
    queue = [""]
    while queue:
        inner = queue.pop()
        found = entries(root, join(folder, inner) if inner else folder)
        queue += [join(inner, name) for name in found.folders if not is_hidden(name)]
        for name in found.files:
            if name.lower().endswith(".txt") and name.lower() != "classes.txt" and not is_hidden(name):
                path = root / folder / inner / name
                try:
                    texts[join(inner, name[:-4])] = path.read_bytes().decode("utf-8-sig", "replace")
                except OSError as error:
                    raise DataError(
                        f"the label file cannot be read: {error.strerror}",
                        where=path,
                        fix="make it readable or remove it",
                    ) from error
    return texts


def _check_order(path: Path, names: Mapping[int, str], counted: Counter[tuple[int, str]]) -> None:
    """Raise if most boxes of a number lie in another folder than the alphabetical order gives it."""
    for number, name in names.items():
        places = Counter({label: n for (i, label), n in counted.items() if i == number})
        if places and places.most_common(1)[0][1] > places[name]:
            label, most = places.most_common(1)[0]
            raise DataError(
                f"class number {number} should be {name!r} by the order of the folders, but {most:,} of its "
                f"{places.total():,} boxes are in {label!r}",
                expected="numbers in the alphabetical order of the class folders",
                where=path,
                fix="write data.yaml with `names:` in the order of the numbers, or give label_names",
            )


SOURCE = Source(
    name="yolo-boxes",
    title="images with a YOLO text file each",
    example="Train/glioma/{images,labels}/   or   images/{train,val}/ + labels/{train,val}/ + data.yaml",
    recognise=recognise,
    load=load,
)
