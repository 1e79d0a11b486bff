"""How each way to make heat stands against its controls, and the paragraph a page of heatmaps is read for.

In: the score of `explanations.json`. Out: standings and sentences. A method is better than a control only where the
interval of their paired difference lies above zero, and stands above chance only where it is better than them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tumorscope.reporting.contract import Est
from tumorscope.reporting.contract_explanations import CascadeStep, HeatScore
from tumorscope.reporting.words import count, decimal, listed, metric_range, metric_value, quoted

LEADING = "energy"
"""The measure that the best method is named by: it needs no threshold and uses the whole map."""
VALIDATION = "validation images"
"""What `best_by` says where the leading method was not chosen on the scored images."""
RESEMBLES = 0.5
"""Rank correlation that parts maps that change with the weights from maps that do not; a choice, not a law."""
MARKS = {"better": "▲", "same": "≈", "worse": "▼", "unknown": "?"}
TONE_WORDS = {
    "better": "better than",
    "same": "not distinguishable from",
    "worse": "worse than",
    "unknown": "no interval against",
}


def tone(gap: Est | None) -> str:
    """What a paired difference shows: "better", "worse", "same" (the interval holds zero) or "unknown"."""
    if gap is None or gap.low is None or gap.high is None:
        return "unknown"
    return "better" if gap.low > 0 else "worse" if gap.high < 0 else "same"


@dataclass(frozen=True)
class Paragraph:
    """What a page is read for: `tone` is "better", "same", "worse" or "unknown", `tag` says it in a few words."""

    tone: str
    tag: str
    text: str


@dataclass(frozen=True)
class Standing:
    """One method by one measure against all its controls: titles of the controls by tone."""

    controls: dict[str, tuple[str, ...]]

    @property
    def total(self) -> int:
        """Number of controls."""
        return sum(map(len, self.controls.values()))

    @property
    def tone(self) -> str:
        """The least flattering tone; "better" only where it holds against every control."""
        return next((t for t in ("worse", "same", "unknown", "better") if self.controls.get(t)), "unknown")

    @property
    def mark(self) -> str:
        """A few signs for a table cell, such as "▼ 1 ≈ 2 of 6"."""
        if self.tone == "better":
            return f"{MARKS['better']} above all"
        parts = [f"{MARKS[t]} {len(names)}" for t in ("worse", "same", "unknown") if (names := self.controls.get(t))]
        return f"{' '.join(parts)} of {self.total}" if parts else ""

    @property
    def words(self) -> str:
        """The same as a sentence with names, without a full stop."""
        if not self.total:
            return "compared with no control"
        return "; ".join(
            f"{TONE_WORDS[t]} {listed(quoted(names))}"
            for t in ("worse", "same", "unknown", "better")
            if (names := self.controls.get(t))
        )


def standing(score: HeatScore, name: str, measure: str) -> Standing:
    """How source `name` stands by one measure against everything it was compared with."""
    found: dict[str, list[str]] = {}
    for control, gaps in score.gaps.get(name, {}).items():
        found.setdefault(tone(gaps.get(measure)), []).append(score.sources[control].title)
    return Standing({key: tuple(titles) for key, titles in found.items()})


def methods(score: HeatScore) -> list[str]:
    """Names of the methods: the one that was chosen, then by heat in the boxes, those without a value last."""
    names = [name for name, source in score.sources.items() if source.kind == "method"]
    return sorted(names, key=lambda name: (name != score.best, -(_leading(score, name) or -1.0)))


def _leading(score: HeatScore, name: str) -> float | None:
    found = score.sources[name].overall.get(LEADING)
    return None if found is None else found.value


def last_step(steps: Sequence[CascadeStep]) -> CascadeStep | None:
    """The step with most of the model random."""
    return max(steps, key=lambda s: s.groups / s.of, default=None)


def change(steps: Sequence[CascadeStep]) -> str:
    """What random weights do to a method's maps: "better" (they change), "worse" (they do not), "same", "unknown"."""
    step = last_step(steps)
    if step is None or step.similarity.low is None or step.similarity.high is None:
        return "unknown"
    if step.similarity.high < RESEMBLES:
        return "better"
    return "worse" if step.similarity.low >= RESEMBLES else "same"


