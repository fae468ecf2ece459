"""Exact k nearest neighbours, chunked: computed once and shared by everything that looks at neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from nearkin.errors import ConfigError, DataError, unknown

METRICS = ("cosine", "l2")
_CHUNK = 4096


@dataclass(frozen=True)
class Neighbors:
    """k nearest neighbours of M queries.

    Attributes:
        distances: float32 (M, k), ascending. For "l2" true distances (not squared), for "cosine" 1 - cosine.
        indices: int64 (M, k), rows of the base.
    """

    distances: NDArray[np.float32]
    indices: NDArray[np.int64]

    def first(self, k: int) -> Neighbors:
        """The k nearest of these."""
        return Neighbors(self.distances[:, :k], self.indices[:, :k])


def unit_rows(Z: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of ``Z`` (N, D) scaled to length 1; a zero row stays zero."""
    # Dividing by the largest entry first keeps the squares of very small or large rows inside float32.
    top = np.abs(Z).max(axis=1, keepdims=True, initial=0)
    out: NDArray[np.float32] = (Z / np.where(top > 0, top, 1)).astype(np.float32)
    out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1)
    return out


def knn(
    queries: NDArray[np.float32],
    base: NDArray[np.float32],
    k: int,
    *,
    metric: str = "cosine",
    exclude_self: bool = False,
) -> Neighbors:
    """Exact brute-force search by faiss.

    Distances are right to about 5e-4 of the spread of the base around its mean (float32 dot products), so an exact
    duplicate may show a distance slightly above 0. A zero row has cosine 0 to every other row.

    Args:
        queries: float32 (M, D). base: float32 (N, D).
        exclude_self: queries are the base's rows in order; each drops itself (by row, so a duplicate stays).
    Raises:
        ConfigError: unknown metric, or k outside 1..N (1..N-1 with ``exclude_self``).
        DataError: different widths, or values that are not finite.
    """
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    if queries.ndim != 2 or base.ndim != 2 or queries.shape[1] != base.shape[1]:
        raise DataError(f"neighbours: queries {queries.shape} and base {base.shape} must be (M, D) and (N, D).")
    most = len(base) - int(exclude_self)
    if not 1 <= k <= most:
        raise ConfigError(f"k is {k}; with {len(base)} images it must be between 1 and {most}.")
    same = queries is base
    if not np.isfinite(base).all() or not (same or np.isfinite(queries).all()):
        raise DataError("neighbours: the vectors hold values that are not finite; the run that made them diverged.")
    if metric == "cosine":
        base = _directions(base)
        queries = base if same else _directions(queries)
    # Distances do not change when everything moves, but |a|^2 + |b|^2 - 2ab in float32 loses small distances
    # between long vectors: a collapsed embedding is a tiny cloud far from 0.
    centre: NDArray[np.float32] = np.asarray(base.mean(axis=0, dtype=np.float64), dtype=np.float32)
    base = np.ascontiguousarray(base - centre, dtype=np.float32)
    wanted = k + int(exclude_self)
    distances, indices = [], []
    for start in range(0, len(queries), _CHUNK):
        rows = slice(start, start + _CHUNK)
        asked = base[rows] if same else np.ascontiguousarray(queries[rows] - centre, dtype=np.float32)
        d, i = faiss.knn(asked, base, wanted, metric=faiss.METRIC_L2)
        if exclude_self:
            d, i = _drop_self(d, i, start)
        distances.append(d)
        indices.append(i)
    squared = np.concatenate(distances) if distances else np.zeros((0, k), dtype=np.float32)
    found = np.concatenate(indices) if indices else np.zeros((0, k), dtype=np.int64)
    squared = np.maximum(squared, 0)  # rounding may leave it slightly negative
    # Between unit vectors |a - b|^2 = 2 (1 - cosine).
    true = np.asarray(squared / 2 if metric == "cosine" else np.sqrt(squared), dtype=np.float32)
    return Neighbors(true, found.astype(np.int64))


def _directions(Z: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit rows (N, D + 1): a zero row becomes the unit vector of an axis of its own, orthogonal to all others."""
    unit = unit_rows(Z)
    zero: NDArray[np.float32] = np.asarray(~unit.any(axis=1), dtype=np.float32)
    return np.concatenate([unit, zero.reshape(-1, 1)], axis=1)


def _drop_self(
    d: NDArray[np.float32], i: NDArray[np.int64], start: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Remove each row's own index; where duplicates pushed it out of the list, the last entry goes instead."""
    own = np.arange(start, start + len(i))[:, None]
    drop = i == own
    drop[~drop.any(axis=1), -1] = True
    keep = ~drop
    shape = (len(i), i.shape[1] - 1)
    return d[keep].reshape(shape), i[keep].reshape(shape)
