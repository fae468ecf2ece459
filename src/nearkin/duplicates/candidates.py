"""Which pairs of images are compared: the nearest neighbours of an embedding, and images that are the same in every pixel.

Never all pairs: k candidates per image, found by an exact search or by the engine that is passed in.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearkin.duplicates.registration import PairTable
from nearkin.search.exact import KnnSearch, knn, unit_rows
from nearkin.vectors import sample_rows

_BEYOND = 40_000  # maximum number of pairs beyond the k nearest


@dataclass(frozen=True)
class CandidatePairs(PairTable):
    """P pairs of images.

    Attributes:
        a, b: int64 (P,), rows of the queries and of the base. distance: float32 (P,), in the embedding.
        relative: float32 (P,), distance over the image's own scale, see :func:`relative_distances`.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    distance: NDArray[np.float32]
    relative: NDArray[np.float32]

    @property
    def rows(self) -> NDArray[np.int64]:
        """Both rows, int64 (P, 2)."""
        return np.stack([self.a, self.b], axis=1)


@dataclass(frozen=True)
class Candidates:
    """Attributes:
    near: every query with its k nearest; within one set each unordered pair once, a < b.
    beyond: at most about 40,000 pairs of the ranks k + 1 to 2 k, drawn by query, that are not in ``near``. They carry
        the distances of the ranks 1 to k of the same query: a candidate's distance is small because it was selected,
        and these pairs stand for candidates that are no duplicates.
    typical: median distance of the last rank searched. k: neighbours per query (fewer than asked for in a small set).
    """

    near: CandidatePairs
    beyond: CandidatePairs
    typical: float
    k: int


def propose(
    queries: NDArray[np.float32],
    base: NDArray[np.float32] | None,
    k: int,
    *,
    metric: str = "cosine",
    seed: int = 0,
    search: KnnSearch = knn,
) -> Candidates:
    """Nearest neighbours of queries (M, D) in base (N, D), or within the queries where ``base`` is None.

    Raises what :func:`nearkin.search.exact.knn` raises, except that k may exceed the number of images.
    """
    within = base is None
    target = queries if base is None else base
    most = len(target) - int(within)
    if len(queries) == 0 or most < 1:
        rows, nothing = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        empty = CandidatePairs(rows, rows, nothing, nothing)
        return Candidates(empty, empty, 0.0, 0)
    k = min(k, most)
    wide = min(2 * k, most)
    neighbors = search(queries, target, wide, metric=metric, exclude_self=within)
    typical = float(np.median(neighbors.distances[:, -1]))
    relative = relative_distances(neighbors.distances, neighbors.distances[:, -1:], typical)
    query = np.repeat(np.arange(len(queries)), wide).reshape(-1, wide)
    drawn = sample_rows(len(queries), -(-_BEYOND // max(1, wide - k)), seed)

    def pairs(rows: NDArray[np.int64] | slice, ranks: slice, distances_of: slice) -> CandidatePairs:
        a, b = query[rows, ranks], neighbors.indices[rows, ranks]
        values = neighbors.distances[rows, distances_of], relative[rows, distances_of]
        return CandidatePairs(a.ravel(), b.ravel(), *(value.ravel() for value in values))

    near = pairs(slice(None), slice(0, k), slice(0, k))
    beyond = pairs(drawn, slice(k, None), slice(0, wide - k))
    if within:
        near, beyond = _unordered(near, len(target)), _unordered(beyond, len(target))
        beyond = beyond[~np.isin(beyond.a * len(target) + beyond.b, near.a * len(target) + near.b)]
    return Candidates(near, beyond, typical, k)


def add_identical(
    near: CandidatePairs,
    Z: NDArray[np.float32],
    base: NDArray[np.float32] | None,
    images: NDArray[np.uint8],
    base_images: NDArray[np.uint8],
    metric: str,
    typical: float,
) -> tuple[CandidatePairs, NDArray[np.bool_]]:
    """Append the pairs of identical images that are no neighbours. Also returns which pairs are identical, bool (P,)."""
    own = digests(images)
    other = own if base is None else digests(base_images)
    extra = same_pixels(own, None if base is None else other)
    width = len(other)
    a, b = extra[~np.isin(extra[:, 0] * width + extra[:, 1], near.a * width + near.b)].T
    apart = distances(Z[a], (Z if base is None else base)[b], metric)
    scale = np.full(len(a), typical, dtype=np.float32)
    near = CandidatePairs.concatenate([near, CandidatePairs(a, b, apart, relative_distances(apart, scale, typical))])
    return near, own[near.a] == other[near.b]


def relative_distances(distance: NDArray[np.float32], own: NDArray[np.float32], typical: float) -> NDArray[np.float32]:
    """Distance over the image's own scale: its last neighbour's distance, but at least half the set's typical one.

    In a large group of duplicates the last neighbour is a duplicate, too. 1 where nothing has a scale.
    """
    scale = np.maximum(own, typical / 2)
    return np.asarray(np.where(scale > 0, distance / np.where(scale > 0, scale, 1), 1), dtype=np.float32)


def distances(a: NDArray[np.float32], b: NDArray[np.float32], metric: str) -> NDArray[np.float32]:
    """Distance of each row of a (M, D) to the same row of b, as in :func:`nearkin.search.exact.knn`."""
    if metric == "cosine":
        return np.asarray(np.maximum(0, 1 - np.einsum("md,md->m", unit_rows(a), unit_rows(b))), dtype=np.float32)
    return np.asarray(np.linalg.norm(a - b, axis=1), dtype=np.float32)


def digests(images: NDArray[np.uint8]) -> NDArray[np.str_]:
    """A fingerprint per image (N, C, H, W): the same where every pixel is the same. str (N,)."""
    return np.array([hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest() for image in images], dtype="<U32")


def same_pixels(own: NDArray[np.str_], base: NDArray[np.str_] | None) -> NDArray[np.int64]:
    """Pairs (P, 2) of equal fingerprints: each image with the first one like it (in base, or before it)."""
    target = own if base is None else base
    names, first = np.unique(target, return_index=True)
    if not len(names):
        return np.zeros((0, 2), dtype=np.int64)
    at = np.minimum(np.searchsorted(names, own), len(names) - 1)
    match, rows = names[at] == own, np.arange(len(own))
    if base is None:
        match &= first[at] < rows
        return np.stack([first[at][match], rows[match]], axis=1).astype(np.int64)
    return np.stack([rows[match], first[at][match]], axis=1).astype(np.int64)


def _unordered(pairs: CandidatePairs, n: int) -> CandidatePairs:
    """Each pair once with a < b, at the smaller relative distance of the two directions; sorted."""
    low, high = np.minimum(pairs.a, pairs.b), np.maximum(pairs.a, pairs.b)
    order = np.lexsort((pairs.relative, low * n + high))
    _, first = np.unique((low * n + high)[order], return_index=True)
    keep = order[first]
    return CandidatePairs(low[keep], high[keep], pairs.distance[keep], pairs.relative[keep])
