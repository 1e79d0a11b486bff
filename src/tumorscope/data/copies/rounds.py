"""Verifies candidates in rounds, and leaves out those that cannot change the groups any more.

In: thumbnails and candidates. Out: the candidates that were looked at, and what was found. Copies of one picture
are candidates of each other in all combinations, and so are copies of it and copies of its neighbouring slice. What
counts are the groups: so the most alike pairs are verified first, images that are near copies are one group from
then on, and of all candidates between two groups only the most alike is verified in each round.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tumorscope.data.copies.descriptors import Progress, Thumbs
from tumorscope.data.copies.pieces import Pieces
from tumorscope.data.copies.search import Candidates
from tumorscope.data.copies.verify import ALIKE_IN_PLACE, NEAR, Verified, alike, verify

ROUNDS = 8
"""Rounds at most; the last one takes all that is left."""
RANKS = (1, 3)
"""In the first round an image's most alike candidate is verified, in the second its first three, then all."""
TRIES = 3
"""Pairs of two groups with scores below `ALIKE_IN_PLACE` after which the two count as different. Of 1,222 joins by
likely patients in 7,020 brain slices two are lost to it, of the joins by near copies none."""
CLEAR = 0.7
"""One pair of two groups that is likely of one patient settles that they are no copies, if its score is below this.
From here to `NEAR` another pair of the same groups may be near."""


def verify_in_rounds(
    thumbs: Thumbs,
    candidates: Candidates,
    *,
    threads: int = 1,
    pieces: Pieces | None = None,
    progress: Progress | None = None,
) -> tuple[Candidates, Verified]:
    """Candidates that were verified, in their order, and what was found.

    Those left out lie within a group that near pairs of earlier rounds join, or between two groups that other
    pairs have settled to be different pictures. The result depends on the candidates only.

    Args:
        thumbs: (N, 64, 64) uint8.
        candidates: Pairs with first guesses.
        threads: Chunks of pairs worked on at a time.
        pieces: Where finished chunks are kept.
        progress: Called with ("verify", pairs verified or left out, P).
    """
    total = len(candidates)
    rank = best_rank(candidates)
    tested, near = np.zeros(total, bool), np.zeros(total, bool)
    against = np.zeros(total, np.int64)
    score, maps = np.zeros(total, np.float32), candidates.maps[:, 0].copy()
    for turn in range(ROUNDS):
        between, one_group = _between(_joined(len(thumbs), candidates, near), candidates)
        settled = one_group | (np.bincount(between, against) >= TRIES)[between]
        left = np.flatnonzero(~tested & ~settled)
        if not len(left):
            break
        now = left[rank[left] < (*RANKS, total)[min(turn, len(RANKS))]]
        if turn < ROUNDS - 1:
            now = _most_alike(now, between, candidates.similarity[:, 0])

        def report(stage: str, done: int, _: int, before: int = total - len(left)) -> None:
            if progress is not None:
                progress(stage, before + done, total)

        found = verify(thumbs, candidates.take(now), threads=threads, pieces=pieces, progress=report)
        tested[now], score[now], maps[now] = True, found.score, found.maps
        near[now] = found.score >= NEAR
        against[now] = np.where(found.score < ALIKE_IN_PLACE, 1, TRIES * (alike(found) & (found.score < CLEAR)))
    if progress is not None and total:
        progress("verify", total, total)
    return candidates.take(tested), Verified(score[tested], maps[tested])


def best_rank(candidates: Candidates) -> NDArray[np.int64]:
    """(P,) how many candidates of an image are more alike than each, for the image where they are fewer."""
    total = len(candidates)
    rank = np.full(total, total, np.int64)
    ends = np.concatenate([candidates.a, candidates.b])
    pair = np.tile(np.arange(total), 2)
    order = np.lexsort((pair, -candidates.similarity[pair, 0], ends))
    first = np.flatnonzero(np.diff(ends[order], prepend=-1))
    place = np.arange(2 * total) - np.repeat(first, np.diff(first, append=2 * total))
    np.minimum.at(rank, pair[order], place)
    return rank


def _joined(n: int, candidates: Candidates, near: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(N,) group of every image."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = (candidates.a[near], candidates.b[near])
    graph = coo_array((np.ones(len(ends[0]), np.int8), ends), shape=(n, n))
    groups: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return groups


def _between(groups: NDArray[np.int64], candidates: Candidates) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(P,) number of the two groups that each candidate lies between, and whether they are the same."""
    one, two = groups[candidates.a], groups[candidates.b]
    _, between = np.unique(np.minimum(one, two) * len(groups) + np.maximum(one, two), return_inverse=True)
    return between, one == two


def _most_alike(
    rows: NDArray[np.int64], between: NDArray[np.int64], similarity: NDArray[np.float32]
) -> NDArray[np.int64]:
    """The row of highest similarity for every pair of groups, in rising order."""
    order = rows[np.lexsort((rows, -similarity[rows], between[rows]))]
    return np.sort(order[np.diff(between[order], prepend=-1) != 0])
