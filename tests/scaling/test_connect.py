"""Reaching a cluster: addresses that are none or dead, a missing package, and a local one that keeps to itself."""

from __future__ import annotations

import importlib
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from rich.console import Console

from tumorscope import api
from tumorscope.core.errors import ResourceError, UsageError
from tumorscope.scaling import connect
from tumorscope.scaling.connect import connected
from tumorscope.scaling.extra import QUIET, import_ray

pytestmark = pytest.mark.xdist_group("ray")


@pytest.mark.parametrize("address", ["", "here", "host:", ":6379", "ray://host:10001", "host:99999", "host:port"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(UsageError, match="no address"), connected(address):
        pass


@pytest.fixture
def other_server() -> Iterator[str]:
    """Something that speaks first, as many servers do, and is no Ray."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"220 another server is here\r\n")
            connection.recv(100)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.getsockname()[1]}"
    server.close()
    thread.join(5)


def test_where_no_head_answers(other_server: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(ResourceError, match="no Ray cluster answers") as caught, connected(address):
        pass
    assert "ray start --head" in caught.value.fix
    with pytest.raises(ResourceError, match="something else than Ray"), connected(other_server):
        pass


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ResourceError, match="ray is not installed") as caught, connected("127.0.0.1:6379"):
        pass
    assert "tumorscope[ray]" in caught.value.fix


def test_nothing_is_reported_about_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    import_ray()
    usage = importlib.import_module("ray._common.usage.usage_lib")
    assert not usage.usage_stats_enabled()
    assert not usage.usage_stats_prompt_enabled()
    for name in QUIET:
        monkeypatch.setenv(name, os.environ[name])


LATE = """
import sys
import ray
from tumorscope.core.errors import UsageError
from tumorscope.scaling.connect import connected
try:
    with connected("local"):
        sys.exit("connected")
except UsageError as error:
    assert "imported in this process before" in str(error), error
    assert "RAY_AUTH_MODE=token" in error.expected and not ray.is_initialized()
"""


@pytest.mark.parametrize("set_before", [False, True])
def test_a_local_cluster_where_ray_was_imported_before(set_before: bool) -> None:
    own = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    own |= {**QUIET, **(connect.OWN_CLUSTER if set_before else {})}
    done = subprocess.run(
        [sys.executable, "-c", LATE], check=False, env=own, capture_output=True, text=True, timeout=120
    )
    # under the terms of a local cluster Ray may have been imported long ago
    assert (done.returncode, done.stderr.strip()[-9:]) == ((1, "connected") if set_before else (0, "")), done.stderr


def _marked(mark: str) -> list[Path]:
    """Processes of this machine whose environment holds the mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append(folder)
        except OSError:
            continue
    return found


def _sockets(folder: Path) -> set[str]:
    """Numbers of the sockets that a process holds."""
    found = set()
    try:
        for link in (folder / "fd").iterdir():
            found |= set(re.findall(r"socket:\[(\d+)\]", os.readlink(link)))
    except OSError:
        pass
    return found


def _addresses(sockets: set[str]) -> set[str]:
    """Both ends of those of them that are TCP or UDP, as the kernel lists them."""
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in sockets:
                found |= {_address(fields[1]), _address(fields[2])}
    return found


def _address(text: str) -> str:
    raw = bytes.fromhex(text.partition(":")[0])
    plain = b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4))
    one = ip_address(plain)
    mapped = getattr(one, "ipv4_mapped", None)
    return str(mapped or one)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_local_cluster_keeps_to_this_machine_and_leaves_nothing(
    model: Path, pictures: Callable[[int], Path], tmp_path: Path
) -> None:
    root, home, place = pictures(70), tmp_path / "home", Path(tempfile.mkdtemp(prefix="t-"))
    home.mkdir()
    mark = f"SCALING_TEST={secrets.token_hex(8)}"
    name, _, value = mark.partition("=")
    own = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    words = [sys.executable, "-m", "tumorscope", "predict", str(model), str(root), "--backend", "torch"]
    process = subprocess.Popen(
        [*words, "--ray", "local"],
        env={**own, name: value, "HOME": str(home), "TMPDIR": str(place)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    said: list[bytes] = []
    reader = threading.Thread(target=lambda: said.extend(process.communicate()))
    reader.start()
    seen: set[str] = set()
    most = 0
    while reader.is_alive():
        folders = _marked(mark)
        most = max(most, len(folders))
        seen |= _addresses(set().union(*(_sockets(folder) for folder in folders)))
        time.sleep(0.1)
    assert process.returncode == 1, said[1].decode()  # two pictures are broken
    console, out = Console(quiet=True), tmp_path / "plain.csv"
    api.predict(model, [root], out=out, backend="torch", console=console)
    assert said[0] == out.read_bytes()
    assert most > 4
    # "any" is the other end of a socket that listens, or its own where it listens everywhere
    assert "127.0.0.1" in seen
    assert {one for one in seen if not ip_address(one).is_loopback} <= {"0.0.0.0", "::"}
    assert _marked(mark) == []
    assert list(place.iterdir()) == []
    assert not (home / ".ray").exists()
    place.rmdir()


def test_cores_are_those_this_process_may_use() -> None:
    assert 1 <= connect._cores() <= (os.cpu_count() or 1)
