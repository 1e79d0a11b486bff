"""Which of how many processes this one is, and the few things that processes which train together say to each other.

In: the environment that torch's launcher (`torchrun`, or `--devices`) gives each process. Out: a `Processes`, handed
down to whatever has to know. A run of one process gets `ALONE`: it joins no group, and every method gives back what it
was given. Objects travel pickled between the processes of one job, which are the same program of the same user.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from tumorscope.core.errors import ResourceError, TumorscopeError, UsageError
from tumorscope.imaging.share import Share

if TYPE_CHECKING:
    from rich.console import Console
    from torch import Tensor

T = TypeVar("T")

PATIENCE = timedelta(hours=24)
"""How long processes wait for each other: the first may read and compare a large set first. One that has died is
noticed at once, by its closed connection."""
LAUNCHED = "TORCHELASTIC_RUN_ID"
"""The variable by which a process knows that torch's launcher started it."""
FAILED = "tumorscope/failed"


@dataclass(frozen=True, slots=True)
class Processes:
    """Who this process is among those that train together.

    Attributes:
        rank: Number of this process, from 0; the first one writes and speaks.
        world: Number of processes.
        local_rank: Number of this process on its machine.
        local_world: Processes on its machine.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1

    @property
    def alone(self) -> bool:
        """True for the only process."""
        return self.world == 1

    @property
    def first(self) -> bool:
        """True for the one that writes and speaks."""
        return self.rank == 0

    @property
    def share(self) -> Share:
        """The share of this process in what all do together."""
        return Share(self.rank, self.world)

    def console(self, console: Console) -> Console:
        """`console` in the first process, one that says nothing in the others."""
        from rich.console import Console

        return console if self.first else Console(quiet=True, force_terminal=False)

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` gives in the first process, in all of them; only there is it called."""
        if self.alone:
            return make()
        import torch.distributed as dist

        box: list[Any] = [make() if self.first else None]
        dist.broadcast_object_list(box, src=0)
        value: T = box[0]
        return value

    def in_turn(self, make: Callable[[], T]) -> T:
        """What `make` gives: called by the first process, then by the first of each other machine, then by the rest.

        For what is made once and found by whoever comes later, where it may lie on a disk that machines share or not.
        """
        if self.alone:
            return make()
        mine = 0 if self.first else 1 if self.local_rank == 0 else 2
        made: list[T] = []
        for turn in range(3):
            if turn == mine:
                made.append(make())
            self.total([0.0])
        return made[0]

    def total(self, values: Sequence[float]) -> list[float]:
        """The sums of `values` over all processes; nobody leaves before all have come."""
        if self.alone:
            return list(values)
        import torch
        import torch.distributed as dist

        sums = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(sums)
        found: list[float] = sums.tolist()
        return found

    def gathered(self, value: T) -> list[T]:
        """The values of all processes, in the order of their ranks."""
        if self.alone:
            return [value]
        import torch.distributed as dist

        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values

    def put_together(self, part: Tensor, n: int) -> Tensor:
        """(n, ...) tensor of which each process has computed its share, in all of them.

        Args:
            part: (k, ...) rows of this process's `share.part(n)`; of the same type everywhere.
            n: Rows in all.
        """
        if self.alone:
            return part
        import torch
        import torch.distributed as dist

        whole = torch.empty((n, *part.shape[1:]), dtype=part.dtype, device=part.device)
        whole[self.share.part(n)] = part
        # as bytes: not every backend takes every type
        lines = whole.view(n, -1).view(torch.uint8)
        for rank in range(self.world):
            theirs = lines[Share(rank, self.world).part(n)]
            if len(theirs):
                dist.broadcast(theirs, src=rank)
        return whole


ALONE = Processes()


def launched() -> bool:
    """True in a process that torch's launcher started."""
    return LAUNCHED in os.environ


def of_environment(environment: Mapping[str, str]) -> Processes:
    """Who this process is by what torch's launcher put in the environment; `ALONE` where it did not start it."""
    if LAUNCHED not in environment or int(environment["WORLD_SIZE"]) == 1:
        return ALONE
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    rank, world, local_rank, local_world = (int(environment[name]) for name in names)
    return Processes(rank, world, local_rank, local_world)


def end_with(parent: int) -> None:
    """End this process when its parent is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def leave(code: int) -> NoReturn:
    """End this process at once, with what it has said written out.

    Threads of gloo may still hold tensors when Python takes itself down, and abort it then: a run that is finished
    would end with SIGABRT (pytorch/pytorch#179291).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@contextmanager
def joined(devices: int | None = None) -> Iterator[Processes]:
    """Join the other processes of this job for the length of the block, if torch's launcher started this one.

    The first process that fails raises its error; the others, which fail for want of it, leave with its exit code and
    say nothing.

    Args:
        devices: How many processes the user asked for on this machine, if he did.

    Raises:
        UsageError: If the launcher started another number of processes.
        ResourceError: If another process ended without a word (killed, out of memory).
    """
    processes = of_environment(os.environ)
    if processes.alone:
        _check_number(devices, processes)
        yield processes
        return
    import torch
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    end_with(os.getppid())
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(processes.local_rank)
    store, _, _ = next(rendezvous("env://", timeout=PATIENCE))
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if cuda else "gloo",
        store=store,
        rank=processes.rank,
        world_size=processes.world,
        timeout=PATIENCE,
    )
    # the launcher allows each process one thread; the cores are shared out instead
    torch.set_num_threads(max(1, _cores() // processes.local_world))
    try:
        _check_number(devices, processes)
        yield processes
        processes.total([0.0])
    except BaseException as error:
        code = error.exit_code if isinstance(error, TumorscopeError) else 1
        told, code = _fails_first(store, processes.rank, code)
        if isinstance(error, KeyboardInterrupt):
            raise
        if not told:
            raise SystemExit(code) from None
        if isinstance(error, RuntimeError) and _lost(error):
            if devices is not None:
                # the command that started this process knows how the other one ended, and says it
                raise SystemExit(1) from None
            raise ResourceError(
                "another process of this run is gone",
                expected=f"{processes.world} processes until the end",
                fix="look for one that was killed (out of memory?); --resume goes on from the last stored epoch",
            ) from error
        raise
    dist.destroy_process_group()


def _check_number(devices: int | None, processes: Processes) -> None:
    if devices not in (None, processes.local_world):
        raise UsageError(
            f"--devices {devices}, but the launcher started {processes.local_world} on this machine",
            expected="the same number, or no --devices",
            where="--devices",
            fix="leave --devices out where torchrun starts the processes",
        )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _fails_first(store: Any, rank: int, code: int) -> tuple[bool, int]:
    """Whether this process is the first to fail, and the exit code of the one that is."""
    try:
        first, _, theirs = store.compare_set(FAILED, "", f"{rank}:{code}").decode().partition(":")
    except RuntimeError:
        # the store is gone with the process that kept it, which was therefore earlier
        return False, code
    return int(first) == rank, int(theirs)


def _lost(error: RuntimeError) -> bool:
    """True for what the process groups of torch say when a process on the other side has ended."""
    text = str(error)
    return any(word in text for word in ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer"))
