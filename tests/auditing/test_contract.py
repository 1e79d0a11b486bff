from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.auditing.leak_data import clean
from tumorscope.auditing.audit import audit
from tumorscope.auditing.check import OUTCOMES, Check
from tumorscope.auditing.checks import CHECKS, CODES
from tumorscope.data.copies.survey import survey
from tumorscope.data.load import load
from tumorscope.data.sources.codes import CODES as SOURCE_CODES

FOLDER = Path(__file__).parent


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: str(check.code))
def test_every_check_keeps_the_contract(check: Check) -> None:
    assert re.fullmatch(r"(DATA|LEAK|CUT|LABEL)\d{3}", check.code)
    assert check.title.endswith(".")
    assert not re.search(r"\d(?!-bit)", check.title)
    assert check.severity in ("info", "warning", "error")
    if check.code not in SOURCE_CODES:
        assert (FOLDER / f"test_{check.code.lower()}.py").is_file(), "one test file a code"


def test_codes_are_registered_once() -> None:
    assert len(CODES) == len(CHECKS)


def test_every_result_can_be_written_and_says_why(tmp_path: Path) -> None:
    found = audit(load(clean(tmp_path)), survey(load(tmp_path)))
    assert [r.code for r in found.results] == [c.code for c in CHECKS]
    for result in found.results:
        assert result.outcome in OUTCOMES
        assert result.detail.strip(), result.code
        assert (result.outcome == "finding") or not result.paths
        json.dumps(result.to_json())
