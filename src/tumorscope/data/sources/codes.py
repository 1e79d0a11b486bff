"""Every finding a source can make: its code, its title and how much it matters, in one place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tumorscope.core.types import Finding, Severity


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of finding: stable code, one sentence without numbers, severity."""

    code: str
    title: str
    severity: Severity


EXCLUDED = Code("DATA001", "Some inputs are not used.", "warning")
EXTENSION = Code("DATA002", "File extensions differ from the formats inside; the bytes decided.", "info")
CONVERTED = Code("DATA003", "Some images needed a conversion to 8-bit gray or RGB.", "info")
EMPTY_CLASS = Code("DATA004", "A class has no usable image.", "error")
SPELLING = Code("DATA005", "One class is spelled in several ways; the folders were merged.", "warning")
VAL_AS_TEST = Code("DATA006", "There is no test folder; the validation folder is used as the test part.", "info")
NOT_READ = Code("DATA007", "Some folders are neither a split nor a class and were not read.", "warning")
OUTSIDE = Code("DATA008", "Links lead to files outside the data folder.", "info")
ONE_SPLIT = Code("DATA009", "A class is missing from a part of the official split.", "warning")

BOX_NO_FILE = Code("DATA010", "Images have no label file.", "warning")
BOX_EMPTY_FILE = Code("DATA011", "Label files are empty.", "warning")
BOX_ORPHAN = Code("DATA012", "Label files have no image.", "warning")
BOX_OTHER_CLASS = Code("DATA013", "Boxes name another class than the folder; the folder decides.", "warning")
BOX_MIXED = Code("DATA014", "Label files mix several classes.", "warning")
BOX_OUTSIDE = Code("DATA015", "Boxes reach outside the image.", "warning")
BOX_MALFORMED = Code("DATA016", "Label lines cannot be read and were left out.", "warning")
BOX_NO_AREA = Code("DATA017", "Boxes without area were left out.", "warning")

CHECKSUM = Code("DATA020", "The file is not the official one, by its checksum.", "warning")
SIZES = Code("DATA021", "The official split sizes differ from those of this file.", "warning")

ROW_TWICE = Code("DATA030", "Table rows name the same image again and were merged.", "warning")
COLUMN_NOT_READ = Code("DATA031", "Table columns with other names were not read.", "info")

CODES: dict[str, Code] = {
    code.code: code
    for code in (
        EXCLUDED,
        EXTENSION,
        CONVERTED,
        EMPTY_CLASS,
        SPELLING,
        VAL_AS_TEST,
        NOT_READ,
        OUTSIDE,
        ONE_SPLIT,
        BOX_NO_FILE,
        BOX_EMPTY_FILE,
        BOX_ORPHAN,
        BOX_OTHER_CLASS,
        BOX_MIXED,
        BOX_OUTSIDE,
        BOX_MALFORMED,
        BOX_NO_AREA,
        CHECKSUM,
        SIZES,
        ROW_TWICE,
        COLUMN_NOT_READ,
    )
}


def finding(code: Code, *, detail: str, paths: Iterable[str] = (), count: int | None = None) -> Finding:
    """A Finding of `code`; `count` is the number of paths unless given."""
    listed = tuple(sorted(paths))
    number = len(listed) if count is None else count
    return Finding(code.code, code.severity, code.title, detail, number, listed)
