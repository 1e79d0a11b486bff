"""Results come in order and all of them come; what is too much is refused at once; a batch waits only if it pays."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tumorscope.serving.queue import Full, Line

Made = Callable[..., Line[int, int, int]]


@pytest.fixture
def line() -> Iterator[Made]:
    """Make a line that doubles and adds one; it is closed at the end."""
    made: list[Line[int, int, int]] = []

    def make(
        prepare: Callable[[int], int] = lambda x: 2 * x,
        compute: Callable[[list[int]], list[int]] = lambda xs: [x + 1 for x in xs],
        **changed: float,
    ) -> Line[int, int, int]:
        found = Line(
            prepare,
            compute,
            capacity=int(changed.get("capacity", 64)),
            batch=int(changed.get("batch", 8)),
            wait_s=changed.get("wait_s", 0.0),
            threads=int(changed.get("threads", 2)),
            tasks=int(changed.get("tasks", 2)),
        )
        made.append(found)
        return found

    yield make
    for one in made:
        one.close()


def test_many_callers_get_their_own_results_in_order(line: Made) -> None:
    queue = line(capacity=10_000)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: queue.submit(range(n, n + n % 20)).result(5), range(1, 200)))
    assert found == [[2 * x + 1 for x in range(n, n + n % 20)] for n in range(1, 200)]
    assert queue.waiting == 0


def test_no_file_is_no_wait(line: Made) -> None:
    assert line().submit([]).result(1) == []


def test_all_are_accepted_or_none(line: Made) -> None:
    gate = threading.Event()

    def held(xs: list[int]) -> list[int]:
        gate.wait(5)
        return xs

    queue = line(compute=held, capacity=10)
    first = queue.submit(range(8))
    with pytest.raises(Full) as full:
        queue.submit(range(3))
    assert 1 <= full.value.retry_s <= 60
    second = queue.submit(range(2))
    with pytest.raises(Full):
        queue.check_room()
    gate.set()
    assert first.result(5) == [2 * x for x in range(8)]
    assert second.result(5) == [0, 2]
    queue.check_room()
    assert queue.submit(range(10)).result(5) == [2 * x for x in range(10)]


def test_batches_are_powers_of_two_and_bounded(line: Made) -> None:
    sizes: list[int] = []
    entered, gate = threading.Event(), threading.Event()

    def noted(xs: list[int]) -> list[int]:
        entered.set()
        gate.wait(5)
        sizes.append(len(xs))
        return xs

    queue = line(compute=noted, threads=1)
    first = queue.submit([0])
    entered.wait(5)
    rest = queue.submit(range(29))
    while len(queue._ready) < 29:
        time.sleep(0.001)
    gate.set()
    first.result(5)
    rest.result(5)
    assert sizes == [1, 8, 8, 8, 4, 1]


def test_a_batch_waits_for_what_is_being_prepared_and_a_lone_file_for_nobody(line: Made) -> None:
    sizes: list[int] = []

    def noted(xs: list[int]) -> list[int]:
        sizes.append(len(xs))
        return xs

    def slow(x: int) -> int:
        time.sleep(0.02 * x)
        return x

    queue = line(prepare=slow, compute=noted, wait_s=2.0, threads=4)
    assert queue.submit([0, 1, 2, 3]).result(5) == [0, 1, 2, 3]
    assert sizes == [4]
    start = time.monotonic()
    queue.submit([0]).result(5)
    assert time.monotonic() - start < 1.0
    impatient = line(prepare=slow, compute=noted, wait_s=0.0, threads=4)
    assert impatient.submit([0, 5]).result(5) == [0, 5]
    assert sizes == [4, 1, 1, 1]


def test_one_bad_file_does_not_take_others_with_it(line: Made) -> None:
    def choosy(xs: list[int]) -> list[int]:
        if 6 in xs:
            raise ValueError("six")
        return xs

    gate = threading.Event()

    def late(x: int) -> int:
        gate.wait(5)
        return x

    queue = line(prepare=late, compute=choosy, wait_s=0.5, threads=8)
    jobs = [queue.submit([x]) for x in range(8)]
    gate.set()
    for x, job in enumerate(jobs):
        if x == 6:
            with pytest.raises(ValueError, match="six"):
                job.result(5)
        else:
            assert job.result(5) == [x]
    assert queue.waiting == 0


def test_a_failing_preparation_ends_its_own_request_only(line: Made) -> None:
    def choosy(x: int) -> int:
        if x == 3:
            raise RuntimeError("three")
        return x

    queue = line(prepare=choosy)
    bad, good = queue.submit(range(6)), queue.submit([7, 8])
    with pytest.raises(RuntimeError, match="three"):
        bad.result(5)
    assert good.result(5) == [8, 9]
    while queue.waiting:
        time.sleep(0.001)


def test_tasks_take_turns_with_batches_and_are_bounded(line: Made) -> None:
    order: list[str] = []
    gate = threading.Event()

    def noted(xs: list[int]) -> list[int]:
        gate.wait(5)
        order.append("batch")
        return xs

    queue = line(compute=noted, batch=1)
    files = queue.submit(range(4))
    while queue.waiting != 4 or len(queue._ready) != 3:
        time.sleep(0.001)
    queue.enter_task()
    queue.enter_task()
    with pytest.raises(Full):
        queue.enter_task()
    tasks = [queue.run(lambda: order.append("task")) for _ in range(2)]
    gate.set()
    files.result(5)
    for task in tasks:
        task.result(5)
    assert order == ["batch", "task", "batch", "task", "batch", "batch"]
    queue.leave_task()
    queue.enter_task()
    with pytest.raises(ZeroDivisionError):
        queue.run(lambda: 1 // 0).result(5)


def test_closing_finishes_what_was_accepted(line: Made) -> None:
    def slow(x: int) -> int:
        time.sleep(0.005)
        return x

    queue = line(prepare=slow)
    jobs = [queue.submit([x]) for x in range(20)]
    queue.close()
    assert [job.result(0) for job in jobs] == [[x + 1] for x in range(20)]
    with pytest.raises(Full):
        queue.submit([1])
    queue.close()
