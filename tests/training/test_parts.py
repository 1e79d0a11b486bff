"""The gate, what is accepted, and what the policies leave out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.auditing.leak_data import changed, clean, copy
from tests.training.test_run import recipe
from tumorscope.core.errors import DataError
from tumorscope.core.files import read_json
from tumorscope.data.copies.survey import survey
from tumorscope.data.load import load
from tumorscope.data.manifest import Manifest
from tumorscope.training.parts import draw_split, gate, overlaps
from tumorscope.training.run import train

QUIET = Console(quiet=True)


@pytest.fixture
def leaky(tmp_path: Path) -> Manifest:
    """24 phantom slices, one test image as a byte copy in training, one mirrored."""
    root = clean(tmp_path / "leaky scans")
    copy(root, "Training/glioma/00.png", "Testing/glioma/leak.png")
    changed(root, "Testing/notumor/00.png", "Training/notumor/twin.jpg", "mirrored")
    return load(root)


def test_crossing_copies_are_refused_by_name_with_two_ways_out(leaky: Manifest, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        train(recipe(), leaky, out=tmp_path / "run", command="c", console=QUIET)
    text = str(caught.value)
    assert "2 of 9 test images" in text
    assert "Testing/glioma/leak.png = Training/glioma/00.png" in text
    assert "Testing/notumor/00.png = Training/notumor/twin.jpg" in text
    assert "--policy deduplicated" in text
    assert "--accept-leaks" in text
    assert not (tmp_path / "run").exists(), "a refused run leaves nothing behind"


def test_accepted_leaks_are_stamped_and_evaluated_apart(leaky: Manifest, tmp_path: Path) -> None:
    run = train(recipe(), leaky, out=tmp_path / "run", command="c", accept_leaks=True, console=QUIET)
    (stamp,) = read_json(run.folder / "run.json")["stamps"]
    assert stamp.startswith("Leaks accepted: 2 of 9")
    assert run.evaluation["subsets"]["copy in training"]["n"] == 2
    assert run.evaluation["subsets"]["no copy in training"]["n"] == 7
    found = {f["code"]: f for f in read_json(run.folder / "audit.json")["findings"]}
    assert (found["LEAK011"]["outcome"], found["LEAK011"]["count"]) == ("finding", 1)
    assert (found["LEAK013"]["outcome"], found["LEAK013"]["count"]) == ("finding", 1)
    assert read_json(run.folder / "data.json")["split"]["crossing_copies"] == 2


@pytest.mark.parametrize(("keep", "left_out"), [("test", ["glioma/00.png", "notumor/twin.jpg"]), ("train", [])])
def test_deduplicated_takes_the_twins_out(leaky: Manifest, keep: str, left_out: list[str]) -> None:
    copies = survey(leaky)
    split = draw_split(recipe(data={"policy": "deduplicated", "keep": keep}), leaky, copies)
    gone = {r.path for r in leaky.records} - set(split.assignment)
    if keep == "test":
        assert gone == {f"Training/{name}" for name in left_out}
    else:
        assert gone == {"Testing/glioma/leak.png", "Testing/notumor/00.png"}
    assert gate(leaky, split, copies, accept=False) == ()
    assert "left out" in split.note


def test_overlaps_name_only_what_is_there(leaky: Manifest) -> None:
    copies = survey(leaky)
    split = draw_split(recipe(), leaky, copies)
    found = {one.name: one for one in overlaps(leaky, split, copies, split.rows(leaky, "test"))}
    assert "patient" not in found
    assert int(found["copy"].concerned.sum()) == 2
    masks = found["copy"].subsets()
    assert np.array_equal(masks["copy in training"], ~masks["no copy in training"])
