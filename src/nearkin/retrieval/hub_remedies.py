"""Remedies for hubs: distances rescaled by how far each image's own neighbours are, on lists of candidates.

For each image x, its C exact nearest neighbours y (candidates) get a second, symmetric distance and are sorted again, so
no N x N matrix is ever made; with C = N - 1 the result is that of the whole matrix. With d the primary distance:

- "mutual-proximity": 1 - P(X > d) P(Y > d), X and Y normal with the mean and variance of all distances from x and from y.
  Schnitzer, Flexer, Schedl, Widmer: "Local and Global Scaling Reduce Hubs in Space", JMLR 13 (2012), the Gaussian form
  with X and Y independent. As they suggest, mean and variance may come from a sample of images.
- "local-scaling": 1 - exp(-d^2 / (s_x s_y)), s the distance to the K-th neighbour.
  Zelnik-Manor, Perona: "Self-Tuning Spectral Clustering", NIPS 2004.
- "nicdm": d / sqrt(m_x m_y), m the mean distance to the K nearest neighbours. Schnitzer et al. 2012, after Jegou et al.
- "csls": 2 cos(x, y) - r_x - r_y, r the mean cosine to the K nearest, larger = nearer. As a distance, 2 d - m_x - m_y with
  d = 1 - cosine gives the same order; with "l2" Euclidean distances stand in for it.
  Conneau, Lample, Ranzato, Denoyer, Jegou: "Word Translation Without Parallel Data", ICLR 2018.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from nearkin.errors import ConfigError, unknown
from nearkin.search.exact import METRICS, Neighbors, unit_rows
from nearkin.vectors import sample_rows

REMEDIES = ("mutual-proximity", "local-scaling", "nicdm", "csls")
K_LOCAL = 10
SAMPLE = 1000
_CHUNK = 4096
_TINY = 1e-30


@dataclass(frozen=True)
class DistanceMoments:
    """Mean and standard deviation, float64 (N,), of the distances from each image to the others (or a sample)."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]


def distance_moments(
    Z: NDArray[np.float32], *, metric: str = "cosine", sample: int = SAMPLE, seed: int = 0
) -> DistanceMoments:
    """Moments of the distances from every row of Z (N, D) to ``sample`` seeded rows, itself left out. Needs N >= 2.

    Raises ConfigError for an unknown metric.
    """
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    n = len(Z)
    pick = sample_rows(n, max(2, sample), seed)
    X = unit_rows(Z) if metric == "cosine" else Z - Z.mean(axis=0, dtype=np.float64).astype(np.float32)
    some = X[pick]
    place = np.full(n, -1)
    place[pick] = np.arange(len(pick))
    mean, std = np.empty(n), np.empty(n)
    for start in range(0, n, _CHUNK):
        part = X[start : start + _CHUNK]
        dots = (part @ some.T).astype(np.float64)
        if metric == "cosine":
            d = 1 - dots
        else:
            lengths = np.square(part).sum(axis=1, keepdims=True) + np.square(some).sum(axis=1)
            d = np.sqrt(np.maximum(lengths - 2 * dots, 0))
        own = place[start : start + _CHUNK]
        here = np.flatnonzero(own >= 0)
        d[here, own[here]] = np.nan
        rows = slice(start, start + len(part))
        mean[rows], std[rows] = np.nanmean(d, axis=1), np.nanstd(d, axis=1)
    return DistanceMoments(mean, std)


def rescale(
    candidates: Neighbors, remedy: str, *, k_local: int = K_LOCAL, moments: DistanceMoments | None = None
) -> Neighbors:
    """Candidates sorted by the rescaled distance.

    Args:
        candidates: the C nearest neighbours of every image among the others (N, C), ascending.
        k_local: K of the local remedies, at most C.
        moments: needed for "mutual-proximity", see :func:`distance_moments`.
    Returns:
        (N, C), ascending; distances are the rescaled ones (see above; those of CSLS may be negative).
    Raises:
        ConfigError: unknown remedy, K outside 1..C, or no moments for mutual proximity.
    """
    if remedy not in REMEDIES:
        raise unknown("remedy", remedy, REMEDIES)
    n, c = candidates.indices.shape
    if not 1 <= k_local <= c:
        raise ConfigError(f"k_local is {k_local}; with {c} candidates it must be between 1 and {c}.")
    if remedy == "mutual-proximity" and moments is None:
        raise ConfigError("mutual proximity needs moments; make them with distance_moments.")
    nearest = candidates.distances[:, :k_local].astype(np.float64)
    scale = nearest[:, -1] if remedy == "local-scaling" else nearest.mean(axis=1)
    distances, indices = np.empty((n, c), dtype=np.float32), np.empty((n, c), dtype=np.int64)
    for start in range(0, n, _CHUNK):
        rows = slice(start, start + _CHUNK)
        y = candidates.indices[rows]
        d = candidates.distances[rows].astype(np.float64)
        if remedy == "mutual-proximity":
            assert moments is not None
            new = _mutual_proximity(d, moments, rows, y)
        else:
            new = _local(remedy, d, scale[rows, None], scale[y])
        order = np.argsort(new, axis=1, kind="stable")
        distances[rows] = np.take_along_axis(new, order, axis=1)
        indices[rows] = np.take_along_axis(y, order, axis=1)
    return Neighbors(distances, indices)


def _mutual_proximity(
    d: NDArray[np.float64], moments: DistanceMoments, rows: slice, y: NDArray[np.int64]
) -> NDArray[np.float64]:
    std = np.maximum(moments.std, _TINY)
    p = ndtr((d - moments.mean[rows, None]) / std[rows, None])
    q = ndtr((d - moments.mean[y]) / std[y])
    out: NDArray[np.float64] = p + q - p * q  # 1 - (1 - p)(1 - q) without losing the small p and q of near images
    return out


def _local(remedy: str, d: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    if remedy == "csls":
        return 2 * d - x - y
    product = np.maximum(x * y, _TINY)  # duplicates have no distance to scale by
    out: NDArray[np.float64] = d / np.sqrt(product) if remedy == "nicdm" else -np.expm1(-d * d / product)
    return out
