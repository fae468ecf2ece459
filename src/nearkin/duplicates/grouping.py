"""Groups of duplicates from pairs: connected components, and complete linkage inside each of them.

Components join chains: a like b, b like c, whether or not a is like c. Complete linkage keeps together only images that
are all alike pairwise (at least the threshold), so a chain falls apart. Neither ever builds an N x N matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST = 200  # images in a component up to which all of its pairs are compared

Similarity = Callable[[NDArray[np.int64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Groups:
    """Attributes:
    component: int64 (N,), number of the connected component, -1 for an image without duplicate.
    complete: int64 (N,), number of the complete-linkage group, -1 for an image left alone.
    not_split: components of more than ``LARGEST`` images; complete linkage leaves them as they are.
    """

    component: NDArray[np.int64]
    complete: NDArray[np.int64]
    not_split: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: numbers of groups, images in them, the largest."""

        def describe(group: NDArray[np.int64]) -> dict[str, int]:
            sizes = np.bincount(group[group >= 0]) if (group >= 0).any() else np.zeros(0, dtype=np.int64)
            return {"groups": len(sizes), "images": int(sizes.sum()), "largest": int(sizes.max(initial=0))}

        return {
            "connected_components": describe(self.component),
            "complete_linkage": describe(self.complete),
            "components_too_large_to_split": self.not_split,
        }


def components(n: int, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """Connected components of n images under the pairs (a, b): int64 (n,), numbered by first image, -1 where alone."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(a), dtype=np.int8), (a, b)), shape=(n, n))
    _, found = connected_components(graph, directed=False)
    return _numbered(np.asarray(found, dtype=np.int64))


def group(n: int, a: NDArray[np.int64], b: NDArray[np.int64], similarity: Similarity, threshold: float) -> Groups:
    """Groups of n images under accepted pairs.

    Args:
        a, b: int64 (M,), accepted pairs.
        similarity: int64 (P, 2) rows -> float64 (P,), at least ``threshold`` where alike; asked for the pairs within
            components, at most ``LARGEST``^2 / 2 of each.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    component = components(n, a, b)
    complete, not_split = component.copy(), 0
    order = np.argsort(component, kind="stable")
    order = order[component[order] >= 0]
    sizes = np.bincount(component[order]) if len(order) else np.zeros(0, dtype=np.int64)
    sets = [rows for rows in np.split(order, np.cumsum(sizes)[:-1]) if len(rows) > 2] if len(order) else []
    small = [rows for rows in sets if len(rows) <= LARGEST]
    not_split = len(sets) - len(small)
    inside = [np.stack([x[i] for i in np.triu_indices(len(x), 1)], axis=1) for x in small]
    values = similarity(np.concatenate(inside)) if inside else np.zeros(0)
    fresh = n
    for rows, mine in zip(small, np.split(values, np.cumsum([len(p) for p in inside])[:-1]), strict=False):
        # Distances: 0 at the threshold or above would lose the order; negated similarity keeps it.
        top = max(float(mine.max()), threshold)
        tree = linkage(np.maximum(top - mine, 0), method="complete")
        complete[rows] = fresh + fcluster(tree, top - threshold, criterion="distance")
        fresh += len(rows) + 1
    return Groups(component, _numbered(np.where(complete < 0, -1 - np.arange(n), complete)), not_split)


def _numbered(label: NDArray[np.int64]) -> NDArray[np.int64]:
    """Labels -> 0, 1, ... by first occurrence; -1 where a label occurs once."""
    _, first, inverse, counts = np.unique(label, return_index=True, return_inverse=True, return_counts=True)
    kept = np.flatnonzero(counts > 1)
    number = np.full(len(counts), -1, dtype=np.int64)
    number[kept[np.argsort(first[kept], kind="stable")]] = np.arange(len(kept))
    return np.asarray(number[inverse])
