"""Reading on a cluster: the audit that follows has the bytes of one machine, and reads nothing again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scaling.conftest import Machines
from tumorscope import api
from tumorscope.core.errors import UsageError
from tumorscope.data.copies import survey
from tumorscope.data.copies.store import ThumbStore
from tumorscope.data.sources import scan
from tumorscope.data.sources.index import index_path
from tumorscope.scaling import reading

pytestmark = pytest.mark.xdist_group("ray")


def _written(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_an_audit_has_the_bytes_of_one_machine(
    machines: Machines, pictures: Callable[[int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = pictures(150)
    monkeypatch.setenv("TUMORSCOPE_CACHE", str(tmp_path / "here"))
    api.audit(root, out=tmp_path / "plain")
    index, thumbs = index_path(root).read_bytes(), ThumbStore(root).path.read_bytes()
    monkeypatch.setenv("TUMORSCOPE_CACHE", str(tmp_path / "there"))
    with monkeypatch.context() as here:
        for module, name in ((scan, "describe_file"), (reading, "describe_file"), (survey, "describe")):
            here.setattr(module, name, None)  # this process reads nothing and finds every thumbnail
        api.audit(root, out=tmp_path / "ray", ray=machines.address)
        api.audit(root, ray=machines.address)  # the second time nothing is read at all
    assert _written(tmp_path / "ray") == _written(tmp_path / "plain")
    assert b"not-an-image" in index
    assert index_path(root).read_bytes() == index
    assert len(thumbs) == len(ThumbStore(root).path.read_bytes())


def test_data_that_is_read_already_needs_no_cluster(pictures: Callable[[int], Path]) -> None:
    with pytest.raises(UsageError, match="read already"):
        api.audit(api.load(pictures(12)), ray="local")
