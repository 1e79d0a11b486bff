"""Blocks of work on a Ray cluster, with the results in order, whatever becomes of its nodes.

In: a function and the blocks it is called with. Out: its results, in the order of the blocks, each once. A block is at
work or waits; a few for every processor are under way, so that memory does not grow with their number. What a lost node
worked at, or had finished and not yet handed over, is done again elsewhere by Ray; nothing is handed on twice, because
only the first block's result is ever taken next.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from rich.console import Console

from tumorscope.core.errors import ResourceError, TumorscopeError
from tumorscope.scaling.terms import Terms

AHEAD = 3
"""Blocks under way for each processor."""
RETRIES = 5
"""How often a block is tried again whose process or node was lost; more, and the block itself must be the cause."""
LOOK_S = 5.0
"""How often nodes are looked at."""
PATIENCE_S = 60.0
"""How long a cluster without any processor is waited for."""

Block = TypeVar("Block")
Result = TypeVar("Result")


class Cluster:
    """A cluster that this process is connected to.

    Args:
        ray: The package.
        console: Where it is said that a node is lost.
    """

    def __init__(self, ray: Any, console: Console) -> None:
        self.ray, self.console = ray, console
        self._nodes = self.nodes()
        self._looked = self._worked = time.monotonic()
        self._cpus = self._count()

    def nodes(self) -> dict[str, str]:
        """Name of each node that is alive, by its id in Ray."""
        return {
            node["NodeID"]: f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
            for node in self.ray.nodes()
            if node["Alive"]
        }

    @property
    def cpus(self) -> int:
        """Processors for work, at the last look."""
        self._look()
        return self._cpus

    def on_each(self, work: Callable[..., Result], *arguments: Any) -> dict[str, Result]:
        """Result of `work(*arguments)` on every node that stays, by the node's name.

        Raises:
            ResourceError: If it cannot be run on one.
        """
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        task, nodes = self.ray.remote(work), self.nodes()
        there = {
            node: task.options(
                num_cpus=0, max_retries=RETRIES, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
            ).remote(*arguments)
            for node in nodes
        }
        found = {}
        for node, reference in there.items():
            name = f"{nodes[node]} {node[:8]}"
            try:
                found[name] = self.ray.get(reference)
            except self.ray.exceptions.RayError as error:
                if node not in self.nodes():
                    continue  # lost meanwhile: it will get no work
                raise ResourceError(
                    f"node {name} cannot work: {str(error).strip().splitlines()[-1][:300]}",
                    expected="the same environment on every node, tumorscope included",
                    where="--ray",
                    fix="install it there, or start Ray on that node from the shared environment",
                ) from error
        return found

    def in_order(
        self, work: Callable[[Terms, Block], Result | TumorscopeError], terms: Terms, blocks: Iterable[Block]
    ) -> Iterator[Result]:
        """Results of `work(terms, block)`, in the order of `blocks`, which are taken as they are needed.

        Args:
            work: Run there, one block a processor; an error that it returns is raised here.
            terms: What a process there must be like; `work` takes them up.
            blocks: Small values that say what to do.

        Raises:
            ResourceError: If no processor is left, or a block was lost again and again.
            TumorscopeError: What `work` returned.
        """
        task = self.ray.remote(work).options(num_cpus=1, max_retries=RETRIES)
        source = iter(blocks)
        waiting: deque[Any] = deque()
        # whoever stops taking results leaves the cluster, which drops what is under way
        while True:
            room = max(2, AHEAD * self.cpus) - len(waiting)
            waiting.extend(task.remote(terms, block) for block in islice(source, max(room, 0)))
            if not waiting:
                return
            result = self._result(waiting.popleft())
            if isinstance(result, TumorscopeError):
                raise result
            yield result

    def _result(self, reference: Any) -> Any:
        while not self.ray.wait([reference], timeout=LOOK_S)[0]:
            self._look()
        try:
            return self.ray.get(reference)
        except self.ray.exceptions.RayTaskError:
            raise  # a fault of the work, with its traceback
        except self.ray.exceptions.RayError as error:
            raise ResourceError(
                f"a block of work was lost {RETRIES + 1} times: {str(error).strip()[:300]}",
                expected="nodes that stay, and memory for one block a processor",
                where="--ray",
                fix="see Ray's logs; the same command goes on with what was kept",
            ) from error

    def _look(self) -> None:
        """Count processors, and say which nodes are lost; at most once in `LOOK_S`."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        nodes = self.nodes()
        for node in self._nodes.keys() - nodes.keys():
            self.console.print(
                f"node {self._nodes[node]} is lost; what it worked at is done again elsewhere",
                highlight=False,
                markup=False,
            )
        self._nodes, self._cpus = nodes, self._count()
        if self._cpus:
            self._worked = now
        elif now - self._worked > PATIENCE_S:
            raise ResourceError(
                f"the cluster has had no processor for {PATIENCE_S:.0f} s",
                expected="a node that works",
                where="--ray",
                fix="start nodes with `ray start --address=HOST:PORT`; the same command goes on with what was kept",
            )

    def _count(self) -> int:
        return int(self.ray.cluster_resources().get("CPU", 0))
