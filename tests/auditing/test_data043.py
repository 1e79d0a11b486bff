from __future__ import annotations

from pathlib import Path

import pytest

from tests.auditing.leak_data import clean, look, picture, save


@pytest.mark.parametrize(("few", "severity"), [(4, "info"), (1, "warning")])
def test_imbalance_is_graded(tmp_path: Path, few: int, severity: str) -> None:
    for i in range(16):
        save(tmp_path / "glioma" / f"{i}.png", picture(i))
    for i in range(few):
        save(tmp_path / "notumor" / f"{i}.png", picture(20 + i))
    result = look(tmp_path, "DATA043")
    assert (result.outcome, result.severity) == ("finding", severity)
    assert result.figures["ratio"] == 16 / few


def test_equal_classes_are_fine(tmp_path: Path) -> None:
    assert look(clean(tmp_path), "DATA043").outcome == "fine"


def test_one_class_has_no_balance(tmp_path: Path) -> None:
    rows = ["path,label"]
    for i in range(3):
        save(tmp_path / f"{i}.png", picture(i))
        rows.append(f"{i}.png,glioma")
    (tmp_path / "images.csv").write_text("\n".join(rows))
    assert look(tmp_path, "DATA043").outcome == "not applicable"
