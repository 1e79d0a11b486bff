"""Audits to make pages of: content of `audit.json`, pairs of generated pictures, hostile names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tumorscope.auditing.pairs import PairRow
from tumorscope.core.types import Pixels
from tumorscope.data.copies.groups import CopyKind

SIDE_PX = 16


def estimate(value: float, low: float, high: float) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "method": "bootstrap-groups"}


def result(code: str, outcome: str, severity: str = "warning", **values: Any) -> dict[str, Any]:
    """One entry of `findings`."""
    return {
        "code": code,
        "title": f"Title of {code}.",
        "severity": severity,
        "outcome": outcome,
        "detail": f"Detail of {code}.",
        "count": len(values.get("examples", ())),
        "examples": [],
        "figures": {},
        "doc": f"docs/reference/findings.md#{code.lower()}",
        **values,
    }


FINDINGS = (
    result("CUT001", "finding", figures={"balanced_accuracy": estimate(0.78, 0.72, 0.83), "chance": 0.25, "folds": 5}),
    result("CUT002", "fine", figures={"balanced_accuracy": estimate(0.26, 0.2, 0.31), "chance": 0.25}),
    result("DATA002", "finding", "info", examples=["a.jpg", "b.jpg"], count=2),
    result("DATA010", "not applicable", detail="The data has no boxes."),
    result("LEAK003", "finding", count=40, figures={"images": 40}),
    result("LEAK011", "finding", "error", count=216, figures={"images": 216, "test_images": 1311}),
    result("LEAK012", "fine"),
    result("LEAK013", "finding", "error", count=782, examples=["c.jpg"], figures={"images": 782, "test_images": 1311}),
    result("LABEL001", "skipped", detail="The optional package is missing."),
)


def audit_of(pairs: Sequence[PairRow], findings: Sequence[dict[str, Any]] = FINDINGS) -> dict[str, Any]:
    """Content of `audit.json`."""
    kinds = ("exact", "pixels", "near", "patient-likely")
    return {
        "tumorscope": "1.2.3",
        "command": "tumorscope audit 'my data'",
        "data": {
            "name": "scans",
            "layout": "class-folders",
            "summary": "2 classes, official split, 7,019 images",
            "images": 7019,
            "classes": {"glioma": 4000, "notumor": 3019},
            "parts": {"train": {"glioma": 3000, "notumor": 2708}, "test": {"glioma": 1000, "notumor": 311}},
            "sha256": "ab" * 32,
        },
        "findings": list(findings),
        "pairs": {
            **{kind: sum(p.kind == kind for p in pairs) for kind in kinds},
            "mirrored": sum(p.mirrored for p in pairs),
            "across parts": sum(p.crosses for p in pairs),
            "across classes": sum(p.conflicts for p in pairs),
        },
        "groups": {"copies": 3489, "likely patients": 2267},
    }


def pair(a: int, b: int, **values: Any) -> PairRow:
    """A pair of rows `a` and `b`: a near copy within training, unless said otherwise."""
    usual: dict[str, Any] = {
        "image_a": f"Training/glioma/{a:05}.jpg",
        "image_b": f"Training/glioma/{b:05}.jpg",
        "kind": "near",
        "score": 0.9,
        "mirrored": False,
        "rotation_deg": 0.0,
        "split_a": "train",
        "split_b": "train",
        "label_a": "glioma",
        "label_b": "glioma",
        "row_a": a,
        "row_b": b,
    }
    return PairRow(**{**usual, **values})


KINDS: tuple[CopyKind, ...] = ("exact", "pixels", "near", "patient-likely")


def mixed_pairs(n: int) -> list[PairRow]:
    """`n` pairs of `2 n` images: every kind, a third across parts, a seventh across classes, a fifth mirrored."""
    return [
        pair(
            2 * i,
            2 * i + 1,
            kind=KINDS[i % 4],
            score=round(0.5 + (i * 37 % 100) / 200, 3),
            mirrored=i % 5 == 1,
            split_b="test" if i % 3 == 0 else "train",
            label_b="notumor" if i % 7 == 0 else "glioma",
        )
        for i in range(n)
    ]


def level(row: int) -> int:
    """Gray level of the picture at `row`: neighbours differ by far."""
    return row * 97 % 256


def flat(rows: Sequence[int]) -> Iterator[Pixels]:
    """Pictures of one gray level each, told by their row."""
    for row in rows:
        yield np.full((SIDE_PX, SIDE_PX), level(row), np.uint8)


EVIL = "<script>alert(1)</script>\"' onload=x & </style><!-- \u202e${{7*7}}{% raw %} \udce9\x00\U0001f480,\n"


def hostile_pairs() -> list[PairRow]:
    """Pairs whose every name would like to be markup."""
    return [
        pair(
            2 * i,
            2 * i + 1,
            image_a=f"={i}/{EVIL}.png",
            image_b=f"{i}#{EVIL}'.png",
            label_a=f"ill {EVIL}",
            label_b=f"well {EVIL}",
            split_b=f"test {EVIL}",
            mirrored=i == 1,
        )
        for i in range(60)
    ]
