"""An audit made readable: `audit.html`, one self-contained file with every finding and the pairs to be judged.

In: the content of `audit.json`, the pairs, and a way to the pixels. Out: one page. It makes no request and works
from a file; its own script, named by hash in the page's policy, turns pages, filters and keeps marks. Pictures are
written as they are encoded, so memory does not grow with their number. The same input gives the same bytes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tumorscope.auditing.pairs import PairRow
from tumorscope.core.files import atomic_path, plain
from tumorscope.core.types import Pixels
from tumorscope.data.copies.descriptors import Progress
from tumorscope.data.copies.groups import CopyKind
from tumorscope.evaluation.cells import escape_cell
from tumorscope.reporting.audit_pictures import ADDRESS, chunked, counted, encode, script_json
from tumorscope.reporting.audit_verdict import gravest_first, outcomes, verdict
from tumorscope.reporting.render import environment, script_source, template_text
from tumorscope.reporting.words import decimal, shown

AUDIT_NAME = "audit.html"
MOST_PAIRS = 10_000
PAGE_SIZE = 50
"""Pairs shown at a time; the first page stands in the file as plain markup."""
CHUNK = 32
"""Pictures of one script element: a page in any order unpacks 100 of them, 8 MB, at most."""
SHORTCUTS = "CUT"
"""Codes of the checks whose estimates are drawn against chance begin so."""

KIND_NAMES: dict[CopyKind, str] = {
    "exact": "Same file",
    "pixels": "Same pixels",
    "near": "Near copy",
    "patient-likely": "Likely same patient",
}


@dataclass(frozen=True, slots=True)
class _Image:
    """One image of the gallery; its position in the list is the number of its picture."""

    row: int
    path: str
    split: str
    label: str


def render_audit(
    audit: Mapping[str, Any],
    pairs: Sequence[PairRow],
    pictures: Callable[[Sequence[int]], Iterable[Pixels]],
    *,
    out: Path,
    most_pairs: int = MOST_PAIRS,
    progress: Progress | None = None,
) -> Path:
    """Write `audit.html` and return its path.

    Args:
        audit: Content of `audit.json`.
        pairs: All pairs, gravest first, as `Audit.pairs` gives them.
        pictures: Gives the decoded images at some positions, in their order; called once, read one by one.
        out: The page, or an existing folder that takes it as `audit.html`.
        most_pairs: Pairs in the page, the first of `pairs`; it says how many are left out.
        progress: Called as `progress("pictures", done, total)`.

    Raises:
        DataError: an image cannot be read any more.
        ValueError: `pictures` gives more or fewer images than asked for.
    """
    path = out / AUDIT_NAME if out.is_dir() else out
    chosen = pairs[: max(0, most_pairs)]
    numbered = _numbered(chosen)
    texts = _encoded([image.row for image in numbered], pictures, progress)
    first = _first_page(chosen, numbered, texts)
    context = {**audit_context(audit), **_gallery(chosen, numbered), **first}
    context |= {"left_out": len(pairs) - len(chosen), "all_pairs": len(pairs), "chunks": chunked(texts, size=CHUNK)}
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        for piece in environment().get_template("audit.html.j2").generate(context):
            handle.write(piece.encode("utf-8"))
    return path


def audit_context(audit: Mapping[str, Any]) -> dict[str, Any]:
    """What the template shows besides the pairs."""
    content = _readable(plain(dict(audit)))
    results = content["findings"]
    return {
        "audit": content,
        "data": content["data"],
        "verdict": verdict(content),
        "found": gravest_first(results),
        "others": [r for outcome in ("skipped", "fine", "not applicable") for r in results if r["outcome"] == outcome],
        "pairs_in_all": sum(content["pairs"][kind] for kind in KIND_NAMES),
        "tally": outcomes(results),
        "estimates": {r["code"]: _estimates(r) for r in results if r["code"].startswith(SHORTCUTS)},
        "doc": next((r["doc"].partition("#")[0] for r in results if r.get("doc")), ""),
        "own_style": template_text("audit.css"),
        "script": template_text("audit.js"),
        "script_hash": script_source(template_text("audit.js")),
    }


def _estimates(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Estimates among the figures of a result, the headline first: key, value, low, high, and chance."""
    chance = result["figures"].get("chance")
    return [
        {"key": key, "value": e["value"], "low": e.get("low"), "high": e.get("high"), "chance": chance}
        for key, e in result["figures"].items()
        if isinstance(e, dict) and isinstance(e.get("value"), (int, float)) and {"low", "high"} <= set(e)
    ]


