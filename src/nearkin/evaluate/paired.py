"""Is a difference real? Tests of paired results, and the correction for asking many questions at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nearkin.evaluate.bootstrap import percentiles, resampled_sums


def mcnemar(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """McNemar's exact test (McNemar 1947, with the binomial distribution): two-sided p that two classifiers err alike.

    Args:
        a, b: bool (N,), whether each classifier is right about each of the same N images.
    """
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b, 0.5).pvalue)


def bootstrap_difference(a: NDArray[np.bool_], b: NDArray[np.bool_], *, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap of mean(a) - mean(b) over the same N images, both bool (N,)."""
    difference = a.astype(np.float64) - b.astype(np.float64)
    found = percentiles(resampled_sums(difference[:, None], seed=seed)[:, 0] / len(a))
    assert found is not None  # sums of finite numbers
    return found


def paired_t(differences: Sequence[float]) -> float | None:
    """Two-sided p of Student's paired t test; None where nothing varies or there are fewer than 2 differences.

    Differences that are all 0 give 1.
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < 2:
        return None
    if np.ptp(values) <= 1e-12 * max(1.0, float(np.abs(values).max())):
        return 1.0 if not values.any() else None
    return float(stats.ttest_1samp(values, 0.0).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (Holm 1979): the family's error rate stays below the level at which these are read."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    factor = len(p) - np.arange(len(p))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factor))
    return [float(value) for value in adjusted]
