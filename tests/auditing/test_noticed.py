from __future__ import annotations

from pathlib import Path

import pytest

from tests.auditing.leak_data import clean, look, outcomes, picture, save
from tumorscope.auditing.checks import CODES
from tumorscope.data.sources import codes


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("Training/glioma/broken.png", b"", "DATA001"),
        ("Training/glioma/other.jpg", None, "DATA002"),
    ],
)
def test_what_the_source_noticed_is_a_result(tmp_path: Path, name: str, content: bytes | None, code: str) -> None:
    root = clean(tmp_path)
    assert look(root, code).outcome == "fine"
    save(root / name, picture(39))
    if content is not None:
        (root / name).write_bytes(content)
    result = look(root, code)
    assert (result.outcome, result.paths) == ("finding", (name,))


def test_codes_of_other_layouts_do_not_apply(tmp_path: Path) -> None:
    found = outcomes(clean(tmp_path), ["DATA010", "DATA020", "DATA030", "DATA004"])
    assert found == {
        "DATA010": "not applicable",
        "DATA020": "not applicable",
        "DATA030": "not applicable",
        "DATA004": "fine",
    }


def test_every_code_of_a_source_is_a_check() -> None:
    assert set(codes.CODES) <= set(CODES)
