"""Result pages in sections, so that a part of a long benchmark is run again without the others.

In: a page as it stands and the sections that this call can write. Out: the page with those sections replaced. A
section begins at its "## " heading and says itself when and on which machine it was measured; what a call has no
figures for stays as it was, to the letter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from tumorscope.core.machine import machine, versions

MARK = "## "


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table and an empty line."""
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)] + [""]


def stamp() -> dict[str, Any]:
    """Day, processor, threads and torch of a measurement that ends now."""
    here = machine()
    return {
        "day": date.today().isoformat(),
        "cpu": here["cpu"],
        "threads": here["threads"],
        "torch": versions()["torch"],
    }


def measured(stamps: Sequence[Mapping[str, Any]]) -> str:
    """`Measured 2026-11-28: AMD EPYC, 2 threads, torch 2.15.0.`, once for each machine or version among them."""
    kinds = sorted({(s["cpu"], s["threads"], s["torch"]) for s in stamps})
    found = []
    for cpu, threads, torch in kinds:
        days = sorted({s["day"] for s in stamps if (s["cpu"], s["threads"], s["torch"]) == (cpu, threads, torch)})
        when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        some = f"{threads} thread{'' if str(threads) == '1' else 's'}"
        found.append(f"Measured {when}: {cpu}, {some}, torch {torch}.")
    return " ".join(found)


def split(text: str) -> tuple[str, dict[str, str]]:
    """What stands above the first section, and each section (heading included) by its title."""
    head: list[str] = []
    sections: dict[str, list[str]] = {}
    lines = head
    for line in text.splitlines():
        if line.startswith(MARK):
            lines = sections.setdefault(line.removeprefix(MARK), [])
        lines.append(line)
    return "\n".join(head).rstrip(), {title: "\n".join(body).rstrip() for title, body in sections.items()}


def merged(page: Path, head: str, order: Sequence[str], new: Mapping[str, Sequence[str]]) -> str:
    """The page with the sections of `new` written and the others kept.

    Args:
        page: The page as it stands; may be missing.
        head: What stands above the first section.
        order: Titles of all sections the page may have, in their order; others are dropped.
        new: Lines of a section below its heading, by title; an empty one is not there and keeps the old one.

    Returns:
        Markdown, ended by one line feed.
    """
    old = split(page.read_text(encoding="utf-8"))[1] if page.is_file() else {}
    parts = [head.rstrip()]
    for title in order:
        if new.get(title):
            parts.append("\n".join([MARK + title, "", *new[title]]).rstrip())
        elif title in old:
            parts.append(old[title])
    return "\n\n".join(parts) + "\n"
