from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest
import torch

from tumorscope.data.copies.threads import in_order


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_results_come_in_order(threads: int) -> None:
    def slow_first(part: int) -> int:
        time.sleep(0.01 if part % 3 == 0 else 0)
        return part * part

    assert list(in_order(slow_first, range(10), threads=threads)) == [i * i for i in range(10)]


def test_blocks_run_beside_each_other() -> None:
    both = threading.Barrier(2, timeout=10)
    assert list(in_order(lambda _: both.wait() >= 0, range(4), threads=2)) == [True] * 4


def test_every_block_keeps_to_one_core_and_torch_is_as_before() -> None:
    before = torch.get_num_threads()
    assert set(in_order(lambda _: torch.get_num_threads(), range(4), threads=2)) == {1}
    assert torch.get_num_threads() == before
    elsewhere: list[int] = []
    thread = threading.Thread(target=lambda: elsewhere.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert elsewhere == [before]


def test_no_gradients_are_kept() -> None:
    assert all(in_order(lambda _: torch.is_inference_mode_enabled(), range(2), threads=1))


def test_closing_early_drops_the_rest() -> None:
    begun: list[int] = []
    with closing(in_order(begun.append, range(100), threads=2)) as results:
        next(results)
    assert len(begun) <= 5


def test_an_error_is_passed_on_and_stops_the_rest() -> None:
    begun: list[int] = []

    def fail(part: int) -> None:
        begun.append(part)
        if part == 1:
            raise ValueError("planted")

    with pytest.raises(ValueError, match="planted"):
        list(in_order(fail, range(100), threads=1))
    assert len(begun) <= 4
