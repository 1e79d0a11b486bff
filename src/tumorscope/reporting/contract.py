"""What the report needs from a run folder's JSON files, checked once, with every mistake in one message.

In: parsed JSON of `run.json`, `data.json`, `evaluation.json` and `samples.json`. Out: frozen models. Keys
that are not listed are ignored, so other tools may write more; a listed key of the wrong kind is a DataError.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tumorscope.core.errors import DataError


class Part(BaseModel):
    """Base of all parts: frozen, unknown keys ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class Est(Part):
    """An estimate with its interval; None where undefined."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    method: str = ""


class Measured(Est):
    """An estimate on n images."""

    n: int = 0


class Model(Part):
    """What was trained."""

    name: str
    parameters: int | None = None
    trainable: dict[str, int] = Field(default_factory=dict)
    weights: str | None = None
    weights_sha256: str | None = None
    size_px: int | None = None
    channels: int | None = None
    mean: tuple[float, ...] | float | None = None
    std: tuple[float, ...] | float | None = None


class Stage(Part):
    """One stage of training."""

    name: str
    trainable: str | int | None = None
    epochs_run: int | None = None
    epochs_planned: int | None = None
    best_epoch: int | None = None
    stopped_early: bool = False
    frozen: str = ""


class RunFile(Part):
    """`run.json`: what was run, with which settings, on which machine."""

    recipe: str
    model: Model
    tumorscope: str = ""
    title: str = ""
    reproduces: str = ""
    command: str = ""
    seed: int | None = None
    stages: tuple[Stage, ...] = ()
    plan: dict[str, Any] | None = None
    machine: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, Any] = Field(default_factory=dict)
    hashes: dict[str, str | None] = Field(default_factory=dict)
    stamps: tuple[str, ...] = ()
    control: str | None = None
    temperature: float | None = None


class Info(Part):
    """Where the data comes from."""

    name: str = ""
    title: str = ""
    licence: str = "not stated"
    citation: str = ""
    homepage: str = ""
    modality: str = ""


class Notice(Part):
    """A finding about the data, or a warning of the evaluation."""

    code: str = ""
    severity: Literal["info", "warning", "error"] = "warning"
    title: str = ""
    detail: str = ""
    message: str = ""
    count: int | None = None
    paths: tuple[str, ...] = ()


class Looked(Notice):
    """One line of the audit; `paths` are its examples."""

    outcome: Literal["finding", "fine", "not applicable", "skipped"]
    examples: tuple[str, ...] = ()


class AuditFile(Part):
    """`audit.json` of a run: every check of the data under the run's own split."""

    findings: tuple[Looked, ...]
    command: str = ""


class Excluded(Part):
    """One input that was not used."""

    path: str
    reason: str
    detail: str = ""


class Split(Part):
    """How the images were divided."""

    policy: str = ""
    seed: int | None = None
    counts: dict[str, dict[str, int]] = Field(default_factory=dict)
    sha256: str = ""
    origin: str = ""
    crossing_copies: int | None = None
    note: str = ""


class DataFile(Part):
    """`data.json`: `Manifest.describe()` and the split."""

    classes: tuple[str, ...]
    split: Split
    positive: str | None = None
    layout: str = ""
    summary: str = ""
    inputs: int | None = None
    used: int | None = None
    excluded: tuple[Excluded, ...] = ()
    findings: tuple[Notice, ...] = ()
    info: Info = Info()
    sha256: str = ""


class Baseline(Part):
    """A rule that needs no training, on the same test images."""

    label: str | None = None
    accuracy: Est = Est()
    verdict: str = ""
    difference: Est | None = None
    p_value: float | None = None


class Bin(Part):
    """One bin of the reliability diagram."""

    low: float
    high: float
    n: int
    confidence: float | None = None
    accuracy: Est = Est()


class Calibration(Part):
    """Reliability of the confidence, and the temperature it was scaled with."""

    bins: tuple[Bin, ...] = ()
    temperature: float | None = None
    ece: Est | None = None
    ece_if_calibrated: Est | None = None


class Roc(Part):
    """Receiver operating characteristic: false against true positive rate."""

    fpr: tuple[float, ...] = ()
    tpr: tuple[float, ...] = ()


class PrecisionRecall(Part):
    """Precision against recall."""

    recall: tuple[float, ...] = ()
    precision: tuple[float, ...] = ()


class ClassCurves(Part):
    """Both curves of one class against the rest; None where the class or the rest is absent."""

    roc: Roc | None = None
    pr: PrecisionRecall | None = None


