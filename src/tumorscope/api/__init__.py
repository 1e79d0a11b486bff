"""The Python way in: each function is one verb of the command line, with paths and plain values.

`import tumorscope as ts; data = ts.load("scans/"); run = ts.train("demo", data, out="runs/a1")`
"""

from __future__ import annotations

from tumorscope.api.common import quiet_threads
from tumorscope.api.data import audit, datasets, split
from tumorscope.api.explanations import explain, score_explanations
from tumorscope.api.models import card, export, package, predict, serve
from tumorscope.api.runs import compare, evaluate, leak_price, report, train
from tumorscope.api.sweeps import sweep
from tumorscope.data.load import load

__all__ = [
    "audit",
    "card",
    "compare",
    "datasets",
    "evaluate",
    "explain",
    "export",
    "leak_price",
    "load",
    "package",
    "predict",
    "quiet_threads",
    "report",
    "score_explanations",
    "serve",
    "split",
    "sweep",
    "train",
]
