"""Local outlier factor: sparser than one's neighbours = anomalous (Breunig et al. 2000), by scikit-learn.

scikit-learn's LocalOutlierFactor works here on a sparse graph of neighbours that were found exactly by
:func:`nearkin.search.exact.knn`, so that the search runs once for all scores.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.anomalies.detector import AnomalyDetector
from nearkin.search.exact import Neighbors, knn

K = 20  # scikit-learn's default


def fit_lof(own: Neighbors, k: int = K) -> Any:
    """LocalOutlierFactor from the training rows' L2 neighbours (N, >= k), each without itself."""
    from sklearn.neighbors import LocalOutlierFactor

    n = len(own.indices)
    # scikit-learn drops the first of k + 1 neighbours as the row itself, so the row itself is put there.
    indices = np.concatenate([np.arange(n)[:, None], own.indices[:, :k]], axis=1)
    distances = np.concatenate([np.zeros((n, 1), dtype=np.float32), own.distances[:, :k]], axis=1)
    return LocalOutlierFactor(k, metric="precomputed", novelty=True).fit(_graph(indices, distances, n))


def own_lof(model: Any) -> NDArray[np.float64]:
    """LOF of the training rows, float64 (N,), about 1 for ordinary ones."""
    return -np.asarray(model.negative_outlier_factor_, dtype=np.float64)


def lof(model: Any, found: Neighbors, k: int = K) -> NDArray[np.float64]:
    """LOF of new vectors from their L2 neighbours (M, >= k) among the training rows, float64 (M,)."""
    graph = _graph(found.indices[:, :k], found.distances[:, :k], len(model.negative_outlier_factor_))
    return -np.asarray(model.score_samples(graph), dtype=np.float64)


def _graph(indices: NDArray[np.int64], distances: NDArray[np.float32], n: int) -> Any:
    """Neighbours (M, k), nearest first, as a sparse (M, n) matrix of distances, zeros stored."""
    from scipy.sparse import csr_matrix

    rows, k = indices.shape
    starts = np.arange(0, rows * k + 1, k)
    return csr_matrix((distances.ravel().astype(np.float64), indices.ravel(), starts), shape=(rows, n))


class LOFAnomaly(AnomalyDetector):
    """Local outlier factor of L2 neighbours. A training row drops itself.

    Args:
        n_neighbors: k, 1..N-1. contamination: share of training rows that ``predict`` calls outliers, in (0, 0.5].
    """

    def __init__(self, n_neighbors: int = K, *, contamination: float = 0.1) -> None:
        self.n_neighbors = n_neighbors
        self.contamination = contamination

    def _learn(self, Z: NDArray[np.float32]) -> None:
        self.vectors_ = Z
        self.model_ = fit_lof(knn(Z, Z, self.n_neighbors, metric="l2", exclude_self=True), self.n_neighbors)

    def _own_scores(self, Z: NDArray[np.float32]) -> NDArray[np.float64]:
        return own_lof(self.model_)

    def _scores(self, Z: NDArray[np.float32]) -> NDArray[np.float64]:
        return lof(self.model_, knn(Z, self.vectors_, self.n_neighbors, metric="l2"), self.n_neighbors)
