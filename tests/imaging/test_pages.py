"""Mapped files are read at constant memory."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tumorscope.imaging.pages import release

MEGABYTES = 96
SCRIPT = """
import sys
from pathlib import Path
import numpy as np
import tumorscope.imaging.loader as loader
from tumorscope.imaging.cache import open_cache
from tumorscope.imaging.preprocess import Preprocessing

images, root, kept = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "kept"
loader.RESIDENT_BYTES = 0
if kept:
    loader.release = lambda images: None
pixels = lambda: (np.full((512, 512), i % 251, np.uint8) for i in range(images))
for _ in range(2):  # built, then found and checked
    cache = open_cache([str(i) for i in range(images)], pixels, Preprocessing(size_px=512, channels=1), root=root)
largest = 0
batches = loader.BatchLoader(
    cache.images, np.zeros(images, np.int64), rows=range(images), batch_size=16, shuffle=True,
    normalisation=loader.Normalisation((0.5,), (0.5,)),
)
for _ in batches:
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    largest = max(largest, int(lines["RssFile"].split()[0]))
print(largest, cache.built)
"""


def largest_mapped_kb(folder: Path, *, images: int, kept: bool) -> int:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(images), str(folder), "kept" if kept else "released"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.fullmatch(r"(\d+) False\n", done.stdout)
    assert found is not None
    return int(found[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc, which only Linux has")
def test_a_pass_over_a_large_cache_does_not_keep_it_in_memory(tmp_path: Path) -> None:
    few = largest_mapped_kb(tmp_path, images=16, kept=False)
    many = largest_mapped_kb(tmp_path, images=4 * MEGABYTES, kept=False)
    kept = largest_mapped_kb(tmp_path, images=4 * MEGABYTES, kept=True)
    assert many - few < 16 << 10
    assert kept - few > (MEGABYTES << 10) * 0.8


def test_what_was_read_stays_readable(tmp_path: Path) -> None:
    expected = np.random.default_rng(0).integers(0, 256, (64, 4096)).astype(np.uint8)
    (tmp_path / "a").write_bytes(expected.tobytes())
    mapped = np.memmap(tmp_path / "a", dtype=np.uint8, mode="r", shape=expected.shape)
    assert (mapped == expected).all()
    release(mapped[10:20])
    assert (mapped == expected).all()


def test_writes_to_a_mapped_file_are_not_lost(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "a", dtype=np.uint8, mode="w+", shape=(1 << 20,))
    mapped[:] = 7
    release(mapped)
    assert (mapped == 7).all()


def test_other_arrays_are_left_alone() -> None:
    array = np.arange(5)
    release(array[1:])
    assert array.tolist() == [0, 1, 2, 3, 4]
