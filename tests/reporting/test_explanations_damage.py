"""Files of scored heatmaps that are missing or broken are named, with what writes them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.reporting.explanations import Change, changed, pixels, write_explanations, write_gallery
from tumorscope.core.errors import DataError
from tumorscope.reporting.explanations_page import render_explanations


def drop_point(found: dict[str, Any]) -> None:
    found["curves"]["methods"]["layer-cam"]["deletion"].pop()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(format=2), "format"),
        (lambda c: c.pop("removal"), "removal: Field required"),
        (lambda c: c["score"]["sources"]["centre"].update(kind="guess"), r"score.sources.centre.kind"),
        (lambda c: c["score"]["sources"]["grad-cam"]["overall"].update(iou="high"), "overall.iou"),
        (lambda c: c["score"]["gaps"].update(nothing={}), "'nothing', which is no source"),
        (lambda c: c["score"]["cascade"].update(nothing=[]), "'nothing', which is no source"),
        (lambda c: c["score"]["sources"]["grad-cam@random-weights"].update(method=None), "is of no method"),
        (lambda c: c["score"]["sources"]["grad-cam@random-weights"].update(method="edges"), "is of no method"),
        (lambda c: c["score"]["sources"]["edges"]["per_class"]["glioma"].pop("n"), "needs a count n"),
        (drop_point, "'layer-cam' have 20 and 21 points for 21 shares"),
        (lambda c: c["gallery"][0].update(energy="much"), r"gallery\.0\.energy"),
        (lambda c: c["score"]["cascade"]["grad-cam"][0].update(of=0), "of"),
    ],
)
def test_a_damaged_file_is_named(change: Change, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words) as caught:
        changed(tmp_path, change)
    assert "tumorscope explain RUN --score" in caught.value.fix


def test_infinite_numbers_are_damage(tmp_path: Path) -> None:
    folder = write_explanations(tmp_path)
    text = (folder / "explanations.json").read_text()
    for place in ('"value": 0.451', '"cx": 0.35', '"deletion": [\n          0.9'):
        assert place in text
        broken = text.replace(place, re.sub(r"0\.\d+$", "1e999", place), 1)
        (folder / "explanations.json").write_text(broken)
        with pytest.raises(DataError, match="finite number"):
            render_explanations(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff", "[" * 100_000])
def test_what_is_no_json_is_damage(text: str, tmp_path: Path) -> None:
    folder = write_explanations(tmp_path)
    (folder / "explanations.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"explanations\.json"):
        render_explanations(folder)


def test_no_file_is_an_error_that_says_what_writes_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"explanations\.json is missing") as caught:
        render_explanations(tmp_path)
    assert "tumorscope explain RUN --score" in caught.value.fix


def test_damaged_pictures_are_an_error(tmp_path: Path) -> None:
    folder = write_explanations(tmp_path)
    images, heats = pixels()
    for bad in ((images[:3], heats), (images, heats[:, :90]), (images, heats / 255), (images[..., None], heats)):
        write_gallery(folder, *bad)
        with pytest.raises(DataError, match="for 4 entries"):
            render_explanations(folder)
    whole = write_gallery(folder, images, heats).read_bytes()
    for broken in (b"", b"no archive", whole[: len(whole) // 2], images.tobytes()):
        (folder / "gallery.npz").write_bytes(broken)
        with pytest.raises(DataError, match=r"gallery\.npz cannot be read"):
            render_explanations(folder)
    np.save(folder / "one.npy", images)
    (folder / "one.npy").replace(folder / "gallery.npz")
    with pytest.raises(DataError, match=r"gallery\.npz cannot be read"):
        render_explanations(folder)
