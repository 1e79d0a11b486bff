"""Blocks of work on threads, one core each, with the results in order.

In: a function and the parts it is called with. Out: its results. A thread of torch's own that waits for work spins,
and beside other programs that costs many times the work itself; so every block keeps to one core, and blocks run
beside each other instead. The results then do not depend on the number of threads either.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")


def in_order(work: Callable[[Part], Result], parts: Iterable[Part], *, threads: int) -> Generator[Result, None, None]:
    """Results of `work`, one a part and in the order of `parts`; each call is in torch's inference mode.

    At most `2 * threads` parts are under way or wait to be taken. Close the generator to stop early: what has not
    begun is dropped, what has begun is waited for.

    Args:
        work: Called with one part, on any of the threads.
        parts: What to work on.
        threads: Parts worked on at a time; less than 1 counts as 1.
    """
    import torch

    def alone(part: Part) -> Result:
        with torch.inference_mode():
            return work(part)

    threads = max(1, threads)
    waiting: deque[Future[Result]] = deque()
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        for part in parts:
            waiting.append(pool.submit(alone, part))
            if len(waiting) >= 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(before)  # a new thread takes over what was set last, by whichever thread
