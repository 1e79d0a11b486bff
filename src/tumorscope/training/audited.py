"""The audit of a run's data under the run's own split, for its report.

Checks that do not depend on the parts are kept under the cache folder by data and code, so that the runs of a series
look once.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tumorscope.auditing.audit import audit
from tumorscope.auditing.check import Result
from tumorscope.auditing.checks import CODES
from tumorscope.core.files import cache_root, read_json, sha256_value, write_json
from tumorscope.data.copies.survey import Survey
from tumorscope.data.manifest import Manifest
from tumorscope.data.split import Split
from tumorscope.training.records import code_sha256

_log = logging.getLogger(__name__)


def audit_run(manifest: Manifest, split: Split, survey: Survey, *, command: str) -> dict[str, Any]:
    """The content of `audit.json` for the parts of `split`."""
    key = sha256_value([manifest.sha256, manifest.describe()["findings"], code_sha256()])[:32]
    path = cache_root() / "audits" / f"{key}.json"
    known = _read(path)
    found = audit(manifest, survey, parts=split.assignment, known=known)
    if not known:
        try:
            write_json(path, [asdict(r) for r in found.results if not CODES[r.code].by_parts])
        except OSError as error:
            _log.info("audit %s not kept: %s", path, error)
    return found.to_json(command=command)


def _read(path: Path) -> dict[str, Result]:
    """Results by code that an earlier run kept; none if there are none or they are damaged."""
    try:
        rows = [Result(**{**row, "paths": tuple(row["paths"])}) for row in read_json(path)]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError) as error:
        _log.info("audit %s dropped: %s", path, error)
        return {}
    return {row.code: row for row in rows if row.code in CODES and not CODES[row.code].by_parts}
