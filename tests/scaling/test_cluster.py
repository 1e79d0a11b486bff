"""Blocks of work: in order and once each; a lost process is made good, a block that kills its process is named."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.scaling.conftest import Machines
from tumorscope.core.errors import IntegrityError, ResourceError
from tumorscope.scaling import cluster as module
from tumorscope.scaling import shared
from tumorscope.scaling.cluster import Cluster
from tumorscope.scaling.connect import connected
from tumorscope.scaling.shared import check_shared
from tumorscope.scaling.terms import Terms, terms

pytestmark = pytest.mark.xdist_group("ray")


@pytest.fixture(scope="module")
def cluster(lasting_machines: Machines) -> Iterator[Cluster]:
    with connected(lasting_machines.address, console=Console(quiet=True)) as one:
        yield one


def uneven(asked: Terms, block: int) -> int:
    """Early blocks take longer."""
    time.sleep(0.3 if block < 2 else 0.0)
    return block


def fatal(asked: Terms, once: tuple[int, str]) -> int:
    """End the process the first time, or always where no file is named."""
    block, name = once
    if block == 1 and not (name and Path(name).exists()):
        if name:
            Path(name).touch()
        os._exit(1)
    return block


def refuses(asked: Terms, block: int) -> int | ResourceError:
    return ResourceError("no room", expected="room", where="there", fix="make room") if block == 3 else block


def test_order_retries_and_errors(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(cluster.in_order(uneven, terms(), range(20))) == list(range(20))
    assert list(cluster.in_order(uneven, terms(), ())) == []
    # a process that is lost once
    name = str(tmp_path / "met")
    assert list(cluster.in_order(fatal, terms(), [(i, name) for i in range(4)])) == [0, 1, 2, 3]
    # and one that is lost whenever that block is tried
    monkeypatch.setattr(module, "RETRIES", 1)
    found: list[int] = []
    with pytest.raises(ResourceError, match="lost 2 times"):
        found.extend(cluster.in_order(fatal, terms(), [(i, "") for i in range(4)]))
    with pytest.raises(ResourceError, match="no room") as caught:
        list(cluster.in_order(refuses, terms(), range(20)))
    assert caught.value.fix == "make room"


def test_blocks_are_taken_as_they_are_needed(cluster: Cluster) -> None:
    taken: list[int] = []

    def blocks() -> Iterator[int]:
        for block in range(1000):
            taken.append(block)
            yield block

    results = cluster.in_order(uneven, terms(), blocks())
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    assert len(taken) <= 3 + module.AHEAD * cluster.cpus


def test_what_a_node_lacks_is_said_before_the_work(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, folder = tmp_path / "scan.png", tmp_path / "new"
    file.write_bytes(b"pixels")
    check_shared(cluster, terms(), files=[file, tmp_path / "not here either"], folders=[folder])
    assert list(folder.iterdir()) == []
    other = replace(terms(), versions=(("numpy", "0.1"),))
    with pytest.raises(IntegrityError, match="numpy"):
        check_shared(cluster, other)
    # what this machine sees and a node does not: here the two are one, so this one's look is changed
    monkeypatch.setattr(shared, "mark", lambda name: "6 of another file")
    with pytest.raises(ResourceError, match="sees another file") as caught:
        check_shared(cluster, terms(), files=[file])
    assert caught.value.where == str(file)
