"""A sweep made readable: `sweep.html`, one self-contained page beside `sweep.json`.

In: the folder that `tumorscope sweep` wrote. Out: the best point and what its run gave on the test part, history,
importance, parallel coordinates, slices, every point. No request, no script, the same bytes for the same files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from tumorscope.core.errors import DataError
from tumorscope.core.files import write_text
from tumorscope.reporting.contract import Est, EvaluationFile, SummaryFile, checked
from tumorscope.reporting.contract_sweep import SweepFile
from tumorscope.reporting.load import parsed
from tumorscope.reporting.render import REPORT_NAME, environment, template_text
from tumorscope.reporting.summary import PAGE_NAME as SERIES_PAGE
from tumorscope.reporting.sweep_figures import (
    done_points,
    history,
    metric_of,
    near_best,
    parallel,
    short_names,
    slices,
    spelled,
    value_text,
)
from tumorscope.reporting.words import plural

DATA_NAME = "sweep.json"
PAGE_NAME = "sweep.html"
MOST_ROWS = 500
"""Points in the page's table; `trials.csv` has all."""
OF_THE_TEST = ("accuracy", "balanced_accuracy", "auroc", "macro_f1")
SAMPLERS = {"grid": "grid search", "random": "random search", "tpe": "tree-structured Parzen estimator"}
AGAIN = "give the same `tumorscope sweep` command again"


def render_sweep(folder: Path) -> Path:
    """Write `sweep.html` into the folder of a sweep and return its path.

    Raises:
        DataError: If `sweep.json` is missing or damaged, or no point is finished.
    """
    path = folder / DATA_NAME
    if not path.is_file():
        raise DataError(
            f"{DATA_NAME} is missing", expected="a folder written by `tumorscope sweep`", where=folder, fix=AGAIN
        )
    sweep = checked(SweepFile, parsed(path, again=AGAIN), where=path, again=AGAIN)
    page = environment().get_template("sweep.html.j2").render(sweep_context(sweep, folder))
    return write_text(folder / PAGE_NAME, page)


def sweep_context(sweep: SweepFile, folder: Path) -> dict[str, Any]:
    """What the template shows."""
    done = done_points(sweep)[::-1]
    others = sorted((t for t in sweep.trials if t.state != "done"), key=lambda t: (t.state != "left early", t.slot))
    names = short_names([k.key for k in sweep.space])
    shares = sorted(sweep.importance.shares.items(), key=lambda pair: -pair[1])
    busy = sum(t.seconds for t in sweep.trials)
    return {
        "sweep": sweep,
        "metric": metric_of(sweep),
        "spell": lambda value: spelled(sweep, value),
        "value_text": value_text,
        "done": done,
        "rows": [*done, *others][:MOST_ROWS],
        "left_out": max(0, len(sweep.trials) - MOST_ROWS),
        "near": len(near_best(sweep)),
        "early": sum(t.state == "left early" for t in sweep.trials),
        "failed": [t for t in sweep.trials if t.state == "failed"],
        "names": names,
        "sampler": SAMPLERS[sweep.sampler],
        "missing": None if sweep.points is None else max(0, sweep.points - len(sweep.trials)),
        "busy": minutes(busy),
        "wall": minutes(sweep.seconds),
        "history": history(sweep),
        "parallel": parallel(sweep),
        "slices": slices(sweep),
        "shares": [(key, names.get(key, key), share, _bar(share)) for key, share in shares],
        "test": _tested(sweep, folder),
        "of_the_test": OF_THE_TEST,
        "own_style": template_text("sweep.css"),
    }


def minutes(seconds: float) -> str:
    """A time as it is said: "12 min 30 s", "45 s"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _tested(sweep: SweepFile, folder: Path) -> dict[str, Any] | None:
    """What the last winner's run gave on the test part; None where it is not finished."""
    if not sweep.winners or sweep.winners[-1].slot != sweep.best.slot:
        return None
    run = folder / sweep.winners[-1].folder
    if not run.resolve().is_relative_to(folder.resolve()):
        return None
    metrics: dict[str, Est]
    if (run / "summary.json").is_file():
        summary = checked(SummaryFile, parsed(run / "summary.json"), where=run / "summary.json")
        metrics = {k: m.mean for k, m in summary.test.metrics.items()}
        clean = summary.subsets.get("no copy in training")
        what, n, page = plural(summary.test.runs, "seed"), summary.test.n, SERIES_PAGE
        apart = None if clean is None else (clean.n, {k: m.mean for k, m in clean.metrics.items()})
    elif (run / "evaluation.json").is_file():
        evaluation = checked(EvaluationFile, parsed(run / "evaluation.json"), where=run / "evaluation.json")
        metrics = {k: m for k, m in evaluation.metrics.items() if isinstance(m, Est)}
        what, n, page, apart = "1 seed", evaluation.n, REPORT_NAME, None
    else:
        return None
    href = f"./{quote(sweep.winners[-1].folder, errors='surrogateescape')}/{page}" if (run / page).is_file() else ""
    return {"metrics": metrics, "what": what, "n": n, "href": href, "openings": len(sweep.winners), "apart": apart}


def _bar(share: float) -> Markup:
    """A bar for a table cell that says the same in words."""
    width = f"{100 * min(max(share, 0.0), 1.0):.1f}%"
    return Markup(
        '<svg class="strip" aria-hidden="true" focusable="false">'
        '<line class="track" x1="0%" x2="100%" y1="50%" y2="50%"/>'
        f'<rect class="bar c1" x="0" y="30%" width="{width}" height="40%"/></svg>'
    )
