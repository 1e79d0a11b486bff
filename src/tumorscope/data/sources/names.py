"""What folder names mean: parts of a split, spellings of one class, the positive one of two classes."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from tumorscope.core.types import SplitName

SPLIT_FOLDERS: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "trainset": "train",
    "training set": "train",
    "train set": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "validate": "val",
    "validation set": "val",
    "val set": "val",
    "dev": "val",
    "eval": "val",
    "evaluation": "val",
    "test": "test",
    "testing": "test",
    "testset": "test",
    "test set": "test",
    "testing set": "test",
    "holdout": "test",
    "hold out": "test",
}
"""Folder name (as `name_key` spells it) to part. `eval` without a test folder becomes the test part."""

_POSITIVE = """
yes, positive, pos, abnormal, malignant, malignancy, malign, cancer, cancerous, carcinoma, tumor,
tumors, tumour, tumours, tumorous, lesion, lesions, disease, diseased, pathological, pathology,
pneumonia, with tumor, with tumour, has tumor, brain tumor, brain tumour, tumor present
"""
POSITIVE_NAMES = frozenset(" ".join(name.split()) for name in _POSITIVE.split(","))
"""Class names that are the positive one beside any other."""

_NEGATIVE = """
no, negative, neg, normal, healthy, benign, control, controls, background, notumor, notumour, no
tumor, no tumour, no cancer, non tumor, not cancer, without tumor
"""
NEGATIVE_NAMES = frozenset(" ".join(name.split()) for name in _NEGATIVE.split(","))
"""Class names that leave the other one as the positive, unless it is negative too (benign beside normal)."""


def name_key(name: str) -> str:
    """One spelling for names that mean the same: Unicode NFC, case folded, blanks for `_` and `-`."""
    words = unicodedata.normalize("NFC", name).casefold().replace("_", " ").replace("-", " ").split()
    return " ".join(words)


def split_of(folder: str) -> SplitName | None:
    """The part of a split that a folder name stands for, None if it is no such name."""
    return SPLIT_FOLDERS.get(name_key(folder))


def class_order(names: Iterable[str]) -> tuple[str, ...]:
    """Class names in target order: by name, upper and lower case alike."""
    return tuple(sorted(set(names), key=lambda name: (name.casefold(), name)))


def guess_positive(classes: Sequence[str]) -> str | None:
    """The class that sensitivity refers to, None with other than two classes or where the names do not tell.

    One of `POSITIVE_NAMES` beside any other name; else the class beside one of `NEGATIVE_NAMES`.
    """
    if len(classes) != 2:
        return None
    for wanted, other in ((0, 1), (1, 0)):
        if name_key(classes[wanted]) in POSITIVE_NAMES and name_key(classes[other]) not in POSITIVE_NAMES:
            return classes[wanted]
    for wanted, other in ((0, 1), (1, 0)):
        if name_key(classes[other]) in NEGATIVE_NAMES and name_key(classes[wanted]) not in NEGATIVE_NAMES:
            return classes[wanted]
    return None
