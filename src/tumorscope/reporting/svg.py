"""A small drawing surface for line charts as inline SVG, coloured by the page's style sheet.

In: numbers in data units. Out: one `<svg>` as safe markup. Colours are class names (`c1`..`c8`, `grid`,
`axis`), so one drawing serves light, dark and print; text is real text in the page's font; coordinates have
one decimal, so the same numbers give the same bytes on every machine. (A plotting library fixes colours and
fonts into its SVG: it cannot follow the page into dark mode or print.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from tumorscope.reporting.words import shown

Point = tuple[float, float]


def ticks(low: float, high: float, *, most: int = 5, whole: bool = False) -> tuple[float, ...]:
    """At most about `most` round positions (1, 2, 2.5 or 5 times a power of ten) from `low` to `high`.

    Args:
        low: Smallest value to be covered by the axis.
        high: Largest value.
        most: Wished number of intervals.
        whole: Only whole numbers, for epochs and counts.
    """
    span = max(high - low, 1e-9)
    magnitude = 10.0 ** math.floor(math.log10(span / most))
    steps = [s * magnitude for s in (1, 2, 2.5, 5, 10, 20)]
    if whole:
        steps = [s for s in (*steps, 1.0, 2.0) if s >= 1 and s == int(s)]
    step = min(s for s in sorted(steps) if span / s <= most + 1e-9)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(round(i * step, 10) + 0.0 for i in range(first, last + 1))


@dataclass(frozen=True)
class Axis:
    """One axis in data units: its ends, where it is marked, what it measures and how marks are spelled."""

    low: float
    high: float
    marks: tuple[float, ...]
    label: str
    spell: Callable[[float], str] = "{:g}".format


UNIT = Axis(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0), "")
"""The axis of probabilities and rates."""


class Chart:
    """One chart: draw into it, then take `markup()`. Elements are painted in the order they are drawn.

    Args:
        name: Short text read out by screen readers as the picture's name.
        description: What a reader who cannot see it needs to know, with numbers.
        x: Horizontal axis.
        y: Vertical axis.
        width: Width of the drawing in its own units; the page scales it.
        height: Height of the drawing.
        left: Room for the vertical axis' numbers.
    """

    top, right, bottom = 10.0, 12.0, 42.0

    def __init__(
        self,
        name: str,
        *,
        description: str,
        x: Axis,
        y: Axis,
        width: float = 380.0,
        height: float = 270.0,
        left: float = 52.0,
    ) -> None:
        self.name, self.description = name, description
        self.x, self.y = x, y
        self.width, self.height, self.left = width, height, left
        self._parts: list[str] = []

    def px(self, value: float) -> float:
        """Horizontal position of a data value."""
        room = self.width - self.left - self.right
        return self.left + room * (value - self.x.low) / (self.x.high - self.x.low)

    def py(self, value: float) -> float:
        """Vertical position of a data value."""
        room = self.height - self.top - self.bottom
        return self.top + room * (self.y.high - value) / (self.y.high - self.y.low)

    def axes(self) -> None:
        """Grid lines, axis numbers and axis labels."""
        x0, x1 = self.left, self.width - self.right
        y0, y1 = self.height - self.bottom, self.top
        for mark in self.y.marks:
            y = self.py(mark)
            self._segment((x0, y), (x1, y), "grid")
            self.text((x0 - 7, y + 4), self.y.spell(mark), "tick end")
        for mark in self.x.marks:
            x = self.px(mark)
            self._segment((x, y0), (x, y1), "grid")
            self.text((x, y0 + 16), self.x.spell(mark), "tick mid")
        self._segment((x0, y0), (x1, y0), "axis")
        self._segment((x0, y0), (x0, y1), "axis")
        if self.x.label:
            self.text(((x0 + x1) / 2, self.height - 7), self.x.label, "label mid")
        if self.y.label:
            middle = (y0 + y1) / 2
            self.text((11, middle), self.y.label, "label mid", turn=-90)

    def line(self, points: Iterable[Point], look: str) -> None:
        """A line through `points` (data units); points closer than a tenth of a unit are drawn as one."""
        placed = [(self.px(x), self.py(y)) for x, y in points]
        spelled = _path(placed)
        if spelled:
            self._parts.append(f'<path class="{escape(look)}" d="{spelled}"/>')

    def dot(self, point: Point, look: str, *, radius: float = 3.5, title: str = "") -> None:
        """A filled circle with an optional hover text."""
        x, y = self.px(point[0]), self.py(point[1])
        place = f'cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}"'
        self._parts.append(f'<circle class="{escape(look)}" {place}>{_title(title)}</circle>')

    def bar(self, low: Point, high: Point, look: str, *, title: str = "") -> None:
        """A filled rectangle between two corners in data units."""
        x0, x1 = sorted((self.px(low[0]), self.px(high[0])))
        y0, y1 = sorted((self.py(low[1]), self.py(high[1])))
        self._parts.append(
            f'<rect class="{escape(look)}" x="{_n(x0)}" y="{_n(y0)}" width="{_n(x1 - x0)}"'
            f' height="{_n(y1 - y0)}">{_title(title)}</rect>'
        )

    def rule(self, start: Point, end: Point, look: str) -> None:
        """A straight line between two points in data units."""
        self._segment((self.px(start[0]), self.py(start[1])), (self.px(end[0]), self.py(end[1])), look)

    def text(self, at: Point, words: str, look: str, *, turn: float = 0.0) -> None:
        """Words at a position in drawing units; `look` may hold `mid` or `end` for the alignment."""
        x, y = _n(at[0]), _n(at[1])
        turned = f' transform="rotate({turn:g} {x} {y})"' if turn else ""
        self._parts.append(f'<text class="{escape(look)}" x="{x}" y="{y}"{turned}>{escape(shown(words))}</text>')

    def _segment(self, start: Point, end: Point, look: str) -> None:
        self._parts.append(
            f'<path class="{escape(look)}" d="M{_n(start[0])} {_n(start[1])}L{_n(end[0])} {_n(end[1])}"/>'
        )

    def markup(self) -> Markup:
        """The drawing as markup, named and described for screen readers."""
        label = escape(shown(f"{self.name}. {self.description}"))
        size = f"0 0 {_n(self.width)} {_n(self.height)}"
        body = "".join(self._parts)
        return Markup(f'<svg class="chart" role="img" aria-label="{label}" viewBox="{size}">{body}</svg>')


def strip(
    low: float | None,
    value: float | None,
    high: float | None,
    *,
    marks: Sequence[tuple[float, str]] = (),
    look: str = "c1",
    ends: tuple[float, float] = (0.0, 1.0),
    dots: Sequence[float | None] = (),
) -> Markup:
    """One row of an interval plot: whisker from `low` to `high`, dot at `value`, dashed lines at `marks`.

    `dots` are drawn as small rings: the single runs behind a mean.

    Drawn for a table cell that says the same in words, so it is hidden from screen readers. Positions are
    percentages: the strip takes any width without distortion.
    """
    start, end = ends

    def at(number: float) -> str:
        return f"{_n(100 * (min(max(number, start), end) - start) / (end - start))}%"

    parts = ['<line class="track" x1="0%" x2="100%" y1="50%" y2="50%"/>']
    parts += [f'<line class="mark {escape(kind)}" x1="{at(m)}" x2="{at(m)}" y1="8%" y2="92%"/>' for m, kind in marks]
    if low is not None and high is not None:
        parts.append(f'<line class="whisker {escape(look)}" x1="{at(low)}" x2="{at(high)}" y1="50%" y2="50%"/>')
    parts += [f'<circle class="ring" cx="{at(d)}" cy="50%" r="4"/>' for d in dots if d is not None]
    if value is not None:
        parts.append(f'<circle class="dot {escape(look)}" cx="{at(value)}" cy="50%" r="5"/>')
    return Markup(f'<svg class="strip" aria-hidden="true" focusable="false">{"".join(parts)}</svg>')


def _n(number: float) -> str:
    text = f"{number:.1f}"
    return "0" if text == "-0.0" else text.removesuffix(".0")


def _title(words: str) -> str:
    return f"<title>{escape(shown(words))}</title>" if words else ""


def _path(placed: Sequence[Point]) -> str:
    """SVG path data without repeated points and points inside a straight horizontal or vertical run."""
    kept: list[tuple[str, str]] = []
    for point in ((_n(x), _n(y)) for x, y in placed):
        if kept and kept[-1] == point:
            continue
        if len(kept) > 1 and _between(kept[-2], kept[-1], point):
            kept[-1] = point
        else:
            kept.append(point)
    if not kept:
        return ""
    return "M" + "L".join(f"{x} {y}" for x, y in kept)


def _between(a: tuple[str, str], b: tuple[str, str], c: tuple[str, str]) -> bool:
    """True if `b` lies on a horizontal or vertical segment from `a` to `c`: a line does not need it."""
    for same, other in ((0, 1), (1, 0)):
        if a[same] == b[same] == c[same]:
            middle = float(b[other])
            return min(float(a[other]), float(c[other])) <= middle <= max(float(a[other]), float(c[other]))
    return False
