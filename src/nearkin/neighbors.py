"""Exact k nearest (and farthest) neighbours, chunked: computed once and shared by everything that looks at neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from nearkin.errors import ConfigError, DataError, unknown

METRICS = ("cosine", "l2")
_CHUNK = 4096


@dataclass(frozen=True)
class Neighbors:
    """k nearest (or farthest) neighbours of M queries.

    Attributes:
        distances: float32 (M, k), ascending (farthest: descending). For "l2" true distances (not squared), for "cosine" 1 - cosine.
        indices: int64 (M, k), rows of the base.
    """

    distances: NDArray[np.float32]
    indices: NDArray[np.int64]

    def first(self, k: int) -> Neighbors:
        """The first k of these."""
        return Neighbors(self.distances[:, :k], self.indices[:, :k])


class Search(Protocol):
    """What :func:`knn` does; ``nearkin.index`` has others, which may miss some neighbours."""

    def __call__(
        self,
        queries: NDArray[np.float32],
        base: NDArray[np.float32],
        k: int,
        *,
        metric: str = ...,
        exclude_self: bool = ...,
        own: NDArray[np.int64] | None = ...,
    ) -> Neighbors:
        """Arguments, result and errors as in :func:`knn`."""


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
    own: NDArray[np.int64] | None = None,
) -> Neighbors:
    """Exact brute-force search by faiss.

    Distances are right to about 5e-4 of the spread of the base around its mean (float32 dot products), so an exact
    duplicate may show a distance slightly above 0. A zero row has cosine 0 to every other row.

    Args:
        queries: float32 (M, D). base: float32 (N, D).
        exclude_self: queries are the base's rows in order; each drops itself (by row, so a duplicate stays).
        own: int64 (M,), the base's row that each query is and therefore drops, -1 where it is none.
    Raises:
        ConfigError: unknown metric, or k outside 1..N (1..N-1 where queries drop themselves).
        DataError: different widths, values that are not finite, or no other image to find.
    """
    own = np.arange(len(queries)) if exclude_self else own
    queries, base = _prepared(queries, base, k, metric, own)
    squared, found = _search(queries, base, k, own, faiss.METRIC_L2)
    return _neighbors(squared, found, metric)


def farthest(
    queries: NDArray[np.float32],
    base: NDArray[np.float32],
    k: int,
    *,
    metric: str = "cosine",
    exclude_self: bool = False,
    own: NDArray[np.int64] | None = None,
) -> Neighbors:
    """Exact k farthest rows of the base, the farthest first. Arguments and errors as in :func:`knn`.

    |q - b|^2 = |q|^2 + 2 (|b|^2 / 2 - <q, b>): the farthest row has the largest inner product of (-q, 1) with
    (b, |b|^2 / 2), which faiss finds exactly, without a matrix of all distances.
    """
    own = np.arange(len(queries)) if exclude_self else own
    queries, base = _prepared(queries, base, k, metric, own)
    lengths, half = np.square(queries).sum(axis=1, keepdims=True), np.square(base).sum(axis=1, keepdims=True) / 2
    asked = np.concatenate([-queries, np.ones_like(lengths)], axis=1)
    score, found = _search(asked, np.concatenate([base, half], axis=1), k, own, faiss.METRIC_INNER_PRODUCT)
    return _neighbors(lengths + 2 * score, found, metric)


def exact_distances(
    queries: NDArray[np.float32], base: NDArray[np.float32], indices: NDArray[np.int64], metric: str
) -> NDArray[np.float64]:
    """Distances of queries (M, D) to the rows ``indices`` (M, k) of base (N, D), computed in float64: float64 (M, k).

    An exact duplicate has distance 0 in "l2". A zero row has cosine 0 to every other row.
    """
    distances = np.empty(indices.shape)
    for j, rows in enumerate(indices):  # one query at a time: k x D numbers
        a, b = queries[j : j + 1], base[rows]
        if metric == "cosine":
            u, v = unit_rows(a).astype(np.float64), unit_rows(b).astype(np.float64)
            # |u - v|^2 / 2 equals 1 - cosine for unit vectors without its cancellation.
            zero = ~u.any() | ~v.any(axis=1)
            distances[j] = np.where(zero, 1.0, np.square(u - v).sum(axis=1) / 2)
        else:
            distances[j] = np.linalg.norm(a.astype(np.float64) - b, axis=1)
    return distances


def _search(
    queries: NDArray[np.float32], base: NDArray[np.float32], k: int, own: NDArray[np.int64] | None, kind: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k best rows by faiss's measure ``kind``, own rows dropped: scores and rows (M, k)."""
    wanted = k + int(own is not None)
    scores, indices = [np.zeros((0, k), dtype=np.float32)], [np.zeros((0, k), dtype=np.int64)]
    for start in range(0, len(queries), _CHUNK):
        rows = slice(start, start + _CHUNK)
        d, i = faiss.knn(queries[rows], base, wanted, metric=kind)
        if own is not None:
            d, i = drop_own(d, i, own[rows])
        scores.append(d)
        indices.append(i)
    return np.concatenate(scores), np.concatenate(indices)


