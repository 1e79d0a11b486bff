"""A block that is taken again costs no page faults. In processes of their own, for what is asked holds for life."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tumorscope.core.allocation import CHOSEN

TAKE_AND_FREE = """
import json, resource, sys
import numpy as np
from tumorscope.core.allocation import keep_freed_memory

def faults() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(6_000_000)  # 48 MB, more than glibc ever learns to keep by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

plain = faults()
kept = keep_freed_memory()
np.ones(6_000_000)
print(json.dumps({"plain": plain, "kept": kept, "then": faults()}))
"""


def _found(**settings: str) -> dict[str, int]:
    own = {name: value for name, value in os.environ.items() if name not in (*CHOSEN, "GLIBC_TUNABLES")}
    done = subprocess.run(
        [sys.executable, "-c", TAKE_AND_FREE], env=own | settings, check=True, capture_output=True, text=True
    )
    found: dict[str, int] = json.loads(done.stdout)
    return found


def test_a_block_taken_again_is_not_fetched_anew() -> None:
    found = _found()
    assert found["kept"] is (sys.platform == "linux")
    if found["kept"]:
        assert found["then"] < 0.05 * found["plain"]


@pytest.mark.parametrize(
    "settings",
    [{"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.mmap_max=65536"}],
    ids=["variable", "tunable"],
)
def test_what_the_user_has_set_stays(settings: dict[str, str]) -> None:
    found = _found(**settings)
    assert not found["kept"]
    assert found["then"] > 0.5 * found["plain"]
