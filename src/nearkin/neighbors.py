"""Exact k nearest neighbours, chunked: computed once and shared by everything that looks at neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from nearkin.errors import ConfigError, unknown

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
    norm = np.linalg.norm(Z, axis=1, keepdims=True)
    out: NDArray[np.float32] = (Z / np.where(norm > 0, norm, 1)).astype(np.float32)
    return out


def knn(
    queries: NDArray[np.float32],
    base: NDArray[np.float32],
    k: int,
    *,
    metric: str = "cosine",
    exclude_self: bool = False,
) -> Neighbors:
    """Exact search by faiss.

    Args:
        queries: float32 (M, D). base: float32 (N, D).
        exclude_self: queries are the base's rows in order; each drops itself (by row, so a duplicate stays).
    Raises:
        ConfigError: unknown metric, or k outside 1..N (1..N-1 with ``exclude_self``).
    """
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    most = len(base) - int(exclude_self)
    if not 1 <= k <= most:
        raise ConfigError(f"k is {k}; with {len(base)} images it must be between 1 and {most}.")
    if metric == "cosine":
        queries, base = unit_rows(queries), unit_rows(base)
    base = np.ascontiguousarray(base, dtype=np.float32)
    index = faiss.IndexFlatIP(base.shape[1]) if metric == "cosine" else faiss.IndexFlatL2(base.shape[1])
    index.add(base)
    wanted = k + int(exclude_self)
    distances, indices = [], []
    for start in range(0, len(queries), _CHUNK):
        d, i = index.search(np.ascontiguousarray(queries[start : start + _CHUNK], dtype=np.float32), wanted)
        if exclude_self:
            d, i = _drop_self(d, i, start)
        distances.append(d)
        indices.append(i)
    found = np.concatenate(distances)
    # faiss computes squared distances as |a|^2 + |b|^2 - 2ab, which rounds to slightly negative at 0.
    true = np.maximum(1 - found, 0) if metric == "cosine" else np.sqrt(np.maximum(found, 0))
    return Neighbors(true.astype(np.float32), np.concatenate(indices).astype(np.int64))


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
