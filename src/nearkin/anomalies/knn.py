"""Density by nearest neighbours: far from all training vectors = anomalous."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nearkin.anomalies.detector import AnomalyDetector
from nearkin.search.exact import Neighbors, knn

K_MEAN = 2  # the reference study's protocol
K_NORM = 50  # Sun et al. on CIFAR-10


def mean_distance(found: Neighbors, k: int = K_MEAN) -> NDArray[np.float64]:
    """Mean of the distances (M, >= k) to the k nearest, float64 (M,). True distances, not squared ones.

    The mean of squared distances ranks differently for k >= 2, so what a search returns squared has to be rooted first.
    """
    out: NDArray[np.float64] = found.distances[:, :k].mean(axis=1, dtype=np.float64)
    return out


def kth_unit_distance(found: Neighbors, k: int = K_NORM) -> NDArray[np.float64]:
    """L2 distance of unit-length vectors to the k-th nearest, from cosine neighbours (M, >= k); float64 (M,), in [0, 2].

    Sun et al.: "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022, equation 2 with r_k; there the
    score is -r_k. Between unit vectors |a - b|^2 = 2 (1 - cosine).
    """
    out: NDArray[np.float64] = np.sqrt(2 * found.distances[:, k - 1].astype(np.float64))
    return out


class KNNAnomaly(AnomalyDetector):
    """Mean L2 distance to the ``n_neighbors`` nearest training vectors. A training row drops itself.

    Args:
        n_neighbors: k, 1..N-1. contamination: share of training rows that ``predict`` calls outliers, in (0, 0.5].
    """

    def __init__(self, n_neighbors: int = K_MEAN, *, contamination: float = 0.1) -> None:
        self.n_neighbors = n_neighbors
        self.contamination = contamination

    def _learn(self, Z: NDArray[np.float32]) -> None:
        self.vectors_ = Z

    def _own_scores(self, Z: NDArray[np.float32]) -> NDArray[np.float64]:
        return mean_distance(knn(Z, Z, self.n_neighbors, metric="l2", exclude_self=True), self.n_neighbors)

    def _scores(self, Z: NDArray[np.float32]) -> NDArray[np.float64]:
        return mean_distance(knn(Z, self.vectors_, self.n_neighbors, metric="l2"), self.n_neighbors)


class NormalizedKNNAnomaly(AnomalyDetector):
    """Distance of L2-normalised vectors to the ``n_neighbors``-th nearest (Sun et al. 2022). A training row drops itself.

    Args:
        n_neighbors: k, 1..N-1. contamination: share of training rows that ``predict`` calls outliers, in (0, 0.5].
    """

    def __init__(self, n_neighbors: int = K_NORM, *, contamination: float = 0.1) -> None:
        self.n_neighbors = n_neighbors
        self.contamination = contamination

    def _learn(self, Z: NDArray[np.float32]) -> None:
        self.vectors_ = Z

    def _own_scores(self, Z: NDArray[np.float32]) -> NDArray[np.float64]:
        return kth_unit_distance(knn(Z, Z, self.n_neighbors, exclude_self=True), self.n_neighbors)

    def _scores(self, Z: NDArray[np.float32]) -> NDArray[np.float64]:
        return kth_unit_distance(knn(Z, self.vectors_, self.n_neighbors), self.n_neighbors)
