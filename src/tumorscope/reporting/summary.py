"""Repeated runs made readable: `summary.html` over a folder of run folders.

In: `summary.json` (see `tumorscope.evaluation.repeated`) and the run folders beside it. Out: one
self-contained page with each metric's mean and interval, every run's figures, and links to the reports of the runs.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from tumorscope.core.errors import DataError
from tumorscope.core.files import write_text
from tumorscope.reporting.contract import SummaryFile, checked
from tumorscope.reporting.load import parsed
from tumorscope.reporting.render import REPORT_NAME, environment

SUMMARY_NAME = "summary.json"
PAGE_NAME = "summary.html"
HEADLINE = ("accuracy", "balanced_accuracy", "auroc", "auprc", "macro_f1", "weighted_f1")
"""Metrics between 0 and 1, which have a row in the plot where they are known."""
OF_A_RUN = ("accuracy", "balanced_accuracy", "auroc")
"""Metrics that the summary holds for each run, with their intervals."""


def render_summary(folder: Path) -> Path:
    """Write `summary.html` into a folder of repeated runs and return its path.

    Args:
        folder: Holds `summary.json` and one run folder a run; the runs' own reports are linked if there.

    Raises:
        DataError: if `summary.json` is missing or damaged.
    """
    path = folder / SUMMARY_NAME
    if not path.is_file():
        raise DataError(
            f"{SUMMARY_NAME} is missing",
            expected="a folder of repeated runs with their summary",
            where=folder,
            fix="run `tumorscope train` with --seeds or --folds, which writes it, or give one run folder",
        )
    summary = checked(SummaryFile, parsed(path), where=path)
    template = environment().get_template("summary.html.j2")
    page = template.render(
        summary=summary,
        test=summary.test,
        headline=[k for k in HEADLINE if k in summary.test.metrics],
        of_a_run=OF_A_RUN,
        addresses={child.name: address(folder, child.name) for child in summary.children},
    )
    return write_text(folder / PAGE_NAME, page)


def address(folder: Path, name: str) -> str:
    """Relative address of a run's report; "" if there is none inside the folder."""
    report = folder / name / REPORT_NAME
    if not (report.resolve().is_relative_to(folder.resolve()) and report.is_file()):
        return ""
    return "./" + quote(report.relative_to(folder).as_posix(), errors="surrogateescape")
