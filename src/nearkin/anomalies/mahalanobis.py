"""Mahalanobis distance to the training vectors' mean, with a shrunk covariance, in float64."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearkin.anomalies.detector import AnomalyDetector

_CHUNK = 2048  # rows in float64 at a time: of raw pixels 50 MB; smaller pieces would lie in a heap that does not shrink


@dataclass(frozen=True)
class Gaussian:
    """One Gaussian of all training vectors (no classes are used), after Lee et al. 2018 and SSD (Sehwag et al. 2021).

    S = (1 - a) C + a tr(C) / D I with the share a of Ledoit and Wolf (2004); C has the divisor N.

    Attributes:
        mean: float64 (D,). whiten: float64 (D, D), whiten whiten' = inverse of S. n: N. shrinkage: a, in [0, 1].
    """

    mean: NDArray[np.float64]
    whiten: NDArray[np.float64]
    n: int
    shrinkage: float

    def distance(self, Z: NDArray[np.float32]) -> NDArray[np.float64]:
        """Distances of new vectors (M, D) -> float64 (M,)."""
        return np.sqrt(self._squared(Z))

    def own_distance(self, Z: NDArray[np.float32]) -> NDArray[np.float64]:
        """Distances of the training vectors (N, D), each taken out of mean and covariance first (shrinkage term held).

        With d = x - mean, q = d' S^-1 d and c = (1 - a) / (N - 1): taking the row out turns d into d N / (N - 1) and S into
        N / (N - 1) (S - c d d'), so by Sherman and Morrison the squared distance becomes N / (N - 1) q / (1 - c q).
        """
        q = self._squared(Z)
        c = (1 - self.shrinkage) / (self.n - 1)
        # c q is at most 1, and 1 only where a row alone spans a direction without any shrinkage.
        return np.sqrt(self.n / (self.n - 1) * q / np.maximum(1 - c * q, 1e-12))

    def _squared(self, Z: NDArray[np.float32]) -> NDArray[np.float64]:
        parts = [
            np.square((Z[start : start + _CHUNK] - self.mean) @ self.whiten).sum(axis=1)
            for start in range(0, len(Z), _CHUNK)
        ]
        return np.concatenate(parts) if parts else np.zeros(0)


def fit_gaussian(train: NDArray[np.float32]) -> Gaussian:
    """Mean and shrunk covariance of training vectors (N, D), N >= 2.

    Directions in which S vanishes (only when all vectors are the same) are measured in the vectors' own units.
    """
    n, d = train.shape
    mean = train.mean(axis=0, dtype=np.float64)
    widest, squares = 0.0, 0.0
    for centred in _centred(train, mean):
        widest = max(widest, float(np.abs(centred).max()))
        squares += float(np.square(centred).sum())
    # A cloud no wider than float32's rounding of its own position is one point.
    if not widest > 1e-6 * max(float(train.max()), -float(train.min())):
        return Gaussian(mean, np.eye(d), n, 1.0)
    # The closed form needs no scale, but its products of fourth order do: tiny vectors would underflow.
    scale = float(np.sqrt(squares / (n * d)))
    covariance, fourth = np.zeros((d, d)), 0.0
    for centred in _centred(train, mean):
        centred /= scale
        covariance += centred.T @ centred
        fourth += float(np.square(np.square(centred).sum(axis=1)).sum())
    covariance, shrinkage = _shrunk(covariance / n, fourth / n, n) if d > 1 else (covariance / n, 0.0)
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, 1e-12 * values[-1])
    return Gaussian(mean, vectors / np.sqrt(values) / scale, n, float(shrinkage))


def _centred(train: NDArray[np.float32], mean: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """The rows minus their mean, some at a time: in float64 all of them would be the largest array of a study."""
    for start in range(0, len(train), _CHUNK):
        yield train[start : start + _CHUNK] - mean


def _shrunk(covariance: NDArray[np.float64], fourth: float, n: int) -> tuple[NDArray[np.float64], float]:
    """Ledoit and Wolf's covariance (D, D) from that of N rows, and its shrinkage, in [0, 1]. ``fourth``: mean |x|^4.

    With C = X'X / N and m = tr(C) / D: the share is the smaller of 1 and b / d, where d = |C - m I|^2 and
    b = (mean |x|^4 - |C|^2) / N (Ledoit & Wolf 2004, section 3.3), at 0 or above. The same as scikit-learn's ledoit_wolf,
    which takes two more products of all rows.
    """
    d = len(covariance)
    size, mean = float(np.square(covariance).sum()), float(np.trace(covariance)) / d
    spread = size - d * mean**2
    noise = (fourth - size) / n
    shrinkage = min(1.0, max(0.0, noise / spread)) if spread > 0 else 0.0
    covariance *= 1 - shrinkage
    covariance.flat[:: d + 1] += shrinkage * mean
    return covariance, shrinkage


class MahalanobisAnomaly(AnomalyDetector):
    """Mahalanobis distance under :class:`Gaussian`. A training row is taken out of mean and covariance.

    Args:
        contamination: share of training rows that ``predict`` calls outliers, in (0, 0.5].
    """

    def __init__(self, *, contamination: float = 0.1) -> None:
        self.contamination = contamination

    def _learn(self, Z: NDArray[np.float32]) -> None:
        self.gaussian_ = fit_gaussian(Z)

    def _own_scores(self, Z: NDArray[np.float32]) -> NDArray[np.float64]:
        return self.gaussian_.own_distance(Z)

    def _scores(self, Z: NDArray[np.float32]) -> NDArray[np.float64]:
        return self.gaussian_.distance(Z)
