"""A run folder made readable: `report.html`, one self-contained file.

In: a run folder (see `load`). Out: `report.html` beside the run's other files. The page makes no request,
runs no script, and it is the same byte for byte for the same run folder, wherever and whenever it is made.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tumorscope.core.files import write_text
from tumorscope.core.types import EXCLUSION_REASONS
from tumorscope.evaluation.alarms import CODES as ALARMS
from tumorscope.reporting import words
from tumorscope.reporting.answer import headline, part_name, verdicts
from tumorscope.reporting.contract import Est, Notice
from tumorscope.reporting.figures import class_curves, learning_curves, reliability
from tumorscope.reporting.load import RunFolder, load_run
from tumorscope.reporting.montage import montage
from tumorscope.reporting.svg import strip

if TYPE_CHECKING:
    from jinja2 import Environment

REPORT_NAME = "report.html"
MOST_PATHS = 20
"""Paths shown of a finding."""
MOST_ROWS = 100
"""Rows shown of exclusions and of wrong answers."""
SHOWN_ELSEWHERE = frozenset({"command", "recipe", "hashes", "versions", "machine"})
"""Keys of the evaluation's provenance that `run.json` holds as well."""
SEVERITIES = ("error", "warning", "info")


def render_report(run_dir: Path) -> Path:
    """Write `report.html` into a run folder and return its path.

    Args:
        run_dir: Folder written by training and evaluation; `run.json`, `data.json` and `evaluation.json` are
            needed, everything else is shown where it is there and named as missing where it is not.

    Raises:
        DataError: if a required file is missing or a file is damaged; says which command writes it.
    """
    folder = load_run(run_dir)
    page = environment().get_template("report.html.j2").render(report_context(folder))
    return write_text(run_dir / REPORT_NAME, page)


def report_context(folder: RunFolder) -> dict[str, Any]:
    """Everything the template shows, computed once from the run folder."""
    evaluation = folder.evaluation
    sizes = class_sizes(folder)
    total = sum(sizes.values())
    wrong = [p for p in folder.predictions or () if p.label != p.predicted]
    return {
        "f": folder,
        "run": folder.run,
        "data": folder.data,
        "evaluation": evaluation,
        "openings": openings(folder),
        "rows": headline(evaluation),
        "verdicts": verdicts(evaluation),
        "notices": all_notices(folder),
        "unfound": [r for r in folder.audit.findings if r.outcome != "finding"] if folder.audit else [],
        "curves": learning_curves(folder.epochs or (), folder.run.stages),
        "class_curves": class_curves(
            evaluation.curves,
            positive=evaluation.positive,
            areas={c: v for c in evaluation.per_class if isinstance(v := evaluation.per_class[c].get("auroc"), Est)},
            shares={c: n / total for c, n in sizes.items()} if total else {},
        ),
        "reliability": reliability(evaluation.calibration.bins) if evaluation.calibration else None,
        "montage": montage(folder.samples, folder.pictures)
        if folder.samples is not None and folder.pictures is not None
        else None,
        "wrong": sorted(wrong, key=lambda p: (-p.prob, p.path)),
        "own_provenance": {k: v for k, v in evaluation.provenance.items() if k not in SHOWN_ELSEWHERE},
        "exclusion_reasons": EXCLUSION_REASONS,
        "most_paths": MOST_PATHS,
        "most_rows": MOST_ROWS,
    }


def openings(folder: RunFolder) -> int | None:
    """How often the evaluated part of the run's own data was opened; None without a ledger."""
    if folder.openings is None:
        return None
    own = (None, folder.data.sha256)
    split = folder.evaluation.split
    return len([o for o in folder.openings if o.get("split") == split and o.get("data_sha256") in own])


def class_sizes(folder: RunFolder) -> dict[str, int]:
    """Evaluated images of each class, from the confusion matrix."""
    return {label: sum(row) for label, row in zip(folder.evaluation.classes, folder.evaluation.confusion, strict=False)}


def all_notices(folder: RunFolder) -> list[Notice]:
    """Warnings of the evaluation and findings about the data, gravest first, each said once.

    The audit holds every finding of the source; without one, the source's own are shown.
    """
    found: tuple[Notice, ...] = folder.data.findings
    if folder.audit is not None:
        found = tuple(
            r.model_copy(update={"paths": r.examples}) for r in folder.audit.findings if r.outcome == "finding"
        )
    said = {f"{n.code} {n.title.rstrip('.')}: {n.detail}" for n in folder.data.findings}
    warnings = [
        w.model_copy(update={"title": ALARMS.get(w.code, "").capitalize()})
        for w in folder.evaluation.warnings
        if w.message not in said
    ]
    return sorted([*warnings, *found], key=lambda n: (SEVERITIES.index(n.severity), n.code))


def notice_text(notice: Notice) -> str:
    """What a finding or warning says below its title."""
    return notice.detail or notice.message


def split_name(split: str) -> str:
    """A part of the data in words."""
    return {"val": "validation", "train": "training"}.get(split, split)


def rule_name(rule: str) -> str:
    """How a threshold was chosen, in words."""
    if rule.startswith("sensitivity>="):
        return "sensitivity of at least " + rule.removeprefix("sensitivity>=")
    known = {
        "youden": "largest sensitivity + specificity",
        "largest-probability": "largest probability",
        "given": "given",
    }
    return known.get(rule, rule)


def trained_part(value: str | int | None) -> str:
    """A recipe's `trainable` in words: "last:2" is "last 2 blocks"."""
    if not isinstance(value, str):
        return ""
    if value.startswith("last:"):
        return "last " + value.removeprefix("last:") + " blocks"
    return {"all": "all layers", "head": "head only"}.get(value, value)


@cache
def template_text(name: str) -> str:
    """A style sheet, script or template of the pages as it stands."""
    return resources.files("tumorscope.reporting").joinpath(f"templates/{name}").read_text(encoding="utf-8")


def script_source(script: str) -> str:
    """The script as a source of a content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


@cache
def environment() -> Environment:
    """The template environment: everything is escaped; an unknown name is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("tumorscope.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        percent=words.percent,
        probability=words.probability,
        decimal=words.decimal,
        points=words.points,
        number=words.count,
        plural=words.plural,
        listed=words.listed,
        quoted=words.quoted,
        metric_name=words.metric_name,
        method_name=words.method_name,
        notice_text=notice_text,
        part_name=part_name,
        rule_name=rule_name,
        split_name=split_name,
        trained_part=trained_part,
    )
    made.globals.update(
        metric_value=words.metric_value,
        metric_range=words.metric_range,
        shortened=words.shortened,
        strip=strip,
        style=template_text("style.css"),
    )
    return made
