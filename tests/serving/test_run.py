"""A server as a process: it says where it is, refuses what it must, finishes what it accepted, and leaves quietly."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from benchmarks.clients import ask, connect, get, upload
from typer.testing import CliRunner

from tumorscope import api
from tumorscope.cli import app as command
from tumorscope.core.errors import ResourceError, UsageError
from tumorscope.serving.run import INSTALL, address_of, bind

TOKEN = "a-token-of-many-characters"


@dataclass
class Running:
    """A started server."""

    port: int
    process: subprocess.Popen[str]
    temporary: Path
    ended: tuple[str, str] = field(default=("", ""))

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        self.ended = self.process.communicate(timeout=60)
        return self.process.returncode


@contextmanager
def started(folder: Path, temporary: Path, *words: str, **environment: str) -> Iterator[Running]:
    """`tumorscope serve` on a free port, with a temporary folder of its own."""
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "tumorscope", "serve", str(folder), "--port", "0", "--backend", "torch", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1", **environment},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("http://127.0.0.1:"), process.communicate(timeout=10)
        yield Running(int(line.rsplit(":", 1)[1]), process, temporary)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate(timeout=10)


def test_it_finishes_what_it_accepted_and_then_leaves(folder: Path, tmp_path: Path, pictures: list[bytes]) -> None:
    with started(folder, tmp_path / "t") as server:
        many = [upload_many(pictures * 2, server.port) for _ in range(8)]
        statuses: list[int] = []
        answers: list[Any] = []

        def client(request: bytes) -> None:
            try:
                with connect(server.port) as link:
                    reply = ask(link, request)
            except ConnectionError:  # it came too late to be accepted
                return
            statuses.append(reply.status)
            answers.append(len(reply.content["answers"]) if reply.status == 200 else reply.content)

        half = connect(server.port)
        slow = upload(pictures[0], port=server.port)
        half.sendall(slow[:-50])
        threads = [threading.Thread(target=client, args=(request,)) for request in many]
        for thread in threads:
            thread.start()
        while metric(server.port, "tumorscope_queue_images") == 0 and not statuses:
            time.sleep(0.002)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        with pytest.raises(OSError, match="refused"):
            connect(server.port)
        half.sendall(slow[-50:])
        assert b" 200 " in half.recv(1 << 16)[:20]
        half.close()
        for thread in threads:
            thread.join(30)
        out, errors = server.process.communicate(timeout=30)
        assert server.process.returncode == 0
        assert {200} <= set(statuses) <= {200, 503}
        assert all(answer == 24 for status, answer in zip(statuses, answers, strict=True) if status == 200)
        assert out == ""
        assert [line for line in errors.splitlines() if "Ctrl-C stops" not in line] == []


def upload_many(files: list[bytes], port: int) -> bytes:
    """One request with many files."""
    single = [upload(file, port=port).split(b"\r\n\r\n", 1) for file in files]
    boundary = b"a-boundary-that-no-image-holds"
    body = b"".join(content.removesuffix(b"--" + boundary + b"--\r\n") for _, content in single)
    body += b"--" + boundary + b"--\r\n"
    head, _, _ = single[0][0].partition(b"Content-Length")
    return head + b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body


def metric(port: int, name: str) -> float:
    """A value of /metrics."""
    with connect(port) as link:
        text = ask(link, get("/metrics", port=port)).data.decode()
    return float(next(line for line in text.splitlines() if line.startswith(f"{name} ")).split()[1])


def test_a_token_from_a_file_and_slow_heads(folder: Path, tmp_path: Path, pictures: list[bytes]) -> None:
    (tmp_path / "token").write_text(TOKEN)
    with started(folder, tmp_path / "t", "--token-file", str(tmp_path / "token")) as server:
        request = upload(pictures[0], port=server.port)
        with connect(server.port) as link:
            assert ask(link, request).status == 401
            allowed = request.replace(b"\r\n", f"\r\nAuthorization: Bearer {TOKEN}\r\n".encode(), 1)
            assert ask(link, allowed).status == 200
            assert ask(link, get("/healthz", port=server.port)).status == 200
        with connect(server.port) as link:
            link.sendall(b"NOT HTTP AT ALL smith.png\r\n\r\n")
            assert b" 400 " in link.recv(1 << 16)
        assert server.stop() == 0
        assert "smith" not in "".join(server.ended)
        assert list(server.temporary.iterdir()) == []


def test_an_interrupt_is_no_error(folder: Path, tmp_path: Path) -> None:
    with started(folder, tmp_path / "t") as server:
        server.process.send_signal(signal.SIGINT)
        _, errors = server.process.communicate(timeout=30)
        assert server.process.returncode == 0
        assert "Traceback" not in errors


def test_a_taken_port_and_a_foreign_address() -> None:
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert address_of(listener) == f"http://127.0.0.1:{port}"
        listener.listen()
        with pytest.raises(ResourceError, match=f"port {port}"):
            bind("127.0.0.1", port)
    with pytest.raises(ResourceError, match="cannot listen"):
        bind("203.0.113.1", 0)
    with pytest.raises(ResourceError, match="cannot listen"):
        bind("no.such.host.invalid", 0)


def test_nobody_waits_while_the_model_loads() -> None:
    with bind("127.0.0.1", 0) as listener, pytest.raises(ConnectionRefusedError):
        socket.create_connection(listener.getsockname())


def test_beyond_loopback_without_a_token_nothing_starts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUMORSCOPE_TOKEN", raising=False)
    found = CliRunner().invoke(command, ["serve", str(folder), "--host", "0.0.0.0"])
    assert isinstance(found.exception, UsageError)
    assert "token" in str(found.exception)
    assert "--token " not in CliRunner().invoke(command, ["serve", "--help"]).stdout


def test_a_missing_package_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else real(name))
    with pytest.raises(ResourceError, match="uvicorn") as caught:
        api.serve(folder, port=0)
    assert caught.value.fix == INSTALL == "pip install 'tumorscope[serve]'"


def test_a_folder_without_a_model_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"card\.json"):
        api.serve(tmp_path, port=0)


def test_help_imports_no_server() -> None:
    code = (
        "import sys, tumorscope.cli, tumorscope.serving.settings, tumorscope.serving.run; "
        "print([m for m in ('fastapi', 'starlette', 'uvicorn', 'torch') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
