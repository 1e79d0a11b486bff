"""A figure as it was printed, and which fractions k/n round to it: decimals and fractions, no floats."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from tumorscope.core.errors import UsageError

SEARCH_LIMIT = 200_000
"""Largest number of images tried. A figure of d decimals fits every multiple of 10^d, so few need as many."""
_NUMBER = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*(%?)\s*")


@dataclass(frozen=True, slots=True)
class Printed:
    """A share as printed.

    Attributes:
        text: As it was given.
        share: Its exact value, 0..1.
        decimals: Decimals of the share: four for "99.96%" and for "0.9996".
        percent: True if it was read as a percentage.
    """

    text: str
    share: Fraction
    decimals: int
    percent: bool

    def again(self, value: Fraction) -> str:
        """`value` printed as this figure was: same decimals, percent or not, halves up."""
        steps = value * 10**self.decimals
        share = Decimal(math.floor(steps + Fraction(1, 2))).scaleb(-self.decimals)
        return f"{share.scaleb(2):f}%" if self.percent else f"{share:f}"

    def ranges(self) -> dict[str, Range]:
        """What each kind of rounding maps to this figure: halves up, halves to even, cut off."""
        step = Fraction(1, 10**self.decimals)
        low, high = self.share - step / 2, self.share + step / 2
        even = int(self.share * 10**self.decimals) % 2 == 0
        return {
            "half-up": Range(low, high, True, False),
            "half-even": Range(low, high, even, even),
            "truncation": Range(self.share, self.share + step, True, False),
        }


@dataclass(frozen=True, slots=True)
class Range:
    """Values from `low` to `high`; each end belongs to it or not."""

    low: Fraction
    high: Fraction
    low_in: bool
    high_in: bool

    def __contains__(self, value: Fraction) -> bool:
        above = value >= self.low if self.low_in else value > self.low
        return above and (value <= self.high if self.high_in else value < self.high)

    def multiples(self, n: int) -> tuple[int, int] | None:
        """(smallest, largest) k in 0..n whose k/n lies in the range, None if there is none."""
        low, high = self._ends(n)
        return (low, high) if low <= high else None

    def _ends(self, n: Any) -> Any:
        """Smallest and largest k, for one n or an array of them; where the first is larger there is none."""
        low = -((-self.low.numerator * n) // self.low.denominator)
        high = (self.high.numerator * n) // self.high.denominator
        if not self.low_in:
            low = (self.low.numerator * n) // self.low.denominator + 1
        if not self.high_in:
            high = -((-self.high.numerator * n) // self.high.denominator) - 1
        if isinstance(n, int):
            return max(low, 0), min(high, n)
        return np.maximum(low, 0), np.minimum(high, n)

    def sizes_that_fit(self, limit: int) -> list[int]:
        """Every n in 1..limit for which some k/n lies in the range, rising."""
        wide = max(self.low.denominator, self.high.denominator) * limit > 2**62
        low, high = self._ends(np.arange(1, limit + 1, dtype=object if wide else np.int64))
        return [int(i) + 1 for i in np.flatnonzero(low <= high)]


def read_figure(figure: Decimal | str) -> Printed:
    """The figure with its decimals: "0.9996", "99.96%" and "99.96" are the same share to four decimals.

    A number above 1 without a percent sign is read as a percentage.

    Raises:
        UsageError: Not a plain number, not within 0..100%, or a float, whose decimals are not those printed.
    """
    if not isinstance(figure, (str, Decimal)):
        raise _unreadable(repr(figure), "text or Decimal, as printed: a float has lost its last zeros")
    if isinstance(figure, Decimal) and not figure.is_finite():
        raise _unreadable(str(figure), "a finite number")
    text = format(figure, "f") if isinstance(figure, Decimal) else figure
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise _unreadable(repr(text), "a plain number such as 0.9996 or 99.96%")
    number = Decimal(match[1])
    decimals = max(0, -int(number.as_tuple().exponent))
    percent = match[2] == "%" or number > 1
    share = Fraction(number) / 100 if percent else Fraction(number)
    if share > 1:
        raise _unreadable(repr(text), "at most 100%")
    return Printed(text.strip(), share, decimals + 2 if percent else decimals, percent)


def _unreadable(found: str, expected: str) -> UsageError:
    return UsageError(f"the figure {found} cannot be checked", expected=expected, fix="copy it as the claim prints it")
