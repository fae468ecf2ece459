"""Exact nearest neighbours for less work: a lower bound in few dimensions, then exact distances of a short list.

An orthonormal basis splits each vector into m coordinates and a rest. By the triangle inequality in the rest, |q - b|^2 is at
least the squared distance of the coordinates plus the squared difference of the rests' lengths: the squared distance of
vectors of m + 1 dimensions (coordinates, length of the rest). A search there gives a short list; its distances are computed
in full; and the k nearest on the list are the k nearest of all if the k-th is not above the bound of the list's last entry.
The caller searches the other queries in full. Any basis gives the right answer; principal components make the lists short. After Hwang,
Han and Ahn, "A Fast Nearest Neighbor Search Algorithm by Nonlinear Embedding", CVPR 2012, whose basis are block means.
"""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from nearkin.vectors import sample_rows

LEAST_WORK = 2e10  # queries x base x dimensions below which a plain search takes a fraction of a second
_LEAST_DIMENSIONS, _LEAST_QUERIES = 96, 1000
_WIDTHS = (32, 64, 128, 256, 384)
_SAMPLE, _PILOT = 4096, 64
_LONGEST = 1024
_CHUNK = 4096
# Costs in multiply-adds, measured: reading a bound, putting an entry on the list, and one dimension of a distance whose
# vector has to be fetched.
_READING, _LISTING, _FETCHING = 10, 2500, 4
_WORTH = 0.7  # largest cost, as a share of the plain search's, at which a short list is used
_ROUNDING = 1e-5  # error of a bound in float32, relative to the squared lengths


@dataclass(frozen=True)
class Plan:
    """width: m, coordinates of the bound. length: of the short list."""

    width: int
    length: int


