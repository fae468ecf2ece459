"""Isolation forest: vectors that random splits isolate early are anomalous (Liu et al. 2008), by scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.anomalies.detector import AnomalyDetector

TREES = 100  # scikit-learn's and the paper's number; 256 rows per tree


def fit_forest(train: NDArray[np.float32], seed: int, trees: int = TREES) -> Any:
    """Fit scikit-learn's IsolationForest to (N, D)."""
    from sklearn.ensemble import IsolationForest

    return IsolationForest(n_estimators=trees, random_state=seed).fit(train)


def forest_score(forest: Any, Z: NDArray[np.float32]) -> NDArray[np.float64]:
    """2^(-mean path length / its expectation), float64 (M,), in (0, 1]; about 0.5 is ordinary."""
    return -np.asarray(forest.score_samples(Z), dtype=np.float64)


class IsolationForestAnomaly(AnomalyDetector):
    """Isolation forest. A training row is not taken out: each tree sees 256 rows, so its own weight is small.

    Args:
        n_estimators: number of trees. random_state: seed.
        contamination: share of training rows that ``predict`` calls outliers, in (0, 0.5].
    """

    def __init__(self, n_estimators: int = TREES, *, contamination: float = 0.1, random_state: int = 0) -> None:
        self.n_estimators = n_estimators
        self.contamination = contamination
        self.random_state = random_state

    def _learn(self, Z: NDArray[np.float32]) -> None:
        self.forest_ = fit_forest(Z, self.random_state, self.n_estimators)

    def _own_scores(self, Z: NDArray[np.float32]) -> NDArray[np.float64]:
        return forest_score(self.forest_, Z)

    def _scores(self, Z: NDArray[np.float32]) -> NDArray[np.float64]:
        return forest_score(self.forest_, Z)
