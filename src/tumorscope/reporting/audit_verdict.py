"""The one sentence an audit is read for, and the tally of its checks.

In: the content of `audit.json`. Out: a severity and a sentence. Copies of test images come first, because every
test figure rests on there being none; then copies within the data; then whatever finding is gravest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tumorscope.auditing.check import SEVERITIES, gravity
from tumorscope.core.types import Severity
from tumorscope.reporting.words import count, plural

SEVERITY_NAMES: dict[Severity, str] = {"error": "Error", "warning": "Warning", "info": "Note"}
ACROSS = frozenset({"LEAK011", "LEAK012", "LEAK013"})
"""Test images with a copy in training or validation; each image is counted under one of these codes."""
WITHIN = frozenset({"LEAK001", "LEAK002", "LEAK003"})
"""Images with a copy anywhere; each is counted under one."""


@dataclass(frozen=True)
class Verdict:
    """What matters most, and the numbers where `text` has none; `severity` is None where nothing was found."""

    severity: Severity | None
    text: str
    detail: str = ""

    @property
    def name(self) -> str:
        """The severity in a word."""
        return "No finding" if self.severity is None else SEVERITY_NAMES[self.severity]


def gravest_first(results: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The findings among `results`, the gravest first."""
    found = (r for r in results if r["outcome"] == "finding")
    return sorted(found, key=lambda r: gravity(r["severity"], r["code"]))


def verdict(audit: Mapping[str, Any]) -> Verdict:
    """The sentence at the head of the page."""
    results = audit["findings"]
    found = gravest_first(results)
    if leaked := _images(found, ACROSS):
        test = max(r["figures"]["test_images"] for r in found if r["code"] in ACROSS)
        verb = "has" if leaked == 1 else "have"
        return Verdict(
            "error", f"{count(leaked)} of {plural(test, 'test image')} {verb} a copy in training or validation."
        )
    gravest = found[0] if found else None
    if (gravest is None or gravest["severity"] != "error") and (copies := _images(found, WITHIN)):
        verb = "has" if copies == 1 else "have"
        text = f"{count(copies)} of {plural(audit['data']['images'], 'image')} {verb} a copy within the data; "
        checked = any(r["code"] in ACROSS and r["outcome"] == "fine" for r in results)
        parts = "no test image has one in training or validation."
        return Verdict(
            "warning", text + (parts if checked else "a random split can put copies in both training and test.")
        )
    if gravest is not None:
        return Verdict(gravest["severity"], gravest["title"], gravest["detail"])
    tally = Counter(r["outcome"] for r in results)
    text = f"Nothing was found by {plural(tally['fine'], 'check')}"
    return Verdict(None, text + (f"; {count(tally['skipped'])} could not look." if tally["skipped"] else "."))


def outcomes(results: Iterable[Mapping[str, Any]]) -> str:
    """How the checks ended: "2 errors, 1 warning, 3 notes; 20 checks fine, 9 not applicable, 1 skipped"."""
    ended = Counter(r["severity"] if r["outcome"] == "finding" else r["outcome"] for r in results)
    found = [plural(ended[s], SEVERITY_NAMES[s].lower()) for s in SEVERITIES if ended[s]]
    rest = [f"{count(ended[o])} {o}" for o in ("fine", "not applicable", "skipped") if ended[o]]
    return "; ".join(filter(None, [", ".join(found) or "no finding", ", ".join(rest)]))


def _images(found: Iterable[Mapping[str, Any]], codes: Collection[str]) -> int:
    return sum(int(r["figures"].get("images", r["count"])) for r in found if r["code"] in codes)
