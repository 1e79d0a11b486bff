from __future__ import annotations

from pathlib import Path

import pytest

from tests.auditing.leak_data import changed, clean, look


@pytest.mark.parametrize("change", ["mirrored", "turned", "reencoded"])
def test_a_changed_copy_in_training_is_an_error(tmp_path: Path, change: str) -> None:
    root = clean(tmp_path)
    changed(root, "Testing/notumor/00.png", "Training/notumor/twin.jpg", change)
    result = look(root, "LEAK013")
    assert (result.outcome, result.severity, result.count) == ("finding", "error", 1)
    assert result.paths == ("Testing/notumor/00.png",)
    assert look(root, "LEAK011").outcome == "fine"


def test_clean_parts_are_fine(tmp_path: Path) -> None:
    assert look(clean(tmp_path), "LEAK013").outcome == "fine"
