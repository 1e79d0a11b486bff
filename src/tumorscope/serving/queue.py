"""Micro-batches: files of many requests decoded in a few threads and predicted together by one.

In: files. Out: a future with one result a file, in order. How much may wait is bounded; what is too much is refused at
once, and what was accepted is always finished.

One thread computes, because a network's own threads already fill the machine. It takes what is ready, and waits a few
milliseconds only while files that will fill the batch are still being decoded: a lone request waits for nobody.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Generic, TypeVar

In = TypeVar("In")
Mid = TypeVar("Mid")
Out = TypeVar("Out")
Got = TypeVar("Got")

MAX_RETRY_S = 60


class Full(Exception):
    """Too much waits already.

    Args:
        retry_s: Seconds after which there may be room.
    """

    def __init__(self, retry_s: int) -> None:
        self.retry_s = retry_s
        super().__init__(f"full; again in {retry_s} s")


class _Job(Generic[Out]):
    """Files that came together, and their results so far."""

    def __init__(self, count: int) -> None:
        self.future: Future[list[Out]] = Future()
        self.future.set_running_or_notify_cancel()  # what was accepted is finished: nobody can cancel it
        self._results: list[Out | None] = [None] * count
        self._left = count
        if not count:
            self.future.set_result([])

    def put(self, index: int, result: Out) -> None:
        """Keep a result; the last one finishes the job. The caller holds the line's lock."""
        self._results[index] = result
        self._left -= 1
        if self._left == 0 and not self.future.done():
            self.future.set_result([one for one in self._results if one is not None])

    def fail(self, error: BaseException) -> None:
        """End the job with an error."""
        if not self.future.done():
            self.future.set_exception(error)


class Line(Generic[In, Mid, Out]):
    """The way of files through decoding and prediction.

    Args:
        prepare: Called in decoding threads with one file.
        compute: Called in the computing thread with what `prepare` gave; one result each, in order, none of them None.
        capacity: Files accepted and not finished.
        batch: Most files computed at a time.
        wait_s: Longest wait for files that are being prepared.
        threads: Decoding threads.
        tasks: Tasks accepted and not finished.
    """

    def __init__(
        self,
        prepare: Callable[[In], Mid],
        compute: Callable[[list[Mid]], list[Out]],
        *,
        capacity: int,
        batch: int,
        wait_s: float,
        threads: int,
        tasks: int,
    ) -> None:
        self._prepare = prepare
        self._compute = compute
        self._capacity = capacity
        self._batch = batch
        self._wait_s = wait_s
        self._task_capacity = tasks
        self._change = threading.Condition()
        self._ready: deque[tuple[_Job[Out], int, Mid]] = deque()
        self._tasks: deque[Callable[[], None]] = deque()
        self._preparing = 0
        self._waiting = 0
        self._waiting_tasks = 0
        self._task_turn = False
        self._closed = False
        self._ended = False
        self._image_s = 0.01
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._worker = threading.Thread(target=self._work, name="infer", daemon=True)
        self._worker.start()

    @property
    def waiting(self) -> int:
        """Files accepted and not finished."""
        return self._waiting

    def submit(self, files: Sequence[In]) -> Future[list[Out]]:
        """One result a file, in order; all files are accepted, or none.

        Raises:
            Full: If there is no room for all of them.
        """
        job: _Job[Out] = _Job(len(files))
        with self._change:
            if self._closed or self._waiting + len(files) > self._capacity:
                raise Full(self._retry_s())
            alone = len(files) == 1 and not self._waiting and not self._waiting_tasks
            self._waiting += len(files)
            self._preparing += len(files)
            if alone:
                # nothing else to do meanwhile: the computing thread prepares it itself, one change of threads less
                self._tasks.append(partial(self._prepared, job, 0, files[0]))
                self._change.notify()
                return job.future
        for index, file in enumerate(files):
            self.pool.submit(self._prepared, job, index, file)
        return job.future

    def check_room(self) -> None:
        """Refuse before anything is read.

        Raises:
            Full: If there is no room for one file.
        """
        if self._waiting >= self._capacity:
            raise Full(self._retry_s())

    def enter_task(self) -> None:
        """Take a place for one call of `run`; `leave_task` gives it back.

        Raises:
            Full: If there is none.
        """
        with self._change:
            if self._closed or self._waiting_tasks >= self._task_capacity:
                raise Full(self._retry_s())
            self._waiting_tasks += 1

    def leave_task(self) -> None:
        """Give the place back."""
        with self._change:
            self._waiting_tasks -= 1

    def run(self, task: Callable[[], Got]) -> Future[Got]:
        """Call `task` in the computing thread, in turns with batches.

        Raises:
            Full: If that thread has ended.
        """
        future: Future[Got] = Future()
        future.set_running_or_notify_cancel()

        def call() -> None:
            try:
                future.set_result(task())
            except BaseException as error:
                future.set_exception(error)

        with self._change:
            if self._ended:
                raise Full(self._retry_s())
            self._tasks.append(call)
            self._change.notify()
        return future

    def close(self) -> None:
        """Finish what was accepted, then end all threads."""
        with self._change:
            self._closed = True
            self._change.notify()
        self.pool.shutdown(wait=True)
        with self._change:
            self._change.notify()
        self._worker.join()

    def _retry_s(self) -> int:
        return max(1, min(MAX_RETRY_S, math.ceil(self._waiting * self._image_s)))

    def _prepared(self, job: _Job[Out], index: int, file: In) -> None:
        try:
            prepared = self._prepare(file)
        except BaseException as error:
            with self._change:
                self._preparing -= 1
                self._waiting -= 1
                job.fail(error)
                self._change.notify()
            return
        with self._change:
            self._preparing -= 1
            self._ready.append((job, index, prepared))
            self._change.notify()

    def _work(self) -> None:
        while True:
            with self._change:
                while not self._ready and not self._tasks:
                    if self._closed and self._preparing == 0:
                        self._ended = True
                        return
                    self._change.wait()
                task = self._tasks.popleft() if self._tasks and (self._task_turn or not self._ready) else None
                self._task_turn = task is None
                items = [] if task is not None else self._gather()
            if task is not None:
                task()
            else:
                self._answer(items)

    def _gather(self) -> list[tuple[_Job[Out], int, Mid]]:
        """What is computed next, a power of two of files; the caller holds the lock.

        Runtimes prepare each batch size anew when they first see it, and a larger batch is hardly faster per image:
        six sizes can be made ready beforehand, where 32 would each keep somebody waiting.
        """
        deadline = time.monotonic() + self._wait_s
        while len(self._ready) < self._batch and self._preparing and (left := deadline - time.monotonic()) > 0:
            self._change.wait(left)
        count = 1 << min(self._batch, len(self._ready)).bit_length() - 1
        return [self._ready.popleft() for _ in range(count)]

    def _answer(self, items: list[tuple[_Job[Out], int, Mid]]) -> None:
        start = time.monotonic()
        try:
            results: list[Out | BaseException] = list(self._compute([prepared for *_, prepared in items]))
        except BaseException:
            results = [self._alone(prepared) for *_, prepared in items]
        seconds = (time.monotonic() - start) / len(items)
        with self._change:
            self._image_s += 0.1 * (seconds - self._image_s)
            self._waiting -= len(items)
            for (job, index, _), result in zip(items, results, strict=True):
                if isinstance(result, BaseException):
                    job.fail(result)
                else:
                    job.put(index, result)

    def _alone(self, prepared: Mid) -> Out | BaseException:
        """One file of a batch that failed, so that it does not take others with it."""
        try:
            return self._compute([prepared])[0]
        except BaseException as error:
            return error
