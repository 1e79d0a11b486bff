from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tumorscope.core.errors import IntegrityError, ResourceError, UsageError
from tumorscope.data import datasets
from tumorscope.data.datasets import datasets_folder, fetch, find, list_datasets, named
from tumorscope.data.load import load
from tumorscope.data.medmnist_catalogue import CatalogueEntry, catalogue

CONTENT = bytes(range(256)) * 9000


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (name of the base class)
        pass


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CatalogueEntry]:
    """BreastMNIST as served by a server of our own, with a file of our own."""
    served = tmp_path / "served"
    served.mkdir()
    (served / "breastmnist_64.npz").write_bytes(CONTENT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(served)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    changed = replace(
        catalogue()["breastmnist"],
        address=f"http://127.0.0.1:{server.server_port}/",
        md5={size: hashlib.md5(CONTENT).hexdigest() for size in (28, 64, 128, 224)},
    )
    monkeypatch.setattr(datasets, "catalogue", lambda: {"breastmnist": changed})
    monkeypatch.setenv("TUMORSCOPE_CACHE", str(tmp_path / "cache"))
    yield changed
    server.shutdown()
    thread.join()
    server.server_close()


def test_fetch_checks_keeps_and_is_found(entry: CatalogueEntry) -> None:
    calls: list[tuple[int, int]] = []
    path = fetch("breastmnist", size_px=64, progress=lambda done, total: calls.append((done, total)))
    assert path == datasets_folder() / "breastmnist_64.npz" == find(entry, size_px=64)
    assert path.read_bytes() == CONTENT
    assert calls[-1] == (len(CONTENT), len(CONTENT))
    assert len(calls) > 1
    calls.clear()
    assert fetch("breastmnist", size_px=64, progress=lambda done, total: calls.append((done, total))) == path
    assert calls == []
    path.write_bytes(b"damaged")
    assert fetch("breastmnist", size_px=64).read_bytes() == CONTENT


def test_other_content_is_not_kept(entry: CatalogueEntry, tmp_path: Path) -> None:
    (tmp_path / "served" / "breastmnist_64.npz").write_bytes(b"other")
    with pytest.raises(IntegrityError, match="official checksum"):
        fetch("breastmnist", size_px=64, out=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_missing_file_and_no_network_in_one_line(
    entry: CatalogueEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ResourceError, match="404") as caught:
        fetch("breastmnist", size_px=128)
    assert "\n" not in str(caught.value)
    nowhere = replace(entry, address="http://127.0.0.1:9/")
    monkeypatch.setattr(datasets, "catalogue", lambda: {"breastmnist": nowhere})
    with pytest.raises(ResourceError) as caught:
        fetch("breastmnist", out=tmp_path / "here")
    text = str(caught.value)
    assert "http://127.0.0.1:9/breastmnist.npz" in text
    assert str(tmp_path / "here") in text
    assert "\n" not in text
    assert list((tmp_path / "here").iterdir()) == []


def test_full_disk(entry: CatalogueEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        free = 10

    monkeypatch.setattr("shutil.disk_usage", lambda _: Full)
    with pytest.raises(ResourceError, match="10 free"):
        fetch("breastmnist", size_px=64)


def test_names() -> None:
    assert [e.flag for e in list_datasets()] == sorted(catalogue())
    assert len(list_datasets()) == 12
    found = named("breastmnist_128")
    assert found is not None
    assert (found[0].flag, found[1]) == ("breastmnist", 128)
    assert named("breastmnist_32") is None
    assert named("brainmnist") is None
    with pytest.raises(UsageError, match="brainmnist"):
        fetch("brainmnist")
    with pytest.raises(UsageError, match="no size 32"):
        fetch("breastmnist", size_px=32)


def test_name_that_was_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUMORSCOPE_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ResourceError) as caught:
        load("pathmnist_224")
    assert "tumorscope datasets fetch pathmnist --size 224" in str(caught.value)
    assert catalogue()["pathmnist"].url(224) in str(caught.value)
