"""Images of other data that a run was trained on: by hash, and as near copies where its data is at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tumorscope.core.errors import DataError
from tumorscope.core.files import write_json
from tumorscope.core.types import SplitName
from tumorscope.data.copies.groups import COPY_KINDS
from tumorscope.data.copies.survey import survey
from tumorscope.data.image_list import write_images
from tumorscope.data.load import load
from tumorscope.data.manifest import Manifest
from tumorscope.data.seen import copies_of_training, same_in_training
from tumorscope.data.splitting import make_split


@pytest.fixture(scope="module")
def own() -> Manifest:
    return load("phantom:patients=40,slices=1,size_px=128,seed=2")


@pytest.fixture(scope="module")
def run(own: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run keeps of its data."""
    folder = tmp_path_factory.mktemp("run")
    split = make_split(own, survey(own), seed=0)
    split.save(folder / "split.json")
    write_images(folder / "images.csv", own, split)
    write_json(folder / "run.json", {"hashes": {"data": own.sha256}})
    return folder


@pytest.fixture
def other(own: Manifest, run: Path, tmp_path: Path) -> Manifest:
    """Pictures of every part, some as they are and some re-encoded, among strangers; named after what they are."""
    split = make_split(own, survey(own), seed=0)
    stranger = load("phantom:patients=12,slices=1,size_px=128,seed=9")

    def put(data: Manifest, i: int, name: str, *, again: bool) -> None:
        path = tmp_path / "other" / data.records[i].label / f"{name}-{i}.{'jpg' if again else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        (pixels,) = data.pixels([i])
        image = Image.fromarray(np.asarray(pixels).squeeze()).convert("L")
        if again:
            image.resize((112, 112), Image.Resampling.LANCZOS).save(path, quality=85)
        else:
            image.save(path)

    wanted: dict[SplitName, int] = {"train": 6, "val": 3, "test": 4}
    for part, count in wanted.items():
        for number, i in enumerate(split.rows(own, part)[:count].tolist()):
            put(own, i, part, again=number % 3 > 0)
    for i in range(len(stranger)):
        put(stranger, i, "stranger", again=False)
    return load(tmp_path / "other")


def _names(data: Manifest, found: np.ndarray) -> set[str]:
    return {Path(r.path).name for r, one in zip(data.records, found.tolist(), strict=True) if one}


def test_near_copies_need_the_data_itself(own: Manifest, run: Path, other: Manifest) -> None:
    learned = {Path(r.path).name for r in other.records if Path(r.path).name.startswith(("train", "val"))}
    assert len(learned) == 9
    as_they_are = {name for name in learned if name.endswith(".png")}
    assert len(as_they_are) == 3
    assert _names(other, same_in_training(run, other)) == as_they_are
    assert _names(other, copies_of_training(run, other, own, kinds=COPY_KINDS)) == learned


def test_other_data_is_not_taken_for_that_of_the_run(run: Path, other: Manifest) -> None:
    with pytest.raises(DataError, match="not trained on this data") as caught:
        copies_of_training(run, other, other, kinds=COPY_KINDS)
    assert "--trained-on" in caught.value.fix


def test_positions_run_through_several_sets(own: Manifest, other: Manifest) -> None:
    joint = survey(other, own)
    assert len(joint) == len(other) + len(own)
    alone = survey(other)
    assert np.array_equal(joint.thumbs[: len(other)], alone.thumbs)
    assert survey(other, own).reused
