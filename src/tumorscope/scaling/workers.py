"""Workers of a sweep on a cluster: the program that one machine runs too, started on whichever node has room.

In: what `sweeping.crew` starts a worker with. Out: a handle like that of a child process. Points, scores and which try
counts stay in the sweep's journal, in a folder that all nodes see. A worker whose node is lost is known to be gone at
once: its sign of life is removed, so that its point is tried again.
"""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from tumorscope.core.errors import TumorscopeError
from tumorscope.core.files import cache_root
from tumorscope.scaling.cluster import Cluster
from tumorscope.scaling.shared import check_shared
from tumorscope.scaling.terms import THREADS, Terms, terms
from tumorscope.sweeping.crew import Post, Start, start_here
from tumorscope.sweeping.worker import BEATS
from tumorscope.training.recipe import Recipe

KILLED = -9
"""Exit code of a worker whose node or process was lost, as of one that was killed."""


def starting(cluster: Cluster, *, folder: Path, recipe: Recipe) -> Start:
    """What starts a sweep's workers on the cluster.

    Args:
        cluster: The cluster.
        folder: Folder of the sweep; it and the cache folder must be seen by all nodes.
        recipe: What is tried; nodes must see the weights that it names.

    Raises:
        ResourceError: If a node does not see them.
        IntegrityError: If a node has other versions.
    """
    asked = terms(shared_cache=True)
    new = not folder.exists()
    try:
        check_shared(cluster, asked, files=weights_of(recipe), folders=(folder, cache_root()))
    finally:
        if new and folder.exists():
            folder.rmdir()

    def start(post: Post) -> There:
        return There(cluster, asked, post)

    return start


def weights_of(recipe: Recipe) -> tuple[Path, ...]:
    """Files of weights that the points of a recipe's space start from."""
    sweep = recipe.sweep
    tried: list[Any] = [recipe.model.weights]
    if sweep is not None:
        chosen = sweep.space.get("model.weights", [])
        tried += [sweep.fixed.get("model.weights"), *(chosen if isinstance(chosen, list) else [])]
    return tuple(Path(name).expanduser() for name in tried if isinstance(name, str) and name.endswith(".safetensors"))


def work_there(asked: Terms, post: Post) -> int | TumorscopeError:
    """Run on a node: start the worker, wait for it, and give its exit code; it ends when this process does."""
    try:
        asked.take_up()
    except TumorscopeError as error:
        return error
    return start_here(post).wait()


class There:
    """A worker somewhere on the cluster, as `sweeping.crew.Running`."""

    def __init__(self, cluster: Cluster, asked: Terms, post: Post) -> None:
        self.cluster, self.post = cluster, post
        environment = {k: v for k, v in asked.environment if k not in THREADS}
        task = cluster.ray.remote(work_there).options(num_cpus=post.threads, max_retries=0)
        self._reference: Any = task.remote(asked, replace(post, environment={**environment, **post.environment}))
        self._code: int | None = None

    def poll(self) -> int | None:
        """Exit code; below 0 where the worker, its node or its process on it was lost; None while it runs or waits.

        Raises:
            ResourceError: If it could not be started.
        """
        if self._code is None and self.cluster.ray.wait([self._reference], timeout=0)[0]:
            self._code = self._ended()
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Exit code, waited for; raises `subprocess.TimeoutExpired`."""
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            left = 1.0 if end is None else end - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(self.post.name, timeout or 0.0)
            self.cluster.ray.wait([self._reference], timeout=min(left, 1.0))
        return code

    def kill(self) -> None:
        """End it now."""
        if self.poll() is None:
            self.cluster.ray.cancel(self._reference, force=True)

    def _ended(self) -> int:
        ray = self.cluster.ray
        try:
            code = ray.get(self._reference)
        except ray.exceptions.RayTaskError:
            raise  # a fault of ours, with its traceback
        except ray.exceptions.RayError:
            (self.post.folder / BEATS / self.post.name).unlink(missing_ok=True)
            return KILLED
        if isinstance(code, TumorscopeError):
            raise code
        return int(code)
