"""Figures of timings that took turns: medians, ratios, and which of our ways was the faster.

In: parts of the JSON file of the timings. Out: numbers and table cells.
"""

from __future__ import annotations

from statistics import mean, median, stdev
from typing import Any

from scipy import stats

Found = dict[str, Any]


def values(turns: list[Found], what: str) -> list[float]:
    """One figure of every turn."""
    return [float(turn[what]) for turn in turns]


def middle(turns: list[Found], what: str) -> float:
    """Median of one figure over the turns."""
    return median(values(turns, what))


def ratio(row: Found, ours: str, what: str) -> str:
    """Ratio of the medians, and the smallest and the largest ratio of a turn."""
    pairs = zip(values(row["baseline"], what), values(row[ours], what), strict=True)
    turns = [a / b for a, b in pairs]
    return f"{middle(row['baseline'], what) / middle(row[ours], what):.1f} ({min(turns):.1f} to {max(turns):.1f})"


def fastest(row: Found) -> str:
    """Whichever of ours took less time: as a short run computes, or compiled."""
    return min((n for n in ("ours", "compiled") if n in row), key=lambda n: middle(row[n], row["what"]))


def over_seeds(gaps: list[float]) -> str:
    """Mean of differences with its interval by Student's t."""
    half = float(stats.t.ppf(0.975, len(gaps) - 1)) * stdev(gaps) / len(gaps) ** 0.5
    return f"{mean(gaps):+.3f} ({mean(gaps) - half:+.3f} to {mean(gaps) + half:+.3f})"
