from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tumorscope.core.errors import ResourceError
from tumorscope.core.files import read_json, write_json
from tumorscope.imaging.cache import open_cache
from tumorscope.imaging.preprocess import Preprocessing, preprocess

PREPROCESSING = Preprocessing(16, 1)
KEYS = [f"key-{i}" for i in range(700)]


class Source:
    """Counts how often images were asked for."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Iterator[NDArray[np.uint8]]:
        self.calls += 1
        for i in range(len(KEYS)):
            yield np.full((20, 24), i % 251, np.uint8)


def test_built_once_then_mapped(tmp_path: Path) -> None:
    source = Source()
    first = open_cache(KEYS, source, PREPROCESSING, root=tmp_path)
    second = open_cache(KEYS, source, PREPROCESSING, root=tmp_path)
    assert (first.built, second.built, source.calls) == (True, False, 1)
    assert second.images.shape == (700, 1, 16, 16)
    assert [int(second.images[i].mean()) for i in (0, 300, 699)] == [0, 49, 197]
    assert not second.images.flags.writeable
    assert [p.name for p in (tmp_path / "pixels").iterdir()] == [first.folder.name]


def test_other_content_or_preprocessing_is_another_cache(tmp_path: Path) -> None:
    source = Source()
    folders = {
        open_cache(KEYS, source, PREPROCESSING, root=tmp_path).folder,
        open_cache(["changed", *KEYS[1:]], source, PREPROCESSING, root=tmp_path).folder,
        open_cache(KEYS, source, Preprocessing(20, 1), root=tmp_path).folder,
    }
    assert len(folders) == 3


@pytest.mark.parametrize("damage", ["flip", "shorten", "meta", "no-meta", "no-file"])
def test_damage_is_noticed_and_rebuilt(tmp_path: Path, damage: str) -> None:
    source = Source()
    folder = open_cache(KEYS, source, PREPROCESSING, root=tmp_path).folder
    file = folder / "images.u8"
    if damage == "flip":
        data = bytearray(file.read_bytes())
        data[100_000] ^= 1
        file.write_bytes(data)
    elif damage == "shorten":
        file.write_bytes(file.read_bytes()[:-10])
    elif damage == "meta":
        meta = read_json(folder / "meta.json")
        write_json(folder / "meta.json", {**meta, "shape": [1, 2, 3, 4]})
    elif damage == "no-meta":
        (folder / "meta.json").unlink()
    else:
        file.unlink()
    again = open_cache(KEYS, source, PREPROCESSING, root=tmp_path)
    assert (again.built, source.calls) == (True, 2)
    assert int(again.images[300].mean()) == 49


def test_a_crash_leaves_nothing_behind(tmp_path: Path) -> None:
    def broken() -> Iterator[NDArray[np.uint8]]:
        yield np.zeros((20, 20), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_cache(KEYS, broken, PREPROCESSING, root=tmp_path)
    assert list((tmp_path / "pixels").iterdir()) == []


BUILDER = """
import sys, time
from pathlib import Path
import numpy as np
from tumorscope.imaging.cache import open_cache
from tumorscope.imaging.preprocess import Preprocessing
root, pause = Path(sys.argv[1]), float(sys.argv[2])
def pixels():
    with (root / "decoded").open("a") as handle:
        handle.write("x")
    for i in range(700):
        if i == 300:
            (root / "half").touch()
            time.sleep(pause)
        yield np.full((20, 24), i % 251, np.uint8)
cache = open_cache([f"key-{i}" for i in range(700)], pixels, Preprocessing(16, 1), root=root)
print(cache.built, int(cache.images[300].mean()))
"""


def _builder(root: Path, pause: float) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", BUILDER, str(root), str(pause)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def _wait_for(path: Path) -> None:
    for _ in range(1200):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} never came")


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    killed = _builder(tmp_path, 600)
    _wait_for(tmp_path / "half")
    killed.kill()
    killed.communicate()
    (left,) = (tmp_path / "pixels").iterdir()
    assert left.name.startswith(".")
    cache = open_cache(KEYS, Source(), PREPROCESSING, root=tmp_path)
    assert cache.built
    assert [p.name for p in (tmp_path / "pixels").iterdir()] == [cache.folder.name]


def test_one_process_builds_and_the_other_waits(tmp_path: Path) -> None:
    first = _builder(tmp_path, 2)
    _wait_for(tmp_path / "half")
    second = _builder(tmp_path, 0)
    said = [process.communicate(timeout=120)[0].split() for process in (first, second)]
    assert said == [["True", "49"], ["False", "49"]]
    assert (tmp_path / "decoded").read_text() == "x"


def test_another_process_was_first(tmp_path: Path) -> None:
    source = Source()
    done = open_cache(KEYS, source, PREPROCESSING, root=tmp_path).folder
    kept = tmp_path / "kept"
    shutil.move(done, kept)

    def slower() -> Iterator[NDArray[np.uint8]]:
        yield from Source()()
        shutil.move(kept, done)  # the other process publishes while this one still decodes

    cache = open_cache(KEYS, slower, PREPROCESSING, root=tmp_path)
    assert int(cache.images[300].mean()) == 49


def test_no_room_is_said_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("tumorscope.imaging.cache.shutil.disk_usage", lambda _: usage._replace(free=10))
    source = Source()
    with pytest.raises(ResourceError, match="GB are free"):
        open_cache(KEYS, source, PREPROCESSING, root=tmp_path)
    assert source.calls == 0


def test_histograms_sum_to_one_and_bin_rightly(tmp_path: Path) -> None:
    table = open_cache(KEYS, Source(), PREPROCESSING, root=tmp_path).histograms(32)
    assert table.shape == (700, 32)
    np.testing.assert_allclose(table.sum(axis=1), 1.0)
    assert table[200, 200 // 8] == 1.0


def test_the_way_back_to_the_source_is_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (20 + i, 30), dtype=np.uint8) for i in range(3)]
    preprocessing = Preprocessing(16, 1, fit="pad", trim=True)
    expected = [preprocess(p, preprocessing)[1] for p in pictures]
    for built in (True, False):
        cache = open_cache(["a", "b", "c"], lambda: pictures, preprocessing, root=tmp_path)
        assert cache.built == built
        assert [cache.geometry(i) for i in range(3)] == expected
    damaged = cache.folder / "geometries.f64"
    damaged.write_bytes(damaged.read_bytes()[:-8] + bytes(8))
    again = open_cache(["a", "b", "c"], lambda: pictures, preprocessing, root=tmp_path)
    assert again.built
    assert again.geometry(2) == expected[2]
