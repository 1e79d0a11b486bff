"""A cluster of three nodes on this machine, started once: a head without a processor, and two with one each."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.bundle.bundles import save
from tumorscope.scaling.connect import take_own_terms

WISHES: dict[str, Any] = {"object_store_memory": 80 << 20, "include_dashboard": False}


class Machines:
    """The cluster's nodes, which may be killed; those that are gone are started again before the next test."""

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        # what nodes start with, as `ray start` would take it from its shell
        os.environ["OMP_WAIT_POLICY"] = "passive"
        self.cluster: Any = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "temp_dir": str(folder), **WISHES}
        )
        self.workers: list[Any] = []
        self.restore()

    @property
    def address(self) -> str:
        """Of the head."""
        return str(self.cluster.address)

    def restore(self) -> None:
        """Two worker nodes again."""
        while len(self.workers) < 2:
            self.workers.append(self.cluster.add_node(num_cpus=1, **WISHES))

    def kill(self) -> None:
        """End a worker node and all of its processes, without a word."""
        self.cluster.remove_node(self.workers.pop(), allow_graceful=False)


@pytest.fixture(scope="session", autouse=True)
def _own_terms() -> None:
    """Before the first of these tests, in whatever order: Ray keeps the terms that it is imported under."""
    take_own_terms()


@pytest.fixture(scope="session")
def lasting_machines() -> Iterator[Machines]:
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        machines = Machines(Path(folder))
        yield machines
        machines.cluster.shutdown()


@pytest.fixture
def machines(lasting_machines: Machines) -> Machines:
    """The cluster, whole again."""
    lasting_machines.restore()
    return lasting_machines


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with random weights."""
    return save(
        tmp_path_factory.mktemp("model") / "bundle",
        {"name": "cnn28", "outputs": 3, "channels": 1, "size_px": 28, "dropout": 0.0, "options": {}},
    )


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Makes a folder with that many pictures in two classes, two of them broken, one of them a copy."""

    def make(count: int) -> Path:
        root = tmp_path_factory.mktemp("pictures")
        rng = np.random.default_rng(count)
        for number in range(count):
            path = root / ("odd", "even")[number % 2] / f"{number:04}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (40, 36), dtype=np.uint8)).save(path)
        (root / "even" / "0001.png").write_bytes(b"no picture")
        (root / "even" / "0003.png").write_bytes((root / "even" / "0005.png").read_bytes()[:200])
        (root / "even" / "0007.png").write_bytes((root / "odd" / "0002.png").read_bytes())
        return root

    return make
