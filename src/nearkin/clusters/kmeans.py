"""k-means, with the number of clusters given or chosen by the silhouette."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import ConfigError, DataError, unknown
from nearkin.search.exact import METRICS, unit_rows
from nearkin.vectors import all_equal, finite_rows, sample_rows, zero_rows

STARTS = 4
GRID = (*range(2, 16), 20, 25, 30)
_GRID_IMAGES = 3000  # a silhouette needs all distances among them


@dataclass(frozen=True)
class ChosenK:
    """How the number of clusters was chosen.

    Attributes:
        k: the number of clusters with the largest silhouette (the smallest such number).
        silhouettes: mean silhouette, in [-1, 1], for each k tried; None where fewer than 2 clusters came out.
        n: images used for the choice.
    """

    k: int
    silhouettes: dict[int, float | None]
    n: int


def checked(Z: NDArray[np.float32], metric: str) -> NDArray[np.float32]:
    """Check and prepare Z (N, D): as given for "l2", rows of length 1 for "cosine" (spherical k-means).

    Raises:
        ConfigError: unknown metric.
        DataError: fewer than 2 rows, values that are not finite, all rows the same up to rounding, or, for "cosine",
            rows that are all 0 and so have no direction.
    """
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    if Z.ndim != 2 or len(Z) < 2 or Z.shape[1] < 1:
        raise DataError(f"clusters need vectors (N, D) of at least 2 images; got {Z.shape}.")
    bad = np.flatnonzero(~finite_rows(Z))
    if len(bad):
        raise DataError(f"{len(bad)} of {len(Z)} vectors hold NaN or infinity, first in row {bad[0]}; leave them out.")
    if metric == "cosine":
        zero = np.flatnonzero(zero_rows(Z))
        if len(zero):
            raise DataError(
                f"{len(zero)} of {len(Z)} vectors are all 0, first in row {zero[0]}; they have no direction. "
                "Leave them out or use the metric l2."
            )
        Z = unit_rows(Z)
    if all_equal(Z, tolerance=1e-6):
        raise DataError(f"all {len(Z)} vectors are the same; there is nothing to cluster. The embedding collapsed.")
    return Z


def kmeans(Z: NDArray[np.float32], k: int, *, seed: int = 0, starts: int = STARTS) -> NDArray[np.int64]:
    """k-means (scikit-learn, k-means++, Elkan 2003, the best of ``starts``) of Z (N, D) -> cluster of each row, int64 (N,).

    With fewer distinct rows than k, fewer clusters come out. Numbers go by size: cluster 0 is the largest.

    Raises:
        ConfigError: k outside 2..N.
    """
    if not 2 <= k <= len(Z):
        raise ConfigError(f"k is {k}; with {len(Z)} images it must be between 2 and {len(Z)} (or 'auto').")
    return by_size(raw_kmeans(Z, k, seed=seed, starts=starts))


def raw_kmeans(Z: NDArray[np.float32], k: int, *, seed: int, starts: int = STARTS) -> NDArray[np.int64]:
    """As :func:`kmeans`, with k in 1..N and scikit-learn's numbering."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # Fewer distinct points than clusters, as in a collapsed embedding.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # Elkan's bounds skip distances that cannot matter: the same clusters as Lloyd's, in less time.
        model = KMeans(k, n_init=starts, random_state=seed, algorithm="elkan" if k > 1 else "lloyd")
        assigned: NDArray[np.int64] = model.fit_predict(Z).astype(np.int64)
    return assigned


def by_size(assigned: NDArray[np.int64]) -> NDArray[np.int64]:
    """Renumber clusters 0, 1, ... from the largest to the smallest (ties: by first row); negative numbers stay."""
    names, first, counts = np.unique(assigned[assigned >= 0], return_index=True, return_counts=True)
    order = np.lexsort((first, -counts))
    out = assigned.copy()
    for new, old in enumerate(names[order]):
        out[assigned == old] = new
    return out


def choose_k(Z: NDArray[np.float32], *, grid: Sequence[int] = GRID, seed: int = 0) -> ChosenK:
    """Try each k of ``grid`` (those below N) on at most 3,000 rows of Z and keep the one with the largest silhouette.

    The silhouette (Rousseeuw 1987) prefers few, coarse clusters where groups overlap: read the whole curve.

    Args:
        Z: float32 (N, D), as :func:`checked` returns it.
    Raises:
        ConfigError: no legal k in the grid (fewer than 3 rows).
    """
    from sklearn.metrics import pairwise_distances, silhouette_score

    pick = sample_rows(len(Z), _GRID_IMAGES, seed)
    part = Z[pick]
    legal = [k for k in sorted(set(grid)) if 2 <= k < len(part)]
    if not legal:
        raise ConfigError(f"k cannot be chosen among {len(Z)} images; give --k between 2 and {len(Z)}.")
    # Centring changes no distance, but far from 0 float32 would lose small ones.
    distances = pairwise_distances(part - part.mean(axis=0))
    np.fill_diagonal(distances, 0)
    scores: dict[int, float | None] = {}
    for k in legal:
        assigned = raw_kmeans(part, k, seed=seed)
        groups = len(np.unique(assigned))
        usable = 2 <= groups < len(part)
        scores[k] = float(silhouette_score(distances, assigned, metric="precomputed")) if usable else None
    best = max(legal, key=lambda k: (-2.0 if (score := scores[k]) is None else score, -k))
    return ChosenK(best, scores, len(part))
