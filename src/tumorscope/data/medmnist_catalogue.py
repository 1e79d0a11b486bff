"""The catalogue of two-dimensional MedMNIST sets: names, label numbers, split sizes, files and checksums."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from tumorscope.core.types import DatasetInfo, SplitName

SIZES_PX = (28, 64, 128, 224)


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One MedMNIST set.

    Attributes:
        flag: Short name such as "breastmnist".
        title: Name in print.
        modality: How the images were made.
        task: The task as MedMNIST words it.
        channels: 1 for gray, 3 for RGB.
        labels: Class names; the position is the number in the file.
        positive: Class that sensitivity refers to in a two-class task, None otherwise.
        licence: Licence of the images.
        images: Number of images in each official part.
        md5: Checksum of the official file by size in pixels.
        citation: What to cite.
        homepage: Where it is described.
        address: Folder of the official files on the network, with a slash at the end.
    """

    flag: str
    title: str
    modality: str
    task: str
    channels: int
    labels: tuple[str, ...]
    positive: str | None
    licence: str
    images: Mapping[SplitName, int]
    md5: Mapping[int, str]
    citation: str
    homepage: str
    address: str

    @property
    def one_label(self) -> bool:
        """True if each image has exactly one label."""
        return "multi-label" not in self.task

    def file_name(self, size_px: int = 28) -> str:
        """Name of the official file of one size."""
        return f"{self.flag}.npz" if size_px == 28 else f"{self.flag}_{size_px}.npz"

    def url(self, size_px: int = 28) -> str:
        """Address of the official file of one size."""
        return f"{self.address}{self.file_name(size_px)}?download=1"

    def info(self) -> DatasetInfo:
        """What a report must cite."""
        return DatasetInfo(
            self.flag,
            f"{self.title} (MedMNIST v2)",
            self.licence,
            self.citation,
            self.homepage,
            self.modality,
        )


@cache
def catalogue() -> dict[str, CatalogueEntry]:
    """Every entry by flag."""
    text = files("tumorscope.data").joinpath("medmnist_catalogue.toml").read_text(encoding="utf-8")
    content = tomllib.loads(text)
    return {
        flag: CatalogueEntry(
            flag=flag,
            title=row["title"],
            modality=row["modality"],
            task=row["task"],
            channels=row["channels"],
            labels=tuple(row["labels"]),
            positive=row.get("positive"),
            licence=row["licence"],
            images=row["images"],
            md5={int(size): digest for size, digest in row["md5"].items()},
            citation=content["citation"],
            homepage=content["homepage"],
            address=content["address"],
        )
        for flag, row in content["sets"].items()
    }