class Subset(Part):
    """A part of the test images with its own figures."""

    n: int
    metrics: dict[str, Est] = Field(default_factory=dict)


class OperatingPoint(Part):
    """The threshold on the positive class, and the rates it gives on these images."""

    threshold: float
    positive: str = ""
    rule: str = ""
    chosen_on: str = ""
    n: int = 0
    sensitivity: Est | None = None
    specificity: Est | None = None
    ppv: Est | None = None
    npv: Est | None = None
    accuracy: Est | None = None


class PredictionSets(Part):
    """How sets of classes did on labelled images."""

    asked: float
    n: int
    coverage: Est
    by_class: dict[str, Measured] = Field(default_factory=dict)
    mean_size: float
    share_empty: float
    share_single: float
    never_ruled_out: tuple[str, ...] = ()


class EvaluationFile(Part):
    """`evaluation.json`: every figure with its interval."""

    split: str
    n: int
    classes: tuple[str, ...]
    metrics: dict[str, Est]
    positive: str | None = None
    per_class: dict[str, dict[str, Est | int | None]] = Field(default_factory=dict)
    baselines: dict[str, Baseline | None] = Field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] = ()
    calibration: Calibration | None = None
    curves: dict[str, ClassCurves | None] = Field(default_factory=dict)
    operating_point: OperatingPoint | None = None
    prediction_sets: PredictionSets | None = None
    subsets: dict[str, Subset] = Field(default_factory=dict)
    warnings: tuple[Notice, ...] = ()
    provenance: dict[str, Any] = Field(default_factory=dict)


class SampleBox(Part):
    """An annotated rectangle, relative to the thumbnail."""

    label: str
    cx: float
    cy: float
    w: float
    h: float


class Sample(Part):
    """One test image shown in the report."""

    path: str
    label: str
    predicted: str
    prob: float | None = None
    correct: bool
    boxes: tuple[SampleBox, ...] = ()


class RepeatedMetric(Part):
    """One metric over several runs."""

    mean: Est = Est()
    per_run: tuple[float | None, ...] = ()
    sd: float | None = None
    min: float | None = None
    max: float | None = None
    over_seeds: Est | None = None


class Aggregated(Part):
    """Every metric over several runs on one part: `tumorscope.evaluation.repeated.Aggregate.to_json()`."""

    kind: str
    runs: int
    n: int
    metrics: dict[str, RepeatedMetric]
    notes: tuple[str, ...] = ()


class ChildRun(Part):
    """One run of a series: the name of its folder and its headline figures."""

    name: str
    seed: int | None = None
    n: int | None = None
    accuracy: Est = Est()
    balanced_accuracy: Est = Est()
    auroc: Est = Est()
    epochs: int | None = None


class SummaryFile(Part):
    """`summary.json` of a series of runs; `validation` and `subsets` are there for seeds on one split only."""

    test: Aggregated
    recipe: str = ""
    title: str = ""
    command: str = ""
    folds: int | None = None
    validation: Aggregated | None = None
    subsets: dict[str, Aggregated] = Field(default_factory=dict)
    children: tuple[ChildRun, ...] = ()


class LeakArm(Part):
    """One way to split, and the accuracies it led to."""

    arm: str
    train: int
    val: int
    removed: dict[str, int] = Field(default_factory=dict)
    short: dict[str, int] = Field(default_factory=dict)
    accuracy: dict[str, Measured] = Field(default_factory=dict)


class LeakGap(Measured):
    """A paired difference of accuracy between two arms on the same images."""

    gap: str
    of: str
    minus: str
    on: str


class Contrast(Est):
    """A difference between two sets of images."""

    on: str = ""


class LeakPriceFile(Part):
    """`leak-price.json`."""

    recipe: str
    command: str = ""
    seeds: int
    test_images: int
    with_copy: int
    with_copy_or_patient: int
    arms: tuple[LeakArm, ...]
    gaps: tuple[LeakGap, ...]
    twins_against_others: Contrast


PartT = TypeVar("PartT", bound=Part)


def checked(kind: type[PartT], value: Any, *, where: Path, again: str = "evaluate or train again") -> PartT:
    """`value` as `kind`; `again` says what writes the file anew.

    Raises:
        DataError: naming every key that is missing or of the wrong kind. Make the file again then.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()[:10]]
        more = len(error.errors()) - len(faults)
        raise DataError(
            f"{where.name} does not have the form of such a file: {'; '.join(faults)}"
            + (f"; and {more} more" if more > 0 else ""),
            expected="the file as this version of tumorscope writes it",
            where=where,
            fix=f"{again} to write {where.name}",
        ) from None
