"""How much of the exact answer an approximate search gives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import DataError
from nearkin.search.exact import exact_distances

_TIE, _ZERO = 1e-6, 1e-9  # of the bar, and where the bar is 0


def recall(
    queries: NDArray[np.float32],
    base: NDArray[np.float32],
    found: NDArray[np.int64],
    exact: NDArray[np.int64],
    *,
    metric: str = "cosine",
) -> float:
    """recall@k: the mean share of the k rows found that are no farther than the k-th exact neighbour, in [0, 1].

    By distance and not by row, so that one of several equally far vectors counts whichever was taken: the (k, eps)-recall
    of Aumueller et al., "ANN-Benchmarks", Information Systems 2020, with eps 1e-6 for rounding.

    Args:
        queries: float32 (M, D). base: float32 (N, D). found, exact: int64 (M, k), rows of the base without repeats.
    Raises:
        DataError: other shapes.
    """
    if found.shape != exact.shape or found.ndim != 2 or len(found) != len(queries) or not found.size:
        raise DataError(
            f"recall: found {found.shape} and exact {exact.shape} must be (M, k) for {len(queries)} queries."
        )
    bar = exact_distances(queries, base, exact, metric).max(axis=1, keepdims=True)
    near = exact_distances(queries, base, found, metric) <= bar * (1 + _TIE) + _ZERO
    return float(near.mean())
