"""What all anomaly estimators share: scikit-learn's conventions for outlier detectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from nearkin.errors import ConfigError, DataError


class BadVectors(DataError, ValueError):
    """Vectors that no score can be computed of: a one-line error of ours, and the ValueError scikit-learn expects."""


class AnomalyDetector(OutlierMixin, BaseEstimator):  # type: ignore[misc]
    """Base of the estimators. A subclass gives ``_learn``, ``_own_scores`` and ``_scores``.

    Attributes after ``fit``:
        train_scores_: float64 (N,), anomaly scores of the training rows, each left out of its own score as far as the
            class says. Higher = more anomalous.
        offset_: threshold of ``score_samples``: the given share of training rows (``contamination``) lies below it.
        n_features_in_: width D.
    """

    contamination: float
    train_scores_: NDArray[np.float64]
    offset_: float
    n_features_in_: int

    def fit(self, X: ArrayLike, y: object = None) -> AnomalyDetector:
        """Learn from training vectors X (N, D), N >= 2.

        Raises:
            BadVectors: not (N, D), values that are not finite, fewer than 2 rows.
            ConfigError: contamination outside (0, 0.5], or a number of neighbours that N does not allow.
        """
        if not 0 < self.contamination <= 0.5:
            raise ConfigError(f"contamination is {self.contamination}; it must lie in (0, 0.5].")
        Z = _matrix(X)
        if len(Z) < 2:
            raise BadVectors(f"an anomaly score needs at least 2 training vectors; got {len(Z)} sample.")
        self.n_features_in_ = Z.shape[1]
        self._learn(Z)
        self.train_scores_ = self._own_scores(Z)
        self.offset_ = float(np.percentile(-self.train_scores_, 100 * self.contamination))
        return self

    def anomaly_score(self, X: ArrayLike) -> NDArray[np.float64]:
        """Anomaly of new vectors X (M, D) -> float64 (M,), higher = more anomalous.

        Rows of the training set count as new here; their scores without themselves are ``train_scores_``.
        """
        check_is_fitted(self, "offset_")
        Z = _matrix(X)
        if Z.shape[1] != self.n_features_in_:
            raise BadVectors(
                f"X has {Z.shape[1]} features, but {type(self).__name__} is expecting {self.n_features_in_} features as input."
            )
        return self._scores(Z)

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """Minus the anomaly score: lower = more anomalous (scikit-learn's sign)."""
        return -self.anomaly_score(X)

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """``score_samples`` minus ``offset_``: negative = outlier (scikit-learn's sign)."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """-1 for outliers, +1 for inliers, int64 (M,)."""
        return _sides(self.decision_function(X))

    def fit_predict(self, X: ArrayLike, y: object = None, **_: Any) -> NDArray[np.int64]:
        """Learn from X and judge its own rows, each without itself."""
        self.fit(X)
        return _sides(-self.train_scores_ - self.offset_)

    def _learn(self, Z: NDArray[np.float32]) -> None:
        raise NotImplementedError

    def _own_scores(self, Z: NDArray[np.float32]) -> NDArray[np.float64]:
        raise NotImplementedError

    def _scores(self, Z: NDArray[np.float32]) -> NDArray[np.float64]:
        raise NotImplementedError


def _matrix(X: ArrayLike) -> NDArray[np.float32]:
    try:
        out: NDArray[np.float32] = check_array(X, dtype=np.float32)
    except ValueError as error:
        raise BadVectors(" ".join(str(error).split())) from error
    return out


def _sides(decision: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.where(decision < 0, -1, 1).astype(np.int64)
