"""The statistics of the project: intervals, paired tests, the bootstrap, rank correlation and AUROC."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nearkin.errors import DataError
from nearkin.fileio import named

Interval = tuple[float, float]

# How an interval was made, as results state it.
WILSON = "Wilson 95% over images"
STUDENT = "t 95% over seeds"
BOOTSTRAP = "95% percentile bootstrap over images"
DELONG = "DeLong 95% over images"
EXACT = "exact 95% bound over disjoint pairs (DeLong's variance is 0 at 0 and 1)"

RESAMPLES = 1000  # of the bootstrap over images
_FEWEST = 20  # fewer usable resamples give no interval
_CHUNK = 50
_RANK_RESAMPLES = 2000  # of a rank correlation's interval


# Intervals of a proportion and of a mean


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927). n >= 1.

    Not scipy's ``proportion_ci``: it differs in the last digit from the figures already published, and it refuses
    counts that are not Python integers.
    """
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def t_interval(values: Sequence[float], confidence: float = 0.95) -> Interval | None:
    """Student's t interval of the mean of independent runs; None below 2 values."""
    if len(values) < 2:
        return None
    mean = float(np.mean(values))
    half = float(stats.t.ppf(0.5 + confidence / 2, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))
    return mean - half, mean + half


# Is a difference real? Tests of paired results, and the correction for asking many questions at once


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


def mcnemar(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """McNemar's exact test (McNemar 1947, with the binomial distribution): two-sided p that two classifiers err alike.

    Args:
        a, b: bool (N,), whether each classifier is right about each of the same N images.
    """
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b, 0.5).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (Holm 1979): the family's error rate stays below the level at which these are read."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    factor = len(p) - np.arange(len(p))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factor))
    return [float(value) for value in adjusted]


LEVEL = 0.05  # a difference is called real where its p value is below this


@dataclass(frozen=True)
class PairedDifference:
    """b minus a, over pairs of runs that share a seed: the one rule by which reports and comparisons call methods different.

    Attributes:
        mean: of the differences. interval: 95 %, t over the pairs. p: two-sided, of the paired t test. Both None below two
            pairs, and where every pair differs by the same: without a spread there is nothing to judge by.
    """

    mean: float
    interval: Interval | None
    p: float | None

    @property
    def real(self) -> bool:
        """Whether it is more than chance, this difference taken by itself."""
        return self.p is not None and self.p < LEVEL


def paired_difference(a: Sequence[float], b: Sequence[float]) -> PairedDifference:
    """b minus a, both (n,), n >= 1, pair by pair."""
    differences = [y - x for x, y in zip(a, b, strict=True)]
    p = paired_t(differences)
    return PairedDifference(float(np.mean(differences)), None if p is None else t_interval(differences), p)


def shared_seeds(a: Iterable[int], b: Iterable[int], *, a_seeded: bool = True, b_seeded: bool = True) -> list[int]:
    """The seeds that two methods can be paired over, ascending.

    Where a method's result does not depend on the seed (``a_seeded``, ``b_seeded``), its run stands for every seed.
    """
    if a_seeded and b_seeded:
        return sorted(set(a) & set(b))
    return sorted(b if b_seeded else a)


# The percentile bootstrap over images (Efron and Tibshirani 1993), paired where two embeddings are compared


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


def bootstrap_difference(a: NDArray[np.bool_], b: NDArray[np.bool_], *, seed: int = 0) -> Interval:
    """95 % percentile bootstrap of mean(a) - mean(b) over the same N images, both bool (N,)."""
    difference = a.astype(np.float64) - b.astype(np.float64)
    interval = percentiles(resampled_sums(difference[:, None], seed=seed)[:, 0] / len(a))
    assert interval is not None  # sums of finite numbers
    return interval


# Rank correlation


def spearman(a: NDArray[Any], b: NDArray[Any]) -> float | None:
    """Spearman's rank correlation of a and b, both (N,), in [-1, 1]; None where one of them does not vary."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(stats.spearmanr(a, b).statistic)


def spearman_interval(x: NDArray[np.float64], y: NDArray[np.float64], seed: int = 0) -> Interval:
    """95 % percentile interval of :func:`spearman` by resampling pairs, x and y (n,); NaN where no resample varies."""
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(_RANK_RESAMPLES):
        pick = rng.integers(0, len(x), len(x))
        if (rho := spearman(x[pick], y[pick])) is not None:
            draws.append(rho)
    if not draws:
        return math.nan, math.nan
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


# AUROC


@dataclass(frozen=True)
class Auroc:
    """Area under the ROC curve.

    Attributes:
        value: chance that an out image scores above an in image, ties count half; in [0, 1].
        interval: 95 % interval over images, for this one embedding. interval_kind: how it was made.
        n_in, n_out: images.
    """

    value: float = field(metadata=named("AUROC"))
    interval: Interval
    interval_kind: str
    n_in: int
    n_out: int


def check_scores(inside: NDArray[np.float64], outside: NDArray[np.float64]) -> None:
    """Raise DataError unless both are non-empty (n,) without NaN or infinity."""
    for name, values in (("in-distribution", inside), ("out-of-distribution", outside)):
        if values.ndim != 1 or len(values) == 0:
            raise DataError(f"{name} scores have shape {values.shape}; at least one score (n,) is needed.")
        if not np.isfinite(values).all():
            raise DataError(f"{name} scores hold values that are not finite.")


def auroc(inside: NDArray[np.float64], outside: NDArray[np.float64], *, confidence: float = 0.95) -> Auroc:
    """AUROC of anomaly scores, higher = more anomalous, out = positive.

    DeLong et al. 1988 with the ranks of Sun and Xu 2014 (O(n log n)), clipped to [0, 1]. An AUROC of exactly 0 or 1 has an
    estimated variance of 0, which would claim certainty; there the interval is Clopper and Pearson's for min(n_in, n_out)
    disjoint pairs, all of them in the same order (conservative).

    Args:
        inside: float64 (n_in,). outside: float64 (n_out,).
    Raises:
        DataError: an empty set, or scores that are not finite.
    """
    check_scores(inside, outside)
    n, m = len(inside), len(outside)
    ranks = stats.rankdata(np.concatenate([inside, outside]))
    # Share of the other set below each score, ties half: DeLong's placement values.
    of_out = (ranks[n:] - stats.rankdata(outside)) / n
    of_in = 1 - (ranks[:n] - stats.rankdata(inside)) / m
    value = float(of_out.mean())
    if value in (0.0, 1.0):
        bound = float(((1 - confidence) / 2) ** (1 / min(n, m)))
        interval, kind = ((bound, 1.0) if value == 1 else (0.0, 1 - bound)), EXACT
    else:
        variance = (of_out.var(ddof=1) / m if m > 1 else 0.25) + (of_in.var(ddof=1) / n if n > 1 else 0.25)
        half = float(stats.norm.ppf(0.5 + confidence / 2) * np.sqrt(variance))
        interval, kind = (max(0.0, value - half), min(1.0, value + half)), DELONG
    return Auroc(value, interval, kind, n, m)