class Shortlist:
    """Base vectors float32 (N, D), centred, with their coordinates in a basis."""

    def __init__(self, base: NDArray[np.float32]) -> None:
        self._base, self._basis = base, principal_axes(base)
        self._coordinates, rest = self._split(base, self._basis.shape[1])
        self._others = self._beyond(self._coordinates, rest)
        self._squares = _squares(self._coordinates, rest)

    def take(self, base: NDArray[np.float32], rows: NDArray[np.int64] | NDArray[np.bool_]) -> Shortlist:
        """That of ``base``, the rows at ``rows`` of these: the basis stays."""
        out = object.__new__(Shortlist)
        out._base, out._basis = base, self._basis
        out._coordinates, out._squares = self._coordinates[rows], self._squares[rows]
        out._others = {width: lengths[rows] for width, lengths in self._others.items()}
        return out

    def plan(self, queries: NDArray[np.float32], k: int) -> Plan | None:
        """The cheapest plan for such queries (M, D), judged by a few of them; None where a plain search costs less."""
        n, d = self._base.shape
        few = queries[sample_rows(len(queries), max(16, min(_PILOT, 2**24 // n)), shuffled=True)]
        nearest, _ = faiss.knn(few, self._base, k)
        coordinates, rest = self._split(few, self._basis.shape[1])
        others, squares = self._beyond(coordinates, rest), _squares(coordinates, rest)
        products, done = np.zeros((len(few), n), dtype=np.float32), 0
        best, cheapest = None, _WORTH * n * d
        for width, lengths in self._others.items():
            products += coordinates[:, done:width] @ self._coordinates[:, done:width].T
            done = width
            apart = squares[:, None] + self._squares - 2 * (products + others[width][:, None] * lengths)
            needed = np.sort((apart < nearest[:, -1:]).sum(axis=1))
            for missed, length in zip(range(len(needed) - 1, -1, -1), needed.tolist(), strict=True):
                length = min(n, max(length, k) + k // 4 + 8)
                # Read in random order, about this many bounds are among the best so far.
                listed = length * (1 + np.log(n / length))
                cost = n * (width + _READING) + listed * _LISTING + length * d * _FETCHING
                cost += n * d * missed / len(needed)
                if cost < cheapest and length <= _LONGEST:
                    best, cheapest = Plan(width, length), cost
        return best

    def search(
        self, queries: NDArray[np.float32], k: int, plan: Plan
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
        """Squared distances and rows (M, k) for queries (M, D), nearest first, and bool (M,): which queries are certain."""
        base = _bounds(self._coordinates[:, : plan.width], self._others[plan.width])
        longest = float(np.sqrt(self._squares.max()))
        squared = np.empty((len(queries), k), dtype=np.float32)
        rows = np.empty((len(queries), k), dtype=np.int64)
        certain = np.empty(len(queries), dtype=np.bool_)
        for start in range(0, len(queries), _CHUNK):
            part = slice(start, start + _CHUNK)
            asked = np.ascontiguousarray(queries[part])
            coordinates, rest = self._split(asked, plan.width)  # the bound does not use the coordinates beyond
            bounds, listed = faiss.knn(_bounds(coordinates, rest), base, plan.length)
            squared[part], rows[part] = nearest_of(asked, self._base, listed, k)
            size = np.sqrt(_squares(coordinates, rest)) + longest
            sure = squared[part, -1] <= bounds[:, -1] - _ROUNDING * np.square(size)
            certain[part] = sure | (plan.length == len(base))
        return squared, rows, certain

    def _split(self, Z: NDArray[np.float32], width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The first coordinates (n, width) and the length of the rest (n,). A difference of squares would lose digits."""
        basis = self._basis[:, :width]
        coordinates = np.asarray(Z @ basis)
        rest = np.empty(len(Z), dtype=np.float32)
        for start in range(0, len(Z), _CHUNK):
            part = slice(start, start + _CHUNK)
            rest[part] = np.linalg.norm(Z[part] - coordinates[part] @ basis.T, axis=1)
        return coordinates, rest

    def _beyond(self, coordinates: NDArray[np.float32], rest: NDArray[np.float32]) -> dict[int, NDArray[np.float32]]:
        """For each width that a plan may choose: the length (n,) of the rest."""
        widths = [width for width in _WIDTHS if width <= self._basis.shape[1]]
        return {width: np.sqrt(_squares(coordinates[:, width:], rest)) for width in widths}


def _squares(coordinates: NDArray[np.float32], rest: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared lengths (n,)."""
    return np.asarray(np.square(coordinates).sum(axis=1) + np.square(rest))


def _bounds(coordinates: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, width + 1): the coordinates, then the length of the rest."""
    return np.ascontiguousarray(np.concatenate([coordinates, others[:, None]], axis=1), dtype=np.float32)


def pays(queries: int, n: int, d: int) -> bool:
    """Whether a search of n vectors of d dimensions by ``queries`` queries is large enough to plan."""
    return d >= _LEAST_DIMENSIONS and queries >= _LEAST_QUERIES and float(queries) * n * d >= LEAST_WORK


def principal_axes(Z: NDArray[np.float32]) -> NDArray[np.float32]:
    """Orthonormal columns (D, m), the directions in which a sample of centred rows (N, D) varies most first."""
    from sklearn.utils.extmath import randomized_svd

    sample = Z[sample_rows(len(Z), _SAMPLE)]
    most = max(1, min(*sample.shape, max(w for w in _WIDTHS if w <= max(_WIDTHS[0], Z.shape[1] // 3))))
    axes = randomized_svd(sample, most, n_iter=2, random_state=0)[2]
    # Orthonormal to rounding also where the sample spans fewer directions than asked for.
    return np.ascontiguousarray(np.linalg.qr(axes.T.astype(np.float64))[0], dtype=np.float32)


def nearest_of(
    queries: NDArray[np.float32], base: NDArray[np.float32], listed: NDArray[np.int64], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k nearest of the listed rows (M, L) of the base: squared distances and rows (M, k), by faiss."""
    m, length = listed.shape
    squared, rows = np.empty((m, k), dtype=np.float32), np.empty((m, k), dtype=np.int64)
    pointers = [faiss.swig_ptr(array) for array in (queries, base, listed, squared, rows)]
    # The lists' stride is given because faiss's default for it reads past the first list.
    faiss.knn_L2sqr_by_idx(  # type: ignore[attr-defined]
        *pointers[:3], queries.shape[1], m, len(base), length, k, *pointers[3:], length
    )
    return squared, rows
