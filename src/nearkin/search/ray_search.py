"""Exact search over a Ray cluster: every node gets the vectors once, every task a block of the queries.

Only the search is spread: it grows with the square of the number of images, everything else that the audits do with the
vectors grows with the number, and takes less time than carrying them around.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.search.exact import CHUNK, Index, Neighbors, check_search, knn
from nearkin.system import check_ray, connected, spread

QUERIES = CHUNK  # per task: as many as knn gives faiss at a time, so that both compute the same numbers


@dataclass(frozen=True)
class _Held:
    """What lies in every node's shared memory: the prepared vectors, the queries (None: the vectors' own rows), their rows."""

    index: Index
    queries: NDArray[np.float32] | None
    own: NDArray[np.int64] | None


class RaySearch:
    """:func:`nearkin.search.exact.knn` with its queries shared out among the workers of a cluster.

    A search of fewer queries than one task holds is done in this process.

    Args:
        stack: ends the connection.
    Raises:
        ConfigError: Ray is not installed.
    """

    def __init__(self, stack: ExitStack) -> None:
        check_ray("--index ray")
        self._stack = stack
        self._ray: Any = None

    def __call__(
        self,
        queries: NDArray[np.float32],
        base: NDArray[np.float32],
        k: int,
        *,
        metric: str = "cosine",
        exclude_self: bool = False,
        own: NDArray[np.int64] | None = None,
    ) -> Neighbors:
        """As :func:`nearkin.search.exact.knn`. Raises OutputError when Ray gave up."""
        if len(queries) <= QUERIES:
            return knn(queries, base, k, metric=metric, exclude_self=exclude_self, own=own)
        own = np.arange(len(queries)) if exclude_self else own
        check_search(queries, base, k, metric, own)
        if self._ray is None:
            self._ray = self._stack.enter_context(connected())
        index = Index(base, metric=metric)
        index.prepare(QUERIES)
        held = self._ray.put(_Held(index, None if queries is base else queries, own))
        del index
        distances = np.empty((len(queries), k), dtype=np.float32)
        indices = np.empty((len(queries), k), dtype=np.int64)
        for row in spread(_task, range(0, len(queries), QUERIES), {"held": held, "k": k, "size": QUERIES}):
            part = slice(row["start"], row["start"] + QUERIES)
            distances[part], indices[part] = row["distances"], row["indices"]
        return Neighbors(distances, indices)


def _task(row: dict[str, Any], held: Any, k: int, size: int) -> dict[str, Any]:
    """Runs on the cluster: the queries from ``row["item"]`` on."""
    import ray

    whole: _Held = ray.get(held)
    part = slice(row["item"], row["item"] + size)
    own = None if whole.own is None else whole.own[part]
    if whole.queries is None:
        neighbors = whole.index.search_own(part, k, own=own)
    else:
        neighbors = whole.index.search(whole.queries[part], k, own=own)
    return {"start": row["item"], "distances": neighbors.distances, "indices": neighbors.indices}
