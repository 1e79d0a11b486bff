"""Annotated rectangles: reading them, checking each, and collecting what is wrong into findings."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from tumorscope.core.types import Box, Finding
from tumorscope.data.sources import codes
from tumorscope.data.sources.codes import Code, finding

OUTSIDE_TOLERANCE = 0.001
"""A box may reach this share of a side outside: a quarter of a pixel at 256, far above 6-digit rounding."""

_WORDS: dict[Code, str] = {
    codes.BOX_NO_FILE: "images have no label file",
    codes.BOX_EMPTY_FILE: "label files hold no line",
    codes.BOX_ORPHAN: "label files have no image",
    codes.BOX_OTHER_CLASS: "label files name only classes other than their folder",
    codes.BOX_MIXED: "label files name several classes",
    codes.BOX_OUTSIDE: "boxes reach outside the image",
    codes.BOX_MALFORMED: "boxes cannot be read",
    codes.BOX_NO_AREA: "boxes have no width or no height",
}


class BoxLedger:
    """Faults of boxes and label files, by code; each fault is a path, and one path may have several."""

    def __init__(self) -> None:
        self._paths: dict[Code, list[str]] = defaultdict(list)
        self._first: dict[Code, str] = {}

    def add(self, code: Code, path: str, detail: str = "") -> None:
        """Note one fault; the detail of the first one is shown."""
        self._paths[code].append(path)
        if detail:
            self._first.setdefault(code, f"{path}: {detail}")

    def findings(self) -> list[Finding]:
        """One finding a code, with every path and the number of faults."""
        found = []
        for code, paths in self._paths.items():
            detail = f"{len(paths):,} {_WORDS[code]}"
            if code in self._first:
                detail += f"; first {self._first[code]}"
            found.append(finding(code, detail=f"{detail}.", paths=set(paths), count=len(paths)))
        return found


def checked_box(label: str, values: Sequence[float], *, path: str, ledger: BoxLedger) -> Box | None:
    """The box of four relative numbers (centre x, centre y, width, height), None if it cannot be used.

    A box that is not finite or has no area is left out; one that reaches outside is kept. All are noted.
    """
    if len(values) != 4 or not all(math.isfinite(v) for v in values):
        ledger.add(codes.BOX_MALFORMED, path, f"{list(values)} are not four finite numbers")
        return None
    cx, cy, w, h = values
    if w <= 0 or h <= 0:
        ledger.add(codes.BOX_NO_AREA, path, f"width {w:g}, height {h:g}")
        return None
    reach = max(w / 2 - cx, cx + w / 2 - 1, h / 2 - cy, cy + h / 2 - 1)
    if reach > OUTSIDE_TOLERANCE:
        ledger.add(codes.BOX_OUTSIDE, path, f"by {reach:.3f} of the side")
    return Box(label, cx, cy, w, h)


def yolo_boxes(text: str, *, names: Mapping[int, str], path: str, ledger: BoxLedger) -> tuple[Box, ...]:
    """Boxes of one YOLO label file: a line each, `class cx cy w h`, relative to width and height.

    Args:
        text: Content of the file.
        names: Class name of each number.
        path: Path of the label file, for findings.
        ledger: Takes what is wrong; lines that cannot be read are left out.
    """
    boxes = []
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if not lines:
        ledger.add(codes.BOX_EMPTY_FILE, path)
    for words in lines:
        try:
            number, values = int(words[0]), [float(word) for word in words[1:]]
        except ValueError:
            ledger.add(codes.BOX_MALFORMED, path, f"{' '.join(words)[:60]!r} is not `class cx cy w h`")
            continue
        if len(values) != 4:
            ledger.add(codes.BOX_MALFORMED, path, f"{len(words)} values in a line, 5 expected")
        elif number not in names:
            ledger.add(codes.BOX_MALFORMED, path, f"class number {number} has no name")
        elif box := checked_box(names[number], values, path=path, ledger=ledger):
            boxes.append(box)
    return tuple(boxes)


def json_boxes(text: str, *, path: str, ledger: BoxLedger) -> tuple[Box, ...]:
    """Boxes of one table cell: a JSON list of `[label, cx, cy, w, h]`; an empty cell has none."""
    if not text.strip():
        return ()
    try:
        rows = json.loads(text)
        cells = [(str(label), [float(v) for v in values]) for label, *values in rows]
    except (ValueError, TypeError):
        ledger.add(codes.BOX_MALFORMED, path, f"{text[:60]!r} is no JSON list of [label, cx, cy, w, h]")
        return ()
    found = (checked_box(label, values, path=path, ledger=ledger) for label, values in cells)
    return tuple(box for box in found if box is not None)
