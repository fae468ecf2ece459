"""Exact k nearest and k farthest neighbours, by chunks of queries, and what every other search must return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from nearkin.errors import ConfigError, DataError, unknown
from nearkin.search.pruned_knn import Shortlist, pays
from nearkin.vectors import check_finite, zero_rows

METRICS = ("cosine", "l2")
CHUNK = 4096  # queries that faiss gets at a time
_VECTORS = "neighbours: the vectors"


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


def merged(parts: Sequence[Neighbors], k: int) -> Neighbors:
    """The k nearest of the same M queries from their lists in several bases, whose rows are numbered alike.

    Each list must hold the k nearest of its base, or all of it.
    """
    distances = np.concatenate([part.distances for part in parts], axis=1)
    indices = np.concatenate([part.indices for part in parts], axis=1)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return Neighbors(np.take_along_axis(distances, order, axis=1), np.take_along_axis(indices, order, axis=1))


class KnnSearch(Protocol):
    """A function that does what :func:`knn` does. Those of ``nearkin.search.engines`` may miss some neighbours."""

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
    out = np.empty(Z.shape, dtype=np.float32)
    _fill_unit(out, Z)
    return out


def _fill_unit(out: NDArray[np.float32], Z: NDArray[np.float32]) -> None:
    for start in range(0, len(Z), CHUNK):  # by chunks: the intermediate arrays would be several times as large as Z
        part, to = Z[start : start + CHUNK], out[start : start + CHUNK]
        # Dividing by the largest entry first keeps the squares of very small or large rows inside float32.
        top = np.abs(part).max(axis=1, keepdims=True, initial=0)
        to[:] = part / np.where(top > 0, top, 1)
        to /= np.maximum(np.linalg.norm(to, axis=1, keepdims=True), 1)


class Index:
    """Vectors to be searched, prepared once for many searches.

    Args:
        base: float32 (N, D). metric: "cosine" or "l2".
    Raises:
        ConfigError: unknown metric. DataError: not (N, D), or values that are not finite.
    """

    def __init__(self, base: NDArray[np.float32], *, metric: str = "cosine") -> None:
        _check_base(base, metric)
        self.metric, self._width = metric, base.shape[1]
        directions = _directions(base) if metric == "cosine" else np.array(base, order="C")
        # Moving all vectors changes no distance, but |a|^2 + |b|^2 - 2ab in float32 loses small distances
        # between long vectors: a collapsed embedding is a tiny cloud far from 0.
        self._centre = np.asarray(directions.mean(axis=0, dtype=np.float64), dtype=np.float32)
        if directions.dtype == np.float32:
            directions -= self._centre
        else:  # rounded to float32 first, a cloud far from 0 would lose its distances
            directions = (directions - self._centre).astype(np.float32)
        self._base: NDArray[np.float32] = directions
        self._short: Shortlist | None = None

    def __len__(self) -> int:
        return len(self._base)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Index:
        """The index of some rows, in their order. What its searches return are positions among these rows."""
        out = object.__new__(Index)
        out.metric, out._width, out._centre = self.metric, self._width, self._centre
        out._base = np.ascontiguousarray(self._base[rows])
        self.prepare(len(self))  # once here instead of once per part
        out._short = None if self._short is None else self._short.take(out._base, rows)
        return out

    def prepare(self, queries: int) -> None:
        """Prepare now for a search of that many queries; else the first search does."""
        if self._short is None and pays(queries, *self._base.shape):
            self._short = Shortlist(self._base)

    def search(self, queries: NDArray[np.float32] | None, k: int, *, own: NDArray[np.int64] | None = None) -> Neighbors:
        """The k nearest. ``queries`` None: the base's own rows; ``own`` and errors as in :func:`knn`."""
        asked = self._asked(queries, k, own)
        squared, rows = self._nearest(asked, k + int(own is not None))
        return self._neighbors(squared, rows, own)

    def search_own(self, rows: slice, k: int, *, own: NDArray[np.int64] | None = None) -> Neighbors:
        """:meth:`search` of some of the base's own rows; ``own`` has one number for each of them."""
        asked = self._base[rows]
        _check_numbers(len(asked), len(self), k, own)
        return self._neighbors(*self._nearest(asked, k + int(own is not None)), own)

    def farthest(
        self, queries: NDArray[np.float32] | None, k: int, *, own: NDArray[np.int64] | None = None
    ) -> Neighbors:
        """The k farthest, the farthest first. Arguments as in :meth:`search`.

        |q - b|^2 = |q|^2 + 2 (|b|^2 / 2 - <q, b>): the farthest row has the largest inner product of (-q, 1) with
        (b, |b|^2 / 2), which faiss finds exactly, without a matrix of all distances.
        """
        asked = self._asked(queries, k, own)
        lengths, half = (np.square(Z).sum(axis=1, keepdims=True) for Z in (asked, self._base))
        longer = np.concatenate([-asked, np.ones_like(lengths)], axis=1), np.concatenate([self._base, half / 2], axis=1)
        score, rows = _search(*longer, k + int(own is not None), faiss.METRIC_INNER_PRODUCT)
        return self._neighbors(lengths + 2 * score, rows, own)

    def _asked(self, queries: NDArray[np.float32] | None, k: int, own: NDArray[np.int64] | None) -> NDArray[np.float32]:
        """The queries, checked, as directions for "cosine", moved like the base."""
        if queries is not None:
            _check_queries(queries, self._width)
        _check_numbers(len(self) if queries is None else len(queries), len(self), k, own)
        if queries is None:
            return self._base
        if self.metric == "l2":
            return np.ascontiguousarray(queries - self._centre, dtype=np.float32)
        directions = _directions(queries)
        directions -= self._centre
        return directions

    def _nearest(self, asked: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Squared distances and rows (M, k): by a short list where that is cheaper, and by a full search for the rest."""
        plan = None
        if pays(len(asked), *self._base.shape):
            self._short = self._short or Shortlist(self._base)
            plan = self._short.plan(asked, k)
        if plan is None or self._short is None:
            return _search(asked, self._base, k, faiss.METRIC_L2)
        squared, rows, certain = self._short.search(asked, k, plan)
        left = np.flatnonzero(~certain)
        if len(left):
            squared[left], rows[left] = _search(asked[left], self._base, k, faiss.METRIC_L2)
        return squared, rows

    def _neighbors(
        self, squared: NDArray[np.float32], rows: NDArray[np.int64], own: NDArray[np.int64] | None
    ) -> Neighbors:
        if own is not None:
            squared, rows = drop_own(squared, rows, own)
        squared = np.maximum(squared, 0)  # rounding may leave it slightly negative
        # Between unit vectors |a - b|^2 = 2 (1 - cosine), and at most 4.
        true = np.minimum(squared / 2, 2) if self.metric == "cosine" else np.sqrt(squared)
        return Neighbors(np.asarray(true, dtype=np.float32), rows.astype(np.int64))


def knn(
    queries: NDArray[np.float32],
    base: NDArray[np.float32],
    k: int,
    *,
    metric: str = "cosine",
    exclude_self: bool = False,
    own: NDArray[np.int64] | None = None,
) -> Neighbors:
    """Exact search by faiss; where it saves work, by a short list with a guarantee (:mod:`nearkin.search.pruned_knn`).

    Distances are right to about 5e-4 of the spread of the base around its mean (float32 dot products), so an exact
    duplicate may show a distance slightly above 0. A zero row has cosine 0 to every other row. Many searches of one base:
    :class:`Index`.

    Args:
        queries: float32 (M, D). base: float32 (N, D).
        exclude_self: queries are the base's rows in order; each drops itself (by row, so a duplicate stays).
        own: int64 (M,), the base's row that each query is and therefore drops, -1 where it is none.
    Raises:
        ConfigError: unknown metric, or k outside 1..N (1..N-1 where queries drop themselves).
        DataError: different widths, values that are not finite, or no other image to find.
    """
    own = np.arange(len(queries)) if exclude_self else own
    return Index(base, metric=metric).search(None if queries is base else queries, k, own=own)


def farthest(
    queries: NDArray[np.float32],
    base: NDArray[np.float32],
    k: int,
    *,
    metric: str = "cosine",
    exclude_self: bool = False,
    own: NDArray[np.int64] | None = None,
) -> Neighbors:
    """Exact k farthest rows of the base, the farthest first. Arguments and errors as in :func:`knn`."""
    own = np.arange(len(queries)) if exclude_self else own
    return Index(base, metric=metric).farthest(None if queries is base else queries, k, own=own)


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
            zero = ~u.any() | zero_rows(v)
            distances[j] = np.where(zero, 1.0, np.square(u - v).sum(axis=1) / 2)
        else:
            distances[j] = np.linalg.norm(a.astype(np.float64) - b, axis=1)
    return distances


def check_search(
    queries: NDArray[np.float32], base: NDArray[np.float32], k: int, metric: str, own: NDArray[np.int64] | None
) -> None:
    """Raise ConfigError or DataError for arguments that :func:`knn` cannot search."""
    _check_base(base, metric)
    _check_queries(queries, base.shape[1])
    _check_numbers(len(queries), len(base), k, own)


def _search(
    queries: NDArray[np.float32], base: NDArray[np.float32], k: int, kind: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k best rows by faiss's measure ``kind``: scores and rows (M, k)."""
    scores, indices = [np.zeros((0, k), dtype=np.float32)], [np.zeros((0, k), dtype=np.int64)]
    for start in range(0, len(queries), CHUNK):
        d, i = faiss.knn(queries[start : start + CHUNK], base, k, metric=kind)
        scores.append(d)
        indices.append(i)
    return np.concatenate(scores), np.concatenate(indices)


def _check_base(base: NDArray[np.float32], metric: str) -> None:
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    if base.ndim != 2:
        raise DataError(f"neighbours: base {base.shape} must be (N, D).")
    _check_numbers(0, len(base), 1, None)
    check_finite(base, _VECTORS)


def _check_queries(queries: NDArray[np.float32], width: int) -> None:
    if queries.ndim != 2 or queries.shape[1] != width:
        raise DataError(f"neighbours: queries {queries.shape} must be (M, {width}), as wide as the base.")
    check_finite(queries, _VECTORS)


def _check_numbers(queries: int, n: int, k: int, own: NDArray[np.int64] | None) -> None:
    if own is not None and own.shape != (queries,):
        raise DataError(f"neighbours: own {own.shape} must hold one row number for each of {queries} queries.")
    most = n - int(own is not None)
    if most < 1:
        raise DataError(f"neighbours: {n} images are too few; nothing is left to find.")
    if not 1 <= k <= most:
        raise ConfigError(f"k is {k}; with {n} images it must be between 1 and {most}.")


def _directions(Z: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit rows (N, D + 1): a zero row becomes the unit vector of an axis of its own, orthogonal to all others."""
    out = np.empty((len(Z), Z.shape[1] + 1), dtype=np.float32)
    _fill_unit(out[:, :-1], Z)
    out[:, -1] = zero_rows(out[:, :-1])
    return out


def drop_own(
    d: NDArray[np.float32], i: NDArray[np.int64], own: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Neighbours (M, k + 1) -> (M, k) without each query's own row (M,): distances and indices.

    A query without a row, or whose row duplicates pushed off the list, loses the last entry instead.
    """
    drop = i == own[:, None]
    drop[~drop.any(axis=1), -1] = True
    keep = ~drop
    shape = (len(i), i.shape[1] - 1)
    return d[keep].reshape(shape), i[keep].reshape(shape)
