from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.auditing.leak_data import clean, material
from tumorscope.auditing.checks import CODES
from tumorscope.data.copies import Pair


def test_a_likely_patient_on_both_sides_is_a_warning(tmp_path: Path) -> None:
    found = material(clean(tmp_path))
    test = next(i for i, part in enumerate(found.part_names) if part == "test")
    train = next(i for i, part in enumerate(found.part_names) if part == "train")
    pair = Pair(min(test, train), max(test, train), "patient-likely", 0.6)
    result = CODES["LEAK014"].run(replace(found, survey=replace(found.survey, pairs=(pair,))))
    assert (result.outcome, result.severity, result.paths) == ("finding", "warning", (found.paths[test],))
    near = replace(found, survey=replace(found.survey, pairs=(replace(pair, kind="near"),)))
    assert CODES["LEAK014"].run(near).outcome == "fine"
    assert CODES["LEAK013"].run(near).outcome == "finding"
