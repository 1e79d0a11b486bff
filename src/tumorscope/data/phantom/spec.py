"""What to generate: `PhantomSpec`, and the text a user types for it, such as "phantom:patients=40,seed=1"."""

from __future__ import annotations

import difflib
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from tumorscope.core.errors import UsageError
from tumorscope.core.files import sha256_value
from tumorscope.core.types import SplitName

CLASSES: tuple[str, ...] = ("glioma", "meningioma", "notumor", "pituitary")
"""Class names; patient `i` has class `CLASSES[i % 4]`."""
GENERATOR_VERSION = 1
"""Raised whenever the same spec gives other pixels: part of the cache key."""

SPLIT_CYCLE: tuple[SplitName, ...] = (
    *("train", "test", "val", "train", "train", "test", "train", "train", "test", "train"),
    *("val", "train", "train", "test", "train", "train", "train", "val", "test", "train"),
)
"""Split of the n-th patient of a class, repeated: 12 train, 3 val, 5 test in twenty, every split in the first
three. More patients never move an earlier one."""

_LIMITS: dict[str, tuple[float, float]] = {
    "patients": (12, 20_000),
    "slices": (1, 32),
    "size_px": (48, 512),
    "seed": (0, 2**32 - 1),
    "duplicates": (0.0, 1.0),
    "mirrored": (0.0, 1.0),
    "flipped_labels": (0.0, 0.5),
    "shortcut": (0.0, 1.0),
}


@dataclass(frozen=True)
class PhantomSpec:
    """One phantom data set; the same values give the same bytes.

    Attributes:
        patients: Synthetic patients, 12 or more; a patient has one class and stands in one split.
        slices: Images of each patient: neighbouring slices of one head.
        size_px: Width and height of every image.
        seed: Start of all randomness.
        duplicates: Share of test images that get a byte-identical copy in training.
        mirrored: Share of test images that get a left-right mirrored JPEG copy in training.
        flipped_labels: Share of the training images whose label is replaced by another class.
        shortcut: Share of one class's images, in every split, that carry a bright mark in the corner.
    """

    patients: int = 160
    slices: int = 4
    size_px: int = 128
    seed: int = 0
    duplicates: float = 0.0
    mirrored: float = 0.0
    flipped_labels: float = 0.0
    shortcut: float = 0.0

    def __post_init__(self) -> None:
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            whole = isinstance(low, int)
            if (
                isinstance(value, bool)
                or not isinstance(value, int if whole else (int, float))
                or not (math.isfinite(value) and low <= value <= high)
            ):
                raise UsageError(
                    f"phantom {name} is {value!r}",
                    expected=f"{'a whole number' if whole else 'a share'} from {low} to {high}",
                    where="phantom",
                    fix=f"for instance phantom:{name}={getattr(type(self), name) or high}",
                )
        if self.duplicates + self.mirrored > 1.0:
            raise UsageError(
                f"phantom duplicates={self.duplicates} and mirrored={self.mirrored} add up to more than 1",
                expected="two shares of the test images, of different images, together at most 1",
                where="phantom",
                fix="lower one of them",
            )

    @property
    def sha256(self) -> str:
        """Hash of every value and of the generator's version."""
        return sha256_value({"spec": asdict(self), "generator": GENERATOR_VERSION})


def parse_spec(text: str) -> PhantomSpec:
    """The spec that "phantom", "phantom:" or "phantom:key=value,key=value" stands for.

    Raises:
        UsageError: another word before the colon, an unknown or repeated key, or a bad value.
    """
    word, _, rest = text.strip().partition(":")
    if word.strip().lower() != "phantom":
        raise UsageError(f"{text!r} is not a phantom", expected='"phantom" or "phantom:patients=40,seed=1"', where=text)
    kinds: dict[str, type[int] | type[float]] = {
        f.name: int if isinstance(f.default, int) else float for f in fields(PhantomSpec)
    }
    values: dict[str, Any] = {}
    for part in filter(None, (p.strip() for p in rest.split(","))):
        key, equals, raw = (p.strip() for p in part.partition("="))
        if key not in kinds:
            near = difflib.get_close_matches(key, kinds, n=1, cutoff=0.4)
            raise UsageError(
                f"unknown phantom key {key!r}",
                expected=f"one of {', '.join(kinds)}",
                where=text,
                fix=f"did you mean {near[0]!r}?" if near else "remove it",
            )
        if not equals or not raw or key in values:
            raise UsageError(
                f"phantom key {key!r} is {'given twice' if key in values else 'without a value'}",
                expected=f"{key}=VALUE, once",
                where=text,
                fix=f"for instance phantom:{key}={getattr(PhantomSpec, key)}",
            )
        try:
            values[key] = kinds[key](raw)
        except ValueError as error:
            raise UsageError(
                f"phantom {key} is {raw!r}",
                expected="a whole number" if kinds[key] is int else "a number from 0 to 1",
                where=text,
                fix=f"for instance phantom:{key}={getattr(PhantomSpec, key)}",
            ) from error
    return PhantomSpec(**values)
