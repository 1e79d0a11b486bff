"""MedMNIST array files: `{train,val,test}_{images,labels}` in one `.npz`, 28 to 224 pixels.

Class names, and which class is the positive one, come from the catalogue, never from a guess: in BreastMNIST
0 is malignant. A user's `label_names` or `positive` that says otherwise is an error. A file of the same make
that the catalogue does not know needs `label_names`. Images are read row by row, so that a file may be larger
than memory.
Records are in the order of the file: train, val, test, each by row.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tumorscope.core.errors import DataError
from tumorscope.core.files import CHUNK_BYTES
from tumorscope.core.types import SPLITS, DatasetInfo, Finding, ImageRecord, Pixels, SplitName, Targets
from tumorscope.data.manifest import Manifest
from tumorscope.data.medmnist_catalogue import CatalogueEntry, catalogue
from tumorscope.data.sources import codes
from tumorscope.data.sources.base import LoadOptions, Source, choose_positive, class_findings
from tumorscope.data.sources.codes import finding
from tumorscope.data.sources.index import read_index, stamp, write_index
from tumorscope.data.sources.names import guess_positive
from tumorscope.data.sources.npz import RowReader, member_names, open_npz, read_header, rows, whole
from tumorscope.data.sources.walk import entries
from tumorscope.imaging.decode import MIN_SIDE_PX, is_gray, pixels_sha256

MEMBERS = tuple(f"{split}_{kind}" for split in SPLITS for kind in ("images", "labels"))
_NAME = re.compile(r"^([a-z]+mnist(?:3d)?)(?![a-z0-9])")


@dataclass(frozen=True, slots=True)
class _Row:
    """Hashes of one image: `sha256` as stored, `pixels` after a picture without colour became gray."""

    sha256: str
    pixels: str
    gray: bool


def recognise(path: Path) -> bool:
    """True for an `.npz` file, or a folder with one in it."""
    if path.is_dir():
        return any(name.lower().endswith(".npz") for name in entries(path, "").files)
    return path.suffix.lower() == ".npz" and path.is_file()


def load(path: Path, options: LoadOptions) -> Manifest:
    """The manifest of a MedMNIST file.

    Raises:
        DataError: An array is missing or of another shape or type, a label is no number of a class, the set
            has several labels an image or volumes, or the user's label names contradict the catalogue.
    """
    file = _file(path)
    entry = _entry(file)
    with open_npz(file) as archive:
        shapes = {split: _check_images(archive, split, file) for split in SPLITS}
        labels = {split: _labels(archive, split, shapes[split][0], file) for split in SPLITS}
        names, positive = _contract(entry, labels, options, file)
        for split in SPLITS:
            _check_range(labels[split], len(names), split, file)
        md5, hashes = _scan(file, archive, shapes, entry, options)
    height, width = shapes["train"][1:3]
    records = tuple(
        ImageRecord(
            path=f"{file.name}#{split}/{number}",
            label=names[target],
            split=split,
            patient=None,
            boxes=(),
            sha256=row.sha256,
            pixels_sha256=row.pixels,
            width_px=shapes[split][2],
            height_px=shapes[split][1],
            mode="RGB" if shapes[split][-1] == 3 and len(shapes[split]) == 4 else "L",
            gray=row.gray,
        )
        for split in SPLITS
        for number, (target, row) in enumerate(zip(labels[split].tolist(), hashes[split], strict=True))
    )
    findings = _official(entry, width, md5, {split: shapes[split][0] for split in SPLITS}, file)
    missing = [name for name in names if not any((labels[s] == names.index(name)).any() for s in SPLITS)]
    title = f"{entry.title} ({entry.modality})" if entry else file.name
    return Manifest(
        root=file.parent,
        layout=SOURCE.name,
        summary=(f"{title} {width}x{height}, {len(names)} classes, official split, {len(records):,} images"),
        classes=names,
        positive=positive,
        records=records,
        exclusions=(),
        findings=(*class_findings(records, missing), *findings),
        info=entry.info() if entry else DatasetInfo(name=file.stem),
        inputs=len(records),
        reader=read_rows,
    )


def read_rows(root: Path, records: Sequence[ImageRecord]) -> Iterator[Pixels]:
    """The `PixelReader` of array files: (H, W) or (H, W, 3) uint8 for each record.

    Raises:
        DataError: A row is gone or differs from the record's hash.
    """
    by_file: dict[str, list[ImageRecord]] = {}
    for record in records:
        by_file.setdefault(record.path.rpartition("#")[0], []).append(record)
    if len(by_file) > 1:
        raise DataError(f"records of {len(by_file)} array files at once", where=root)
    for name, wanted in by_file.items():
        with open_npz(root / name) as archive:
            readers: dict[str, RowReader] = {}
            for record in wanted:
                split, _, number = record.path.rpartition("#")[2].partition("/")
                if split not in readers:
                    readers[split] = RowReader(archive, f"{split}_images")
                pixels = _squeezed(readers[split].row(int(number)))
                if pixels_sha256(pixels) != record.sha256:
                    raise DataError(
                        f"{record.path} has changed since the data was loaded",
                        expected=f"the image with SHA-256 {record.sha256[:16]}...",
                        where=root / name,
                        fix="load the data again",
                    )
                yield _without_colour(pixels) if record.gray else pixels


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = [path / name for name in entries(path, "").files if name.lower().endswith(".npz")]
    if len(found) != 1:
        raise DataError(
            f"{len(found)} array files: {', '.join(file.name for file in found)}",
            expected="one",
            where=path,
            fix=f"name the file, such as {found[0]}",
        )
    return found[0]


def _entry(file: Path) -> CatalogueEntry | None:
    match = _NAME.match(file.name.lower())
    flag = match[1] if match else ""
    if flag.endswith("3d"):
        raise DataError(
            f"{file.name} is a set of volumes",
            expected="a two-dimensional MedMNIST set",
            where=file,
            fix=f"choose one of {', '.join(catalogue())}",
        )
    entry = catalogue().get(flag)
    if entry is not None and not entry.one_label:
        raise DataError(
            f"{entry.title} has up to {len(entry.labels)} labels an image",
            expected="one label an image",
            where=file,
            fix="choose another set, or write a table with one label an image",
        )
    return entry


def _refuse(found: str, expected: str, file: Path, fix: str = "fetch or write the file again") -> DataError:
    return DataError(found, expected=expected, where=file, fix=fix)


def _check_images(archive: zipfile.ZipFile, split: SplitName, file: Path) -> tuple[int, ...]:
    names = member_names(archive)
    missing = [member for member in MEMBERS if member not in names]
    if missing:
        raise _refuse(f"arrays {', '.join(missing)} are missing", f"arrays {', '.join(MEMBERS)}", file)
    header = read_header(archive, f"{split}_images")
    shape = header.shape
    if header.dtype != np.uint8:
        raise _refuse(f"{split}_images is {header.dtype}", "uint8, 0 to 255", file)
    if len(shape) not in {3, 4} or (len(shape) == 4 and shape[3] not in {1, 3}):
        raise _refuse(f"{split}_images has shape {shape}", "(n, height, width) or (n, height, width, 3)", file)
    if min(shape[1:3]) < MIN_SIDE_PX:
        raise _refuse(f"{split}_images has shape {shape}", f"at least {MIN_SIDE_PX} pixels a side", file)
    return shape


def _labels(archive: zipfile.ZipFile, split: SplitName, count: int, file: Path) -> Targets:
    member = f"{split}_labels"
    shape = read_header(archive, member).shape
    if len(shape) == 2 and shape[1] > 1:
        raise _refuse(f"{member} has shape {shape}: {shape[1]} labels an image", "one label an image", file)
    if shape not in {(count,), (count, 1)}:
        raise _refuse(f"{member} has shape {shape}", f"({count},) or ({count}, 1), as {split}_images", file)
    values = whole(archive, member).reshape(-1)
    if values.dtype.kind not in "iufb":
        raise _refuse(f"{member} is {values.dtype}", "whole numbers", file)
    if values.dtype.kind == "f" and (bad := np.flatnonzero(~np.isfinite(values) | (values % 1 != 0))).size:
        raise _refuse(
            f"{bad.size} values of {member} are no whole numbers, first row {bad[0]}: {values[bad[0]]}",
            "whole numbers",
            file,
        )
    return values.astype(np.int64)


def _check_range(labels: Targets, classes: int, split: SplitName, file: Path) -> None:
    bad = np.flatnonzero((labels < 0) | (labels >= classes))
    if bad.size:
        raise _refuse(
            f"{bad.size} values of {split}_labels are no class, first row {bad[0]}: {labels[bad[0]]}",
            f"0 to {classes - 1}",
            file,
        )


def _contract(
    entry: CatalogueEntry | None, labels: dict[SplitName, Targets], options: LoadOptions, file: Path
) -> tuple[tuple[str, ...], str | None]:
    """Class names in the order of their numbers, and the positive class."""
    given = options.label_names
    if entry is not None:
        official = dict(enumerate(entry.labels))
        if given is not None and dict(given) != official:
            raise DataError(
                f"label_names {dict(given)} contradict {entry.title}",
                expected=f"{official}, as MedMNIST defines them",
                where=file,
                fix="leave label_names out",
            )
        if options.positive is not None and entry.positive not in {None, options.positive}:
            raise DataError(
                f"positive class {options.positive!r} contradicts {entry.title}",
                expected=f"{entry.positive!r}, number {entry.labels.index(entry.positive or '')} in the file",
                where=file,
                fix="leave the positive class out",
            )
        wanted = choose_positive(entry.labels, wanted=options.positive, guess=entry.positive, where=file)
        return entry.labels, wanted
    if given is None or sorted(given) != list(range(len(given))) or len(set(given.values())) != len(given):
        found = sorted({int(v) for values in labels.values() for v in np.unique(values)})
        raise DataError(
            f"{file.name} is not in the catalogue; its labels are the numbers {found[:20]}",
            expected="label_names with one name for each number from 0",
            where=file,
            fix="give label_names, such as {0: 'benign', 1: 'malignant'}; mind which number is which",
        )
    names = tuple(given[number] for number in range(len(given)))
    return names, choose_positive(names, wanted=options.positive, guess=guess_positive(names), where=file)


def _scan(
    file: Path,
    archive: zipfile.ZipFile,
    shapes: dict[SplitName, tuple[int, ...]],
    entry: CatalogueEntry | None,
    options: LoadOptions,
) -> tuple[str, dict[SplitName, list[_Row]]]:
    """MD5 of the file (empty where nothing is known to compare it with) and hashes of every image."""
    mark = stamp(file)
    known = read_index(file) if options.use_index else None
    total = sum(shape[0] for shape in shapes.values())
    if known is not None and mark is not None and known.get("stamp") == list(mark):
        if options.progress:
            options.progress(total, total)
        return known["md5"], {split: [_Row(*row) for row in known["rows"][split]] for split in SPLITS}
    done = 0
    hashes: dict[SplitName, list[_Row]] = {split: [] for split in SPLITS}
    for split in SPLITS:
        for row in rows(archive, f"{split}_images"):
            hashes[split].append(_hashes(_squeezed(row)))
            done += 1
            if options.progress:
                options.progress(done, total)
    md5 = _md5(file) if entry is not None else ""
    if mark is not None:
        kept = {split: [(r.sha256, r.pixels, r.gray) for r in hashes[split]] for split in SPLITS}
        write_index(file, {"stamp": mark, "md5": md5, "rows": kept})
    return md5, hashes


def _hashes(pixels: Pixels) -> _Row:
    digest = pixels_sha256(pixels)
    if pixels.ndim == 2:
        return _Row(digest, digest, True)
    gray = is_gray(pixels)
    return _Row(digest, pixels_sha256(_without_colour(pixels)) if gray else digest, gray)


def _squeezed(row: NDArray[Any]) -> Pixels:
    return row[..., 0] if row.ndim == 3 and row.shape[2] == 1 else row


def _without_colour(pixels: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(pixels).convert("L")) if pixels.ndim == 3 else pixels


def _md5(file: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with file.open("rb") as handle:
        while chunk := handle.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _official(
    entry: CatalogueEntry | None, size_px: int, md5: str, counts: dict[SplitName, int], file: Path
) -> list[Finding]:
    """What differs from the official file of this size."""
    if entry is None:
        return []
    found = []
    if md5 != entry.md5.get(size_px):
        official = entry.md5.get(size_px, f"none published for {size_px} pixels")
        detail = f"MD5 {md5}, official {official}."
        found.append(finding(codes.CHECKSUM, detail=detail, paths=[file.name]))
    if counts != dict(entry.images):
        detail = ", ".join(f"{split} {counts[split]:,} for {entry.images[split]:,}" for split in SPLITS)
        found.append(finding(codes.SIZES, detail=f"{detail}.", paths=[file.name]))
    return found


SOURCE = Source(
    name="medmnist",
    title="a MedMNIST file or its name",
    example="breastmnist.npz, or the name breastmnist or breastmnist_64 once fetched",
    recognise=recognise,
    load=load,
)
