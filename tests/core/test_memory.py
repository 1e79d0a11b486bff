from __future__ import annotations

import pytest

from tumorscope.core.errors import ResourceError
from tumorscope.core.memory import memory_explained


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: 1 bytes"),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB\nmore"),
    ],
)
def test_a_failed_allocation_says_what_to_do(error: Exception) -> None:
    expected = pytest.raises(ResourceError, match="a batch of 64 images does not fit into memory")
    with expected as caught, memory_explained("a batch of 64 images", fix="make it smaller"):
        raise error
    assert caught.value.fix == "make it smaller"
    assert "more" not in str(caught.value)


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_explained("x", fix="y"):
        raise RuntimeError("shapes do not match")


def test_a_real_allocation() -> None:
    import torch

    with pytest.raises(ResourceError), memory_explained("x", fix="y"):
        torch.empty(1 << 60, dtype=torch.uint8)
