"""Do two scores call the same images anomalous? Overlap of their top lists, and how much chance alone would give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import DataError

TOP = 100


@dataclass(frozen=True)
class Overlap:
    """Attributes:
    names: of the lists. matrix: Jaccard index of each pair, (L, L), in [0, 1].
    mean: over the pairs of different lists; None for a single list.
    chance: expected Jaccard index of two random lists (hypergeometric mean of the intersection).
    """

    names: tuple[str, ...]
    matrix: NDArray[np.float64]
    mean: float | None
    chance: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"names": list(self.names), "matrix": self.matrix.tolist(), "mean": self.mean, "chance": self.chance}


def top_rows(scores: NDArray[np.float64], most: int = TOP) -> NDArray[np.int64]:
    """Rows of the highest scores (N,), highest first; ties in stored order. int64 (min(N, most),)."""
    return np.argsort(-scores, kind="stable")[:most].astype(np.int64)


def overlap(tops: Mapping[str, NDArray[np.int64]], n: int) -> Overlap:
    """Jaccard index |A and B| / |A or B| of every pair of top lists among n images.

    Raises:
        DataError: no lists, or an empty one.
    """
    if not tops or any(len(rows) == 0 for rows in tops.values()):
        raise DataError("an overlap needs at least one list of rows, none of them empty.")
    sets = {name: set(np.asarray(rows).tolist()) for name, rows in tops.items()}
    names = tuple(sets)
    matrix = np.eye(len(names))
    for i, j in combinations(range(len(names)), 2):
        a, b = sets[names[i]], sets[names[j]]
        matrix[i, j] = matrix[j, i] = len(a & b) / len(a | b)
    pairs = matrix[np.triu_indices(len(names), 1)]
    size = float(np.mean([len(rows) for rows in sets.values()]))
    shared = size * size / max(n, 1)
    return Overlap(names, matrix, float(pairs.mean()) if len(pairs) else None, shared / (2 * size - shared))
