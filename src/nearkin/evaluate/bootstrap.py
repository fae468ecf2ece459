"""Percentile bootstrap over images of ratios of sums, paired where two are compared (Efron and Tibshirani 1993)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

INTERVAL = "95% percentile bootstrap over images"
RESAMPLES = 1000
Interval = tuple[float, float]
_FEWEST = 20  # fewer usable resamples give no interval
_CHUNK = 50


def resampled_sums(columns: NDArray[np.float64], *, seed: int, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """Column sums of ``columns`` (N, C) under resampling of its rows with replacement -> float64 (resamples, C).

    The same seed and N draw the same rows, so that separate calls are paired.
    """
    rng, n = np.random.default_rng(seed), len(columns)
    out = np.empty((resamples, columns.shape[1]))
    for start in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - start)
        counts = np.stack([np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(size)])
        out[start : start + size] = counts.astype(np.float64) @ columns
    return out


def percentiles(samples: NDArray[np.float64]) -> Interval | None:
    """The middle 95 % of bootstrapped numbers; those that are not finite are left out, and None if few are left."""
    usable = samples[np.isfinite(samples)]
    if len(usable) < _FEWEST:
        return None
    low, high = np.percentile(usable, [2.5, 97.5])
    return float(low), float(high)
