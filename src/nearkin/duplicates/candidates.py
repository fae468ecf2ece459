"""Which pairs of images are worth comparing: exact nearest neighbours of an embedding, and copies of every pixel."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.search.exact import Search, knn, unit_rows

_BEYOND = 40_000


@dataclass(frozen=True)
class Proposed:
    """P pairs: rows a of the queries and b of the base, int64; distance and relative distance, float32; each (P,)."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    distance: NDArray[np.float32]
    relative: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.a)

    @property
    def rows(self) -> NDArray[np.int64]:
        """Both rows, int64 (P, 2)."""
        return np.stack([self.a, self.b], axis=1)

    def take(self, index: NDArray[Any]) -> Proposed:
        """The pairs at ``index``."""
        return Proposed(self.a[index], self.b[index], self.distance[index], self.relative[index])


@dataclass(frozen=True)
class Candidates:
    """Attributes:
    near: every query with its k nearest; within one set each unordered pair once, a < b.
    beyond: at most about 40,000 pairs of the ranks k + 1 to 2 k, drawn by query, that are not in ``near``. They bear
        the distances of the ranks 1 to k of the same query: a candidate's distance is small because it was selected,
        and these pairs stand for candidates that are no duplicates.
    typical: median distance of the last rank searched. k: neighbours per query (fewer than asked for in a small set).
    """

    near: Proposed
    beyond: Proposed
    typical: float
    k: int


def propose(
    queries: NDArray[np.float32],
    base: NDArray[np.float32] | None,
    k: int,
    *,
    metric: str = "cosine",
    seed: int = 0,
    find: Search = knn,
) -> Candidates:
    """Nearest neighbours of queries (M, D) in base (N, D), or within the queries where ``base`` is None.

    Raises what :func:`nearkin.search.exact.knn` raises, except that k may exceed the number of images.
    """
    within = base is None
    target = queries if base is None else base
    most = len(target) - int(within)
    if len(queries) == 0 or most < 1:
        rows, numbers = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        nothing = Proposed(rows, rows, numbers, numbers)
        return Candidates(nothing, nothing, 0.0, 0)
    k = min(k, most)
    wide = min(2 * k, most)
    found = find(queries, target, wide, metric=metric, exclude_self=within)
    typical = float(np.median(found.distances[:, -1]))
    relative = relative_distances(found.distances, found.distances[:, -1:], typical)
    a = np.repeat(np.arange(len(queries)), wide).reshape(-1, wide)
    near = Proposed(
        a[:, :k].ravel(), found.indices[:, :k].ravel(), found.distances[:, :k].ravel(), relative[:, :k].ravel()
    )
    drawn = np.sort(np.random.default_rng(seed).permutation(len(queries))[: -(-_BEYOND // max(1, wide - k))])
    beyond = Proposed(
        a[drawn, k:].ravel(),
        found.indices[drawn, k:].ravel(),
        found.distances[drawn, : wide - k].ravel(),
        relative[drawn, : wide - k].ravel(),
    )
    if within:
        near, beyond = _unordered(near, len(target)), _unordered(beyond, len(target))
        known = np.isin(beyond.a * len(target) + beyond.b, near.a * len(target) + near.b)
        beyond = beyond.take(~known)
    return Candidates(near, beyond, typical, k)


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
    at = np.minimum(np.searchsorted(names, own), max(0, len(names) - 1))
    if not len(names):
        return np.zeros((0, 2), dtype=np.int64)
    match = names[at] == own
    rows = np.arange(len(own))
    if base is None:
        match &= first[at] < rows
        return np.stack([first[at][match], rows[match]], axis=1).astype(np.int64)
    return np.stack([rows[match], first[at][match]], axis=1).astype(np.int64)


def _unordered(pairs: Proposed, n: int) -> Proposed:
    """Each pair once with a < b, at the smaller relative distance of the two directions; sorted."""
    low, high = np.minimum(pairs.a, pairs.b), np.maximum(pairs.a, pairs.b)
    order = np.lexsort((pairs.relative, low * n + high))
    _, first = np.unique((low * n + high)[order], return_index=True)
    keep = order[first]
    return Proposed(low[keep], high[keep], pairs.distance[keep], pairs.relative[keep])
