"""`predict` on a cluster: paths in blocks of one batch, answers back in order.

In: what `predicting.predict` hands to whatever answers. Out: the same answers as from one process: a block is a batch
of the plain path, so that batches hold the same images, and journal, order and table stay with the asking process.

Nothing that imports torch is imported on top: a process there takes up its terms first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from tumorscope.core.errors import IntegrityError, ResourceError, TumorscopeError
from tumorscope.scaling.cluster import Cluster
from tumorscope.scaling.shared import check_shared, some
from tumorscope.scaling.terms import Terms, terms

if TYPE_CHECKING:
    from tumorscope.predicting.answers import Answer, Answering
    from tumorscope.predicting.model import Model


@dataclass(frozen=True, slots=True)
class Order:
    """Which model answers, and how; as for `open_model`, with the identity that it must have."""

    folder: str
    backend: str
    gate: bool
    abstain: bool
    most: int | None
    identity: str


@dataclass(frozen=True, slots=True)
class Batch:
    """One block: the order and the paths."""

    order: Order
    paths: tuple[str, ...]


def answering(cluster: Cluster, folder: Path) -> Answering:
    """What answers for paths on the cluster, by the model in `folder` with the options that it was opened with here."""
    from tumorscope.predicting.answers import BATCH, MISSING

    def run(model: Model, paths: Sequence[str]) -> Iterator[Answer]:
        order = Order(
            folder=os.path.abspath(folder),
            # chosen here, once: nodes that each chose for themselves might answer with different last digits
            backend=model.answers.backend.name,
            gate=model.gate is not None,
            abstain=model.abstains,
            most=model.most,
            identity=model.identity,
        )
        relative = not all(map(os.path.isabs, paths))
        asked = terms(folder=Path.cwd() if relative else None)
        inside = sorted(path for path in folder.rglob("*") if path.is_file())
        check_shared(cluster, asked, files=[*some([Path(path) for path in paths]), *some(inside)])
        blocks = (Batch(order, tuple(paths[start : start + BATCH])) for start in range(0, len(paths), BATCH))
        for found in cluster.in_order(answer_batch, asked, blocks):
            for answer in found:
                if answer.error == MISSING and Path(answer.path).exists():
                    raise ResourceError(
                        "a node does not see a file of this machine",
                        expected="one shared file system, under the same path on all machines",
                        where=answer.path,
                        fix="mount it on the nodes that joined; the same command goes on with what was kept",
                    )
                yield answer

    return run


def answer_batch(asked: Terms, batch: Batch) -> list[Answer] | TumorscopeError:
    """Run on a node: the answers for one batch, or why there are none."""
    try:
        asked.take_up()
        from tumorscope.predicting.answers import answers

        return list(answers(_opened(batch.order), batch.paths, threads=1))
    except TumorscopeError as error:
        return error


@lru_cache(maxsize=1)
def _opened(order: Order) -> Model:
    """The model, opened once a process."""
    from tumorscope.predicting.model import open_model

    model = open_model(
        Path(order.folder), backend=order.backend, gate=order.gate, abstain=order.abstain, most=order.most
    )
    if model.identity != order.identity:
        raise IntegrityError(
            f"a node opened model {model.identity[:12]}",
            expected=f"model {order.identity[:12]}, which this call opened",
            where=order.folder,
            fix="let all machines see the same folder, and leave it alone while it is used",
        )
    return model
