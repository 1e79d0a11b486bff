from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.auditing.leak_data import LABELS, clean, look, picture, save


def test_a_photograph_among_scans_is_named(tmp_path: Path) -> None:
    root = clean(tmp_path)
    rng = np.random.default_rng(0)
    save(root / "Training/glioma/white.png", rng.integers(230, 256, (128, 128)).astype(np.uint8))
    result = look(root, "DATA042")
    assert result.outcome == "finding"
    assert "Training/glioma/white.png" in result.paths


def test_scans_alike_are_fine(tmp_path: Path) -> None:
    for label in LABELS:
        for i in range(6):
            save(tmp_path / label / f"{i}.png", np.roll(picture(0), 2 * i, axis=0))
    assert look(tmp_path, "DATA042").outcome == "fine"
