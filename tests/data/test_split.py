from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorscope.core.errors import IntegrityError, UsageError
from tumorscope.core.files import read_json, write_json
from tumorscope.data.copies.survey import survey
from tumorscope.data.manifest import Manifest
from tumorscope.data.split import load_split, merge_groups
from tumorscope.data.splitting import make_split


def test_split_file_is_checked(flat: Manifest, official: Manifest, tmp_path: Path) -> None:
    split = make_split(flat, survey(flat), seed=0)
    path = split.save(tmp_path / "split.json")
    again = load_split(path, flat)
    assert again.sha256 == split.sha256
    assert again.groups == split.groups
    with pytest.raises(IntegrityError, match="other data"):
        load_split(path, official)
    raw = read_json(path)
    moved = next(p for p, part in raw["assignment"].items() if part == "test")
    raw["assignment"][moved] = "train"
    write_json(path, raw)
    with pytest.raises(IntegrityError, match="its own hash"):
        load_split(path, flat)
    path.write_text("{}")
    with pytest.raises(IntegrityError, match="not a split file"):
        load_split(path, flat)
    with pytest.raises(UsageError, match="does not exist"):
        load_split(tmp_path / "none.json", flat)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["x", "y", "z", None])), min_size=1))
def test_groups_are_connected_components(pairs: list[tuple[str, str | None]]) -> None:
    groups = merge_groups(len(pairs), [[a for a, _ in pairs], [b for _, b in pairs]])
    assert groups.dtype == np.int64
    for i, (a, b) in enumerate(pairs):
        for j, (c, d) in enumerate(pairs):
            if a == c or (b is not None and b == d):
                assert groups[i] == groups[j]
    # no two groups share a key
    for column in range(2):
        owners: dict[str, set[int]] = {}
        for group, pair in zip(groups.tolist(), pairs, strict=True):
            key = pair[column]
            if key is not None:
                owners.setdefault(key, set()).add(group)
        assert all(len(found) == 1 for found in owners.values())