CHANGES = {
    "better": "Random weights change its maps",
    "same": "Random weights change its maps only in part",
    "worse": "Random weights hardly change its maps, which then show the image rather than what was learnt",
}


TAGS = {
    "better": "Better than every control",
    "same": "Not better than every control",
    "worse": "Worse than a control",
    "unknown": "Not compared",
}
DOUBTS = {
    "worse": ("worse", "Fails the sanity check"),
    "same": ("same", "Passes the sanity check only in part"),
    "unknown": ("unknown", "Without a sanity check"),
}
"""Tone and tag of a method that is better than its controls, by what random weights do to its maps."""


def verdict(score: HeatScore) -> Paragraph:
    """The paragraph at the head of the page; its tone is as good as the worse of controls and sanity check."""
    names = methods(score)
    if not names or _leading(score, names[0]) is None:
        return Paragraph("unknown", TAGS["unknown"], "No method has a score for its share of heat in the boxes.")
    best = names[0]
    found = standing(score, best, LEADING)
    sentences = [
        _lead(score, best, len(names)),
        _rival(score, best),
        _against(score.sources[best].title, found),
        _dependence(score, best),
    ]
    stuck = [score.sources[n].title for n in names[1:] if change(score.cascade.get(n, ())) == "worse"]
    if stuck:
        sentences.append(f"Random weights hardly change the maps of {listed(stuck)}.")
    kind = change(score.cascade.get(best, ()))
    doubt = DOUBTS.get(kind) if found.tone == "better" else None
    return Paragraph(*(doubt or (found.tone, TAGS[found.tone])), " ".join(filter(None, sentences)))


def _lead(score: HeatScore, best: str, number: int) -> str:
    energy = score.sources[best].overall[LEADING]
    title, interval = score.sources[best].title, metric_range(LEADING, energy.low, energy.high)
    of = f"Of {count(number)} methods, " if number > 1 else ""
    most = f"{title} has the largest share of its heat in the boxes"
    if number == 1:
        most = f"{title} has this share of its heat in the boxes"
    elif score.best_by == VALIDATION:
        most = f"{title} was chosen on validation images; it has this share of its heat in the boxes"
    return f"{of}{most}: {metric_value(LEADING, energy.value)} ({interval})."


def _rival(score: HeatScore, best: str) -> str:
    known = {c: v for c in score.gaps.get(best, {}) if (v := _leading(score, c)) is not None}
    if not known:
        return ""
    rival = max(known, key=lambda name: known[name])
    return f"Of its controls, “{score.sources[rival].title}” has the most: {metric_value(LEADING, known[rival])}."


def _against(title: str, found: Standing) -> str:
    if not found.total:
        return f"{title} was compared with no control: whether it shows more than chance is not known."
    if found.tone == "better" and found.total == 1:
        return f"{title} is better than its only control: the paired interval lies above zero."
    if found.tone == "better":
        return (
            f"{title} is better than every one of its {count(found.total)} controls:"
            " each paired interval lies above zero."
        )
    better = len(found.controls.get("better", ()))
    rest = Standing({t: names for t, names in found.controls.items() if t != "better"}).words
    return f"{title} is better than {count(better)} of its {count(found.total)} controls, but {rest}."


def _dependence(score: HeatScore, best: str) -> str:
    step = last_step(score.cascade.get(best, ()))
    kind = change(score.cascade.get(best, ()))
    if step is None or kind == "unknown":
        return "Whether random weights change its maps is not known."
    drawn = "all weights" if step.groups == step.of else f"{count(step.groups)} of {count(step.of)} parameter groups"
    value, low, high = (
        decimal(v, places=2) for v in (step.similarity.value, step.similarity.low, step.similarity.high)
    )
    return (
        f"{CHANGES[kind]}: with {drawn} drawn anew, their rank correlation with the trained model’s is"
        f" {value} ({low} to {high})."
    )
