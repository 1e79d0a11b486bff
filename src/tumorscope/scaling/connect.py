"""Reach a Ray cluster: one that runs already, or a local one for the time of a call.

In: "HOST:PORT" of a cluster's head, or "local". Out: a `Cluster` while the `with` block lasts. A local one listens on
the loopback interface only, takes commands only with a secret made for it, has no dashboard, and leaves no file.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from typing import Any

from rich.console import Console

from tumorscope.core.errors import ResourceError, UsageError
from tumorscope.scaling.cluster import Cluster
from tumorscope.scaling.extra import import_ray

LOCAL = "local"
ANSWER_S = 10.0
"""How long the head may take to answer at all."""
STORE_BYTES = 256 << 20
"""Object store of a local cluster: results of blocks wait there, a few hundred kilobytes each."""
OWN_CLUSTER = {
    # the switch of Ray for machines whose firewall asks about every other address: nodes then have 127.0.0.1
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
}
"""Terms of a local cluster, which Ray reads when it is imported."""
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How a client of HTTP/2 begins (RFC 9113, 3.4), with empty settings."""
_SETTINGS = 4


@contextmanager
def connected(address: str, *, console: Console | None = None) -> Iterator[Cluster]:
    """The cluster at `address`; left, and ended if it is a local one, with the block.

    Ray prints messages of its nodes to standard output, where results go: while connected they are dropped (they are
    in Ray's own logs), and what matters is said on `console`.

    Args:
        address: "HOST:PORT" of the head, as `ray start --head` prints it, or "local".
        console: Where it is said that a node is lost; standard error by default.

    Raises:
        UsageError: If the address is neither, this process is connected already, or a local cluster is wanted where
            Ray was imported under other terms.
        ResourceError: If Ray is missing, nothing answers there, or it is no cluster that this process can join.
    """
    host, port = (LOCAL, 0) if address == LOCAL else _parts(address)
    if address == LOCAL:
        take_own_terms()
    ray = import_ray()
    if ray.is_initialized():
        raise UsageError(
            "this process is connected to a Ray cluster already",
            expected="a process that is not",
            where="--ray",
            fix="call ray.shutdown() first",
        )
    with ExitStack() as stack:
        wishes: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address == LOCAL:
            folder = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
            wishes |= {
                "address": LOCAL,  # Ray's word too: a new cluster, whatever $RAY_ADDRESS says
                "num_cpus": _cores(),
                "num_gpus": 0,
                "include_dashboard": False,
                "object_store_memory": STORE_BYTES,
                "_temp_dir": stack.enter_context(folder),
            }
        else:
            _check_answer(host, port)
            wishes["address"] = f"{host}:{port}"
        stack.enter_context(redirect_stdout(stack.enter_context(open(os.devnull, "w", encoding="utf-8"))))
        stack.callback(ray.shutdown)
        try:
            ray.init(**wishes)
        except (ray.exceptions.RayError, ConnectionError, OSError, RuntimeError, ValueError) as error:
            raise ResourceError(
                f"Ray cannot be used at {address}: {type(error).__name__}: {str(error).strip()[:400]}",
                expected="a cluster of the same versions of Ray and Python, with a node on this machine",
                where="--ray",
                fix="see docs/howto/many-machines.md; `ray status` on the head lists its nodes",
            ) from error
        yield Cluster(ray, console or Console(stderr=True))


def take_own_terms() -> None:
    """Set what a cluster of this process's own is started with, and import Ray under it.

    Raises:
        UsageError: If Ray was imported before under other terms: it would then listen on every interface of the
            machine, and not know the secret.
        ResourceError: If Ray is missing.
    """
    if "ray" in sys.modules and any(os.environ.get(name) != value for name, value in OWN_CLUSTER.items()):
        raise UsageError(
            "Ray was imported in this process before, and keeps the terms it found then",
            expected=" ".join(f"{name}={value}" for name, value in OWN_CLUSTER.items()),
            where="--ray",
            fix="set these variables before Ray is imported, or give the address of a cluster of your own",
        )
    os.environ.update(OWN_CLUSTER)
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    # or workers run at niceness 15, and beside any other program on the machine hardly at all
    os.environ.setdefault("RAY_worker_niceness", "0")
    import_ray()


def _parts(address: str) -> tuple[str, int]:
    """Host and port of an address; raises UsageError for what is none."""
    host, separator, port = address.rpartition(":")
    if not separator or not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise UsageError(
            f"{address!r} is no address of a cluster's head",
            expected="HOST:PORT, as `ray start --head --port=6379` prints it (no ray:// proxy), or local",
            where="--ray",
            fix="--ray local, or start a cluster: docs/howto/many-machines.md",
        )
    return host, int(port)


def _check_answer(host: str, port: int) -> None:
    """Raise ResourceError if nothing that may be a head answers: Ray itself would wait for it without an end."""
    encrypted = os.environ.get("RAY_USE_TLS", "0") not in ("", "0")
    try:
        with socket.create_connection((host.strip("[]"), port), timeout=ANSWER_S) as connection:
            connection.settimeout(ANSWER_S)
            connection.sendall(b"" if encrypted else _PREFACE)
            if encrypted:
                return
            head = connection.recv(9, socket.MSG_WAITALL)
    except OSError as error:
        raise _no_head(host, port, error.strerror or str(error) or type(error).__name__) from error
    if len(head) < 9 or head[3] != _SETTINGS:
        raise _no_head(host, port, "something else than Ray listens there")


def _no_head(host: str, port: int, reason: str) -> ResourceError:
    return ResourceError(
        f"no Ray cluster answers at {host}:{port}: {reason}",
        expected="the address of a running head",
        where="--ray",
        fix="start one with `ray start --head --port=6379`, or use --ray local",
    )


def _cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