def _readable(value: Any) -> Any:
    """`value` with every text made visible, so that nothing later meets a control or half a character."""
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, dict):
        return {shown(k): _readable(v) for k, v in value.items()}
    return [_readable(v) for v in value] if isinstance(value, list) else value


def quarter_deg(pair: PairRow) -> int:
    """The turn in whole quarters, counter-clockwise: 0, 90, 180 or 270."""
    return 90 * math.floor(pair.rotation_deg / 90 + 0.5) % 360


def _score(pair: PairRow) -> tuple[float, str]:
    """The score as `pairs.csv` rounds it, and as it is shown."""
    rounded = round(pair.score, 4)
    return rounded, decimal(rounded, places=2)


def _cell(path: str) -> str:
    """A path as `pairs.csv` spells it, so that marks can be joined to it."""
    return escape_cell(path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))


def _ends(pair: PairRow) -> tuple[_Image, _Image]:
    return (
        _Image(pair.row_a, pair.image_a, pair.split_a, pair.label_a),
        _Image(pair.row_b, pair.image_b, pair.split_b, pair.label_b),
    )


def _numbered(pairs: Iterable[PairRow]) -> dict[_Image, int]:
    """Every image of the pairs once, numbered in the order it is first seen in."""
    numbers: dict[_Image, int] = {}
    for pair in pairs:
        for image in _ends(pair):
            numbers.setdefault(image, len(numbers))
    return numbers


def _encoded(
    rows: Sequence[int], pictures: Callable[[Sequence[int]], Iterable[Pixels]], progress: Progress | None
) -> Iterator[str]:
    if not rows:
        return
    for done, image in counted(pictures(rows), count=len(rows)):
        yield encode(image)
        if progress is not None and (done % 64 == 0 or done == len(rows)):
            progress("pictures", done, len(rows))


def _first_page(chosen: Sequence[PairRow], numbers: Mapping[_Image, int], texts: Iterator[str]) -> dict[str, Any]:
    """The cards that stand in the file as markup; takes their pictures, the first ones, from `texts`."""
    pairs = chosen[:PAGE_SIZE]
    kept = list(islice(texts, len(_numbered(pairs))))
    cards = [
        {
            "pair": pair,
            "score": _score(pair)[1],
            "quarter": quarter_deg(pair),
            "sides": [_side(image, numbers[image], kept) for image in _ends(pair)],
        }
        for pair in pairs
    ]
    return {"cards": cards, "first_picture": len(kept)}


def _side(image: _Image, number: int, kept: Sequence[str]) -> dict[str, Any]:
    return {
        "number": number,
        "address": ADDRESS + kept[number],
        "pieces": re.split(r"(?<=[/#])", shown(image.path)),
        "split": shown(image.split),
        "label": shown(image.label),
    }


def _gallery(chosen: Sequence[PairRow], numbers: Mapping[_Image, int]) -> dict[str, Any]:
    """What the script needs of all pairs, and how many there are for each filter."""
    kinds = list(KIND_NAMES)
    rows = []
    for p in chosen:
        a, b = (numbers[image] for image in _ends(p))
        rows.append((a, b, kinds.index(p.kind), *_score(p), int(p.mirrored), quarter_deg(p)))
    return {
        "pairs_json": script_json(
            {
                "address": ADDRESS,
                "chunk": CHUNK,
                "size": PAGE_SIZE,
                "kinds": [(key, KIND_NAMES[key]) for key in kinds],
                "images": [(shown(image.path), shown(image.split), shown(image.label)) for image in numbers],
                "cells": {n: cell for image, n in numbers.items() if (cell := _cell(image.path)) != shown(image.path)},
                "pairs": rows,
            }
        ),
        "n_pairs": len(chosen),
        "kind_names": KIND_NAMES,
        "kind_counts": {key: sum(p.kind == key for p in chosen) for key in kinds},
        "only_counts": [
            ("parts", "across parts", sum(p.crosses for p in chosen)),
            ("classes", "across classes", sum(p.conflicts for p in chosen)),
            ("mirrored", "mirrored", sum(p.mirrored for p in chosen)),
        ],
    }
