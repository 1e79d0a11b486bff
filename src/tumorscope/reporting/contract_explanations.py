"""What the page of heatmaps needs from `explanations.json`, checked once, with every mistake in one message.

In: parsed JSON. Out: frozen models. Names that lead nowhere and numbers that are not finite are mistakes too.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from tumorscope.reporting.contract import Est, Part, SampleBox


class _Finite(Part):
    """A part whose numbers are finite."""

    model_config = ConfigDict(allow_inf_nan=False)


class Estimated(Est, _Finite):
    """An estimate with finite numbers."""


class ExplainedRun(Part):
    """Whose answers were explained; `bundle` is its SHA-256."""

    recipe: str
    title: str = ""
    bundle: str = ""


class ExplainedData(Part):
    """Which images were used: `what` says why, `left_out` counts the others by reason."""

    name: str
    n: int
    with_boxes: int
    what: str = ""
    left_out: dict[str, int] = Field(default_factory=dict)


class CutOffs(_Finite):
    """Shares of a map's maximum; `chosen_on` validation images, 0 where they are fixed; `energy` on those."""

    iou: float
    box: float
    chosen_on: int
    energy: float | None = None


class HeatSource(Part):
    """One row of the score: where heat comes from."""

    title: str
    kind: Literal["method", "control", "random-weights", "model"]
    method: str | None
    overall: dict[str, Estimated]
    source: str = ""
    thresholds: CutOffs | None = None
    empty: int = 0
    per_class: dict[str, dict[str, Estimated | int]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _classes_are_counted(self) -> HeatSource:
        for label, own in self.per_class.items():
            if [key for key, value in own.items() if isinstance(value, int)] != ["n"]:
                raise ValueError(f"class {label!r} needs a count n and an estimate for every measure")
        return self


class CascadeStep(Part):
    """Rank correlation with the trained model's maps once `groups` of the model are random."""

    groups: int = Field(ge=0)
    of: int = Field(ge=1)
    n: int
    similarity: Estimated


class HeatScore(Part):
    """What `tumorscope.explaining.score.score` returns."""

    n: int
    with_boxes: int
    searched: int
    measures: dict[str, str]
    sources: dict[str, HeatSource]
    gaps: dict[str, dict[str, dict[str, Estimated]]]
    cascade: dict[str, tuple[CascadeStep, ...]]
    best: str = ""
    best_by: str = ""
    lesion_classes: tuple[str, ...] = ()
    ceilings: dict[str, dict[str, Estimated]] = Field(default_factory=dict)
    not_applicable: dict[str, str] = Field(default_factory=dict)
    resamples: int | None = None
    seed: int | None = None

    @model_validator(mode="after")
    def _names_lead_somewhere(self) -> HeatScore:
        named = {*self.gaps, *self.cascade, *(control for gaps in self.gaps.values() for control in gaps)}
        named |= {s.method for s in self.sources.values() if s.method is not None}
        if lost := sorted(named - set(self.sources)):
            raise ValueError(f"gaps, cascade or a source name {lost[0]!r}, which is no source")
        for name, source in self.sources.items():
            if source.kind != "control" and self.sources[source.method or name].kind != "method":
                raise ValueError(f"source {name!r} is of no method")
        return self


class RemovalRow(Part):
    """Accuracy on n images of which something was taken away; `change` is paired, against the whole image."""

    name: str
    n: int | None = None
    accuracy: Estimated
    change: Estimated | None = None


class Border(Part):
    """Accuracy on the border of all images alone, next to how often each class is answered to it and is there."""

    n: int
    whole: Estimated
    accuracy: Estimated
    change: Estimated
    answers: dict[str, int]
    present: dict[str, int]


class Removal(_Finite):
    """Accuracy with and without the annotated boxes.

    `beyond` is what removing them changes more than removing the same boxes elsewhere, paired; `changed` the mean
    change of a pixel by both, in gray levels.
    """

    n: int
    rows: tuple[RemovalRow, ...]
    beyond: Estimated | None = None
    changed: dict[str, float] = Field(default_factory=dict)
    border: Border | None = None


class MethodCurves(_Finite):
    """Mean probability while pixels go or come back, hottest first, and the area under each curve.

    `gaps` are paired differences of the areas to each control, for deletion and insertion.
    """

    deletion: tuple[float, ...]
    insertion: tuple[float, ...]
    deletion_area: Estimated
    insertion_area: Estimated
    gaps: dict[str, dict[str, Estimated]] = Field(default_factory=dict)


class HeatCurves(Part):
    """Deletion and insertion on n images."""

    n: int
    shares: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(min_length=2)
    methods: dict[str, MethodCurves]

    @model_validator(mode="after")
    def _one_point_a_share(self) -> HeatCurves:
        for name, found in self.methods.items():
            if not len(found.deletion) == len(found.insertion) == len(self.shares):
                points = f"{len(found.deletion)} and {len(found.insertion)}"
                raise ValueError(f"curves of {name!r} have {points} points for {len(self.shares)} shares")
        return self


class HeatBox(SampleBox, _Finite):
    """An annotated rectangle with finite numbers."""


class Heatmap(_Finite):
    """One picture of the gallery."""

    path: str
    label: str
    predicted: str
    method: str
    prob: float | None = None
    pointing: float | None = None
    energy: float | None = None
    boxes: tuple[HeatBox, ...] = ()


class Shuffled(Part):
    """The run with shuffled labels: each setting besides the shuffling that is another."""

    differences: tuple[str, ...] = ()


class ExplanationsFile(Part):
    """`explanations.json`."""

    format: Literal[1]
    run: ExplainedRun
    data: ExplainedData
    score: HeatScore
    shuffled: Shuffled | None = None
    removal: Removal | None
    curves: HeatCurves | None
    gallery: tuple[Heatmap, ...]
    command: str = ""
