from __future__ import annotations

from pathlib import Path

from PIL import Image

from tests.auditing.leak_data import clean, look, outcomes


def test_the_same_pixels_in_training_are_an_error_of_their_own(tmp_path: Path) -> None:
    root = clean(tmp_path)
    Image.open(root / "Training/glioma/00.png").save(root / "Testing/glioma/leak.bmp")
    assert outcomes(root, ["LEAK011", "LEAK012", "LEAK013"]) == {
        "LEAK011": "fine",
        "LEAK012": "finding",
        "LEAK013": "fine",
    }
    assert look(root, "LEAK012").paths == ("Testing/glioma/leak.bmp",)
