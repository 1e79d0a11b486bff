"""What a check is: a code, a title, a severity, and a look at the material that ends in one of four outcomes.

In: `Material`. Out: `Answer`, which `Check.run` turns into a `Result` with the check's own code and title. A check
that cannot look says why; silence is never a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tumorscope.auditing.material import Material
from tumorscope.core.types import Severity

Outcome = Literal["fine", "finding", "not applicable", "skipped"]
OUTCOMES: tuple[Outcome, ...] = ("finding", "fine", "not applicable", "skipped")
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
EXAMPLES = 20
"""Paths listed of a finding in `audit.json`; `count` holds how many there are."""
DOC_PAGE = "docs/reference/findings.md"


def gravity(severity: Severity, code: str) -> tuple[int, bool, str]:
    """Sorts findings the gravest first: by severity, copies and patients before the rest, then by code."""
    return SEVERITIES.index(severity), not code.startswith("LEAK"), code


@dataclass(frozen=True)
class Answer:
    """What a look found.

    Attributes:
        outcome: One of `OUTCOMES`.
        detail: One sentence with the numbers; for "not applicable" and "skipped", why.
        paths: Concerned images, all of them, gravest first.
        count: How many items are concerned.
        figures: JSON-able numbers behind the sentence, such as estimates with their intervals.
        severity: Graver or milder than the check's own, where the numbers ask for it.
    """

    outcome: Outcome
    detail: str
    paths: tuple[str, ...] = ()
    count: int = 0
    figures: Mapping[str, Any] = field(default_factory=dict)
    severity: Severity | None = None


def fine(detail: str, *, figures: Mapping[str, Any] | None = None) -> Answer:
    """Looked, and nothing is wrong; `detail` says what was looked at."""
    return Answer("fine", detail, figures=figures or {})


def found(
    detail: str,
    *,
    paths: Iterable[str] = (),
    count: int | None = None,
    figures: Mapping[str, Any] | None = None,
    severity: Severity | None = None,
) -> Answer:
    """Something is wrong; `count` is the number of paths unless given."""
    listed = tuple(paths)
    return Answer("finding", detail, listed, len(listed) if count is None else count, figures or {}, severity)


def not_applicable(why: str) -> Answer:
    """There is nothing in the data for the check to look at."""
    return Answer("not applicable", why)


def skipped(why: str) -> Answer:
    """The check could not look although there is something to look at."""
    return Answer("skipped", why)


@dataclass(frozen=True)
class Result:
    """One line of an audit; fields as in `Answer`, with the check's code and title."""

    code: str
    title: str
    severity: Severity
    outcome: Outcome
    detail: str
    count: int
    paths: tuple[str, ...]
    figures: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As it stands in `audit.json`; examples are cut at `EXAMPLES`."""
        return {
            "code": self.code,
            "title": self.title,
            "severity": self.severity,
            "outcome": self.outcome,
            "detail": self.detail,
            "count": self.count,
            "examples": list(self.paths[:EXAMPLES]),
            "figures": dict(self.figures),
            "doc": f"{DOC_PAGE}#{self.code.lower()}",
        }


def signed(answer: Answer, *, code: str, title: str, severity: Severity) -> Result:
    """`answer` as the line of an audit; the answer's own severity goes before the one given."""
    return Result(
        code,
        title,
        answer.severity or severity,
        answer.outcome,
        answer.detail,
        answer.count,
        answer.paths,
        answer.figures,
    )


@dataclass(frozen=True)
class Check:
    """One thing that may be wrong with data.

    Attributes:
        code: Stable code such as "LEAK013".
        title: One sentence without numbers that is true when it ends as a finding.
        severity: "info", "warning" or "error".
        look: From the material to an answer.
        by_parts: True if the answer depends on which images train and which test.
    """

    code: str
    title: str
    severity: Severity
    look: Callable[[Material], Answer]
    by_parts: bool = False

    def run(self, material: Material) -> Result:
        """Look, and sign the answer."""
        return signed(self.look(material), code=self.code, title=self.title, severity=self.severity)
