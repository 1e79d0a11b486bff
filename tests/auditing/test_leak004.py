from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.auditing.leak_data import clean, material
from tumorscope.auditing.checks import CODES
from tumorscope.data.copies import Pair


def test_pairs_of_neighbouring_slices_are_a_note_apart_from_copies(tmp_path: Path) -> None:
    root = clean(tmp_path)
    found = material(root)
    likely = replace(found, survey=replace(found.survey, pairs=(Pair(1, 2, "patient-likely", 0.6),)))
    result = CODES["LEAK004"].run(likely)
    assert (result.outcome, result.severity, result.count) == ("finding", "info", 2)
    assert CODES["LEAK003"].run(likely).outcome == "fine"


def test_none_are_fine(tmp_path: Path) -> None:
    found = material(clean(tmp_path))
    assert CODES["LEAK004"].run(replace(found, survey=replace(found.survey, pairs=()))).outcome == "fine"