def _prepared(
    queries: NDArray[np.float32], base: NDArray[np.float32], k: int, metric: str, own: NDArray[np.int64] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Checked, as directions for "cosine", moved to the base's mean. One array twice stays one array."""
    check_search(queries, base, k, metric, own)
    same = queries is base
    if metric == "cosine":
        base = _directions(base)
        queries = base if same else _directions(queries)
    # Distances do not change when everything moves, but |a|^2 + |b|^2 - 2ab in float32 loses small distances
    # between long vectors: a collapsed embedding is a tiny cloud far from 0.
    centre: NDArray[np.float32] = np.asarray(base.mean(axis=0, dtype=np.float64), dtype=np.float32)
    base = np.ascontiguousarray(base - centre, dtype=np.float32)
    return base if same else np.ascontiguousarray(queries - centre, dtype=np.float32), base


def check_search(
    queries: NDArray[np.float32], base: NDArray[np.float32], k: int, metric: str, own: NDArray[np.int64] | None
) -> None:
    """Refuse what :func:`knn` cannot search. Raises ConfigError and DataError."""
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    if queries.ndim != 2 or base.ndim != 2 or queries.shape[1] != base.shape[1]:
        raise DataError(f"neighbours: queries {queries.shape} and base {base.shape} must be (M, D) and (N, D).")
    if own is not None and own.shape != (len(queries),):
        raise DataError(f"neighbours: own {own.shape} must hold one row number for each of {len(queries)} queries.")
    most = len(base) - int(own is not None)
    if most < 1:
        raise DataError(f"neighbours: {len(base)} images are too few; nothing is left to find.")
    if not 1 <= k <= most:
        raise ConfigError(f"k is {k}; with {len(base)} images it must be between 1 and {most}.")
    if not np.isfinite(base).all() or not (queries is base or np.isfinite(queries).all()):
        raise DataError("neighbours: the vectors hold values that are not finite; the run that made them diverged.")


def _neighbors(squared: NDArray[np.float32], found: NDArray[np.int64], metric: str) -> Neighbors:
    squared = np.maximum(squared, 0)  # rounding may leave it slightly negative
    # Between unit vectors |a - b|^2 = 2 (1 - cosine), and at most 4.
    true = np.asarray(np.minimum(squared / 2, 2) if metric == "cosine" else np.sqrt(squared), dtype=np.float32)
    return Neighbors(true, found.astype(np.int64))


def _directions(Z: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit rows (N, D + 1): a zero row becomes the unit vector of an axis of its own, orthogonal to all others."""
    unit = unit_rows(Z)
    zero: NDArray[np.float32] = np.asarray(~unit.any(axis=1), dtype=np.float32)
    return np.concatenate([unit, zero.reshape(-1, 1)], axis=1)


def drop_own(
    d: NDArray[np.float32], i: NDArray[np.int64], own: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Neighbours (M, k + 1) -> (M, k) without each query's own row (M,): distances and indices.

    Where it is none, or duplicates pushed it out, the last entry goes instead.
    """
    drop = i == own[:, None]
    drop[~drop.any(axis=1), -1] = True
    keep = ~drop
    shape = (len(i), i.shape[1] - 1)
    return d[keep].reshape(shape), i[keep].reshape(shape)
