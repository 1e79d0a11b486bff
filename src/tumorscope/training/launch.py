"""Several processes of one command on this machine, by torch's own launcher: what `--devices` does.

In: a number and the command line. Out: each process finds the environment that `torchrun` gives and joins the others
(`processes.joined`), so that there is one way to train with many. They talk on the loopback interface alone. Ctrl-C
and an error in one process end all; the exit code is that of the process that failed first.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from tumorscope.core.errors import DataError, IntegrityError, ResourceError, UsageError

HERE = "127.0.0.1"
SAID = {kind.exit_code for kind in (UsageError, DataError, IntegrityError, ResourceError)}
"""Exit codes of processes that have told the user why they ended."""


def _check_cards(devices: int) -> None:
    """Refuse more processes than there are graphics cards, where there are any.

    Raises:
        UsageError: With the number there are.
    """
    import torch

    cards = torch.cuda.device_count()
    if cards and devices > cards:
        raise UsageError(
            f"--devices {devices} on a machine with {cards} graphics card{'s' if cards > 1 else ''}",
            expected="one card for each process",
            where="--devices",
            fix=f"use --devices {cards}, or hide the cards (CUDA_VISIBLE_DEVICES=) to train on the processor",
        )


def run_processes(devices: int, arguments: Sequence[str]) -> None:
    """Run `tumorscope ARGUMENTS` in so many processes and wait for them.

    Raises:
        UsageError: If there are fewer graphics cards, but some.
        SystemExit: With the exit code of the process that failed first, which has said why.
        ResourceError: If a process ended without a word.
    """
    _check_cards(devices)
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    loopback = next((name for _, name in socket.if_nameindex() if name in ("lo", "lo0")), None)
    if loopback is not None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=devices,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint=f"{HERE}:0",
        local_addr=HERE,
        max_restarts=0,
    )
    try:
        with _silent():
            elastic_launch(config, sys.executable)("-m", "tumorscope", *arguments)
    except ChildFailedError as error:
        codes = {rank: int(failure.exitcode) for rank, failure in sorted(error.failures.items())}
        for code in codes.values():
            if code in SAID:
                raise SystemExit(code) from None
        rank, how = _cause(codes)
        raise ResourceError(
            f"process {rank + 1} of {devices} {how}",
            expected="all processes until the end",
            where=f"--devices {devices}",
            fix="read what it said above, if anything; --resume goes on from the last stored epoch",
        ) from None
    except SignalException as stopped:
        raise SystemExit(128 + int(stopped.sigval)) from None


def _cause(codes: Mapping[int, int]) -> tuple[int, str]:
    """Rank and end of the process that ended first, as far as exit codes tell: the launcher terminates the others."""
    order = sorted(codes, key=lambda rank: (codes[rank] == -signal.SIGTERM, codes[rank] > 0, rank))
    code = codes[order[0]]
    return order[0], f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


@contextmanager
def _silent() -> Iterator[None]:
    """Nothing is logged within the block: what the launcher has to say is said afterwards, in the user's words."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
