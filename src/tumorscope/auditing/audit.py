"""The audit: every check run on one data set, and its files.

In: a Manifest, its copies, the parts. Out: `Audit`; `audit.json` and `pairs.csv` in a folder. The page for people
is made one floor up, from this value alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import tumorscope
from tumorscope.auditing.check import Check, Result, gravity
from tumorscope.auditing.checks import CHECKS
from tumorscope.auditing.material import Material
from tumorscope.auditing.pairs import PairRow, pair_rows, write_pairs
from tumorscope.core.files import write_json
from tumorscope.core.types import SplitName
from tumorscope.data.copies.survey import KINDS, Survey
from tumorscope.data.manifest import Manifest
from tumorscope.data.splitting import LIKELY_KINDS

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        material: What was looked at.
        results: One a check, in the order of the registry.
    """

    material: Material = field(repr=False)
    results: tuple[Result, ...]

    @property
    def findings(self) -> tuple[Result, ...]:
        """Results that found something, gravest first."""
        found = (r for r in self.results if r.outcome == "finding")
        return tuple(sorted(found, key=lambda r: gravity(r.severity, r.code)))

    @property
    def alarming(self) -> bool:
        """True if a finding is an error or a warning."""
        return any(r.severity != "info" for r in self.findings)

    @cached_property
    def pairs(self) -> tuple[PairRow, ...]:
        """All pairs, gravest first."""
        return pair_rows(self.material)

    def __str__(self) -> str:
        """The findings, a line each, and how many checks were fine, did not apply or were skipped."""
        others = Counter(r.outcome for r in self.results if r.outcome != "finding")
        lines = [f"{r.severity:8} {r.code}  {r.title} {r.detail}" for r in self.findings]
        told = ", ".join(f"{n} {outcome}" for outcome, n in others.items())
        return "\n".join([*lines, f"{len(self.findings)} findings; {told}"])

    def to_json(self, *, command: str) -> dict[str, Any]:
        """The content of `audit.json`."""
        manifest, survey = self.material.manifest, self.material.survey
        kinds = Counter(row.kind for row in self.pairs)
        parts: dict[str, dict[str, int]] = {}
        for record, part in zip(manifest.records, self.material.part_names, strict=True):
            if part is not None:
                parts.setdefault(part, dict.fromkeys(manifest.classes, 0))[record.label] += 1
        return {
            "tumorscope": tumorscope.__version__,
            "command": command,
            "data": {
                "name": manifest.info.name or manifest.root.name,
                "layout": manifest.layout,
                "summary": manifest.summary,
                "images": len(manifest),
                "classes": dict(Counter(r.label for r in manifest.records)),
                "parts": parts,
                "sha256": manifest.sha256,
            },
            "findings": [result.to_json() for result in self.results],
            "pairs": {
                **{kind: kinds[kind] for kind in KINDS},
                "mirrored": sum(row.mirrored and row.kind != "patient-likely" for row in self.pairs),
                "across parts": sum(row.crosses for row in self.pairs),
                "across classes": sum(row.conflicts for row in self.pairs),
            },
            "groups": {
                "copies": len(np.unique(survey.copies)),
                "likely patients": len(np.unique(survey.groups(LIKELY_KINDS))),
            },
        }

    def write(self, out: Path, *, command: str) -> dict[str, Any]:
        """Write `audit.json` and `pairs.csv` into `out`; returns the content of the former."""
        content = self.to_json(command=command)
        write_pairs(out / "pairs.csv", self.pairs)
        write_json(out / "audit.json", content)
        return content


def official_parts(manifest: Manifest) -> dict[str, SplitName]:
    """Path to part of the records that name one."""
    return {r.path: r.split for r in manifest.records if r.split is not None}


def audit(
    manifest: Manifest,
    survey: Survey,
    *,
    parts: Mapping[str, SplitName] | None = None,
    checks: Sequence[Check] = CHECKS,
    known: Mapping[str, Result] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Audit:
    """Run every check.

    Args:
        manifest: The data.
        survey: Its copies.
        parts: Path to part; the data's own by default.
        checks: What to look for.
        known: Results by code from an earlier audit of the same data, taken as they are.
        seed: Root of every random choice.
        progress: Called as ("check", done, total).
    """
    material = Material(manifest, survey, official_parts(manifest) if parts is None else parts, seed)
    results = []
    for done, check in enumerate(checks, start=1):
        results.append((known or {}).get(check.code) or check.run(material))
        if progress is not None:
            progress("check", done, len(checks))
    return Audit(material, tuple(results))
