"""Cells of a CSV file that a spreadsheet opens without running anything, and that read back exactly."""

from __future__ import annotations

import re

import numpy as np

from tumorscope.core.types import Probs

_NEEDS_APOSTROPHE = re.compile(r"'*[=+\-@\t\r\n]")
_HAS_APOSTROPHE = re.compile(r"'+[=+\-@\t\r\n]")
_NEEDS_QUOTES = re.compile(r'[",\r\n]|^\s|\s$')


def escape_cell(text: str) -> str:
    """`text` with an apostrophe in front where a spreadsheet would take it for a formula; reversible.

    Concerned are cells that begin with = + - @, a tab or a line end (OWASP, CSV injection); text that already
    begins with apostrophes before such a character gets one more, so that reading is exact.
    """
    return "'" + text if _NEEDS_APOSTROPHE.match(text) else text


def unescape_cell(text: str) -> str:
    """The reverse of `escape_cell`."""
    return text[1:] if _HAS_APOSTROPHE.match(text) else text


def quote_cell(cell: str) -> str:
    """`cell` in double quotes where it holds a comma, quote, line end or blanks at its ends (RFC 4180)."""
    return '"' + cell.replace('"', '""') + '"' if _NEEDS_QUOTES.search(cell) else cell


def number_format(probs: Probs) -> str:
    """Nine digits if they keep each row's largest class and tie no two scores of a column, else seventeen."""
    short = np.array([[float(format(p, ".9g")) for p in row] for row in probs])
    columns = range(probs.shape[1])
    same_class = np.array_equal(short.argmax(1), probs.argmax(1))
    same_order = all(np.unique(short[:, c]).size == np.unique(probs[:, c]).size for c in columns)
    return ".9g" if same_class and same_order else ".17g"
