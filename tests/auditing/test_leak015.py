from __future__ import annotations

from pathlib import Path

from tests.auditing.leak_data import clean, look


def table(root: Path, patients: dict[str, str]) -> None:
    rows = ["path,label,split,patient"]
    for file in sorted(root.rglob("*.png")):
        name = file.relative_to(root).as_posix()
        part = "train" if name.startswith("Training") else "test"
        rows.append(f"{name},{file.parent.name},{part},{patients.get(name, name)}")
    (root / "images.csv").write_text("\n".join(rows))


def test_a_patient_on_both_sides_is_an_error(tmp_path: Path) -> None:
    root = clean(tmp_path)
    table(root, {"Training/glioma/00.png": "p1", "Testing/glioma/02.png": "p1"})
    result = look(root, "LEAK015")
    assert (result.outcome, result.severity, result.paths) == ("finding", "error", ("Testing/glioma/02.png",))


def test_other_patients_are_fine(tmp_path: Path) -> None:
    root = clean(tmp_path)
    table(root, {"Training/glioma/00.png": "p1", "Training/glioma/01.png": "p1"})
    assert look(root, "LEAK015").outcome == "fine"


def test_without_patients_it_does_not_apply(tmp_path: Path) -> None:
    assert look(clean(tmp_path), "LEAK015").outcome == "not applicable"
