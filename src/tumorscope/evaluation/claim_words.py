"""A `ClaimReport` in words: one sentence a fact, numbers included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tumorscope.evaluation.printed import SEARCH_LIMIT

if TYPE_CHECKING:
    from tumorscope.evaluation.claims import ClaimReport

ROUNDINGS = {
    "half-up": "rounding halves up",
    "half-even": "rounding halves to even",
    "truncation": "cutting off",
}


def sentences(report: ClaimReport, *, percent_assumed: bool) -> tuple[str, ...]:
    """What the report says, most important first."""
    what = f"{report.metric.replace('_', ' ')} {report.printed} on {report.n:,} images"
    lines = [*_possible(report, what), *_sizes(report)]
    if percent_assumed:
        lines.append(f"{report.printed} was read as {report.printed}%")
    if report.interval.low is not None and report.interval.high is not None:
        low, high = 100 * report.interval.low, 100 * report.interval.high
        lines.append(f"{100 * report.level:g}% interval {low:.1f} to {high:.1f}%, if the images are independent")
    if report.majority is not None:
        share, p = 100 * report.majority.share, report.majority.p_value
        says = "above" if report.majority.verdict == "above" else "not distinguishable from"
        lines.append(f"{says} always answering the most frequent class ({share:.1f}%), one-sided p = {p:.2g}")
    for width, size in report.needed.items():
        lines.append(f"an interval of +/- {float(width):.1%} at this figure needs {size:,} images")
    return tuple(lines)


def _possible(report: ClaimReport, what: str) -> list[str]:
    fits = [ROUNDINGS[name] for name, one in report.by_rounding.items() if one]
    if report.possible is None:
        return [f"{what}: arithmetic cannot tell; it depends on the sizes of the classes"]
    if not report.possible:
        lines = [f"{what} is impossible: no count of right answers gives it, however it is rounded"]
        if report.nearest:
            near = " and ".join(f"{one.k:,}/{report.n:,} = {one.printed}" for one in report.nearest)
            lines.append(f"the nearest possible values are {near}")
        elif report.metric == "weighted_f1":
            best = 1 - 5 / (6 * report.n)
            lines[0] = f"{what} is impossible: one error already leaves at most {best:.5f}"
        return lines
    how = "" if len(fits) == len(report.by_rounding) else f", but only by {' or '.join(fits)}"
    found = {name: one for name, one in report.by_rounding.items() if one}
    if "fewest_right" not in next(iter(found.values())):
        example = ", ".join(f"{k} {v}" for k, v in next(iter(found.values())).items())
        return [f"{what} is possible{how}: for instance {example}"]
    errors = {name: _errors(report.n, one) for name, one in found.items()}
    if len(set(errors.values())) == 1:
        return [f"{what} is possible{how}: {next(iter(errors.values()))}"]
    return [f"{what} is possible: " + "; ".join(f"{one} by {ROUNDINGS[name]}" for name, one in errors.items())]


def _errors(n: int, counts: dict[str, int]) -> str:
    few, many = n - counts["most_right"], n - counts["fewest_right"]
    return f"{few:,} errors" if few == many else f"{few:,} to {many:,} errors"


def _sizes(report: ClaimReport) -> list[str]:
    if report.possible is not False or not report.nearest:
        return []
    if report.smallest_n is None:
        return [f"no number of images up to {SEARCH_LIMIT:,} gives it"]
    near = " and ".join(f"{size:,}" for size in report.nearest_n)
    return [f"the fewest images that give it are {report.smallest_n:,}; nearest to {report.n:,}: {near}"]
