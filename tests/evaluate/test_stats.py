"""Intervals against scipy and by their meaning; tests against definitions written out; the bootstrap against theory."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from nearkin.evaluate.stats import (
    bootstrap_difference,
    holm,
    mcnemar,
    paired_t,
    percentiles,
    resampled_sums,
    spearman,
    spearman_interval,
    t_interval,
    wilson,
)


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (7, 10), (7242, 10_000)])
def test_wilson_against_scipy(hits: int, n: int) -> None:
    expected = stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_t_interval_against_scipy() -> None:
    values = [0.71, 0.72, 0.74]
    expected = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert t_interval(values) == pytest.approx(expected)
    assert t_interval([0.7]) is None


def test_t_interval_covers() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(500):
        low, high = t_interval(rng.normal(size=4).tolist()) or (0, 0)
        hits += low < 0 < high
    assert 0.92 < hits / 500 < 0.98


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (9, 2), (6, 6), (30, 12)])
def test_mcnemar_is_the_sum_of_outcomes_no_likelier_than_the_one_seen(only_a: int, only_b: int) -> None:
    a = np.array([True] * only_a + [False] * only_b + [True, False] * 20)
    b = np.array([False] * only_a + [True] * only_b + [True, False] * 20)
    n = only_a + only_b
    chances = [math.comb(n, k) / 2**n for k in range(n + 1)]
    by_hand = sum(c for c in chances if c <= chances[only_a] * (1 + 1e-9))
    assert mcnemar(a, b) == pytest.approx(by_hand) and mcnemar(a, b) == pytest.approx(mcnemar(b, a))


def test_bootstrap_difference_agrees_with_the_normal_interval() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(4000) < 0.7, rng.random(4000) < 0.65
    d = a.astype(float) - b
    half = 1.96 * d.std() / math.sqrt(len(d))
    assert bootstrap_difference(a, b) == pytest.approx((d.mean() - half, d.mean() + half), abs=0.002)


def test_bootstrap_difference_uses_the_pairing() -> None:
    right = np.random.default_rng(0).random(500) < 0.5
    assert bootstrap_difference(right, right) == (0.0, 0.0)


def test_paired_t_is_the_t_distributions() -> None:
    d = np.array([0.02, 0.05, 0.01, 0.04])
    t = d.mean() / (d.std(ddof=1) / 2)
    assert paired_t(d.tolist()) == pytest.approx(2 * stats.t.sf(t, 3))
    assert paired_t([0.1]) is None and paired_t([0.1, 0.1]) is None and paired_t([0.0, 0.0]) == 1.0


def test_holm_is_the_smallest_level_that_rejects() -> None:
    """By the closed testing principle: a hypothesis is rejected when every intersection with it is (Bonferroni)."""
    p = [0.01, 0.04, 0.03, 0.005, 0.2]
    index = range(len(p))
    for i in index:
        sets = [s for r in range(1, len(p) + 1) for s in itertools.combinations(index, r) if i in s]
        closed = max(min(1.0, len(s) * min(p[j] for j in s)) for s in sets)
        assert holm(p)[i] == pytest.approx(closed)
    assert holm([]) == [] and holm([0.6, 0.7]) == [1.0, 1.0]


def test_spread_of_a_mean_is_its_standard_error() -> None:
    x = np.random.default_rng(0).normal(3, 2, 400)
    means = resampled_sums(x[:, None], seed=0, resamples=2000)[:, 0] / 400
    assert means.mean() == pytest.approx(x.mean(), abs=0.02)
    assert means.std() == pytest.approx(x.std() / np.sqrt(400), rel=0.06)
    found = percentiles(means)
    assert found is not None
    low, high = found
    assert high - low == pytest.approx(2 * 1.96 * x.std() / 20, rel=0.08)


def test_columns_are_resampled_together_and_calls_are_paired() -> None:
    x = np.random.default_rng(0).normal(size=(50, 1))
    both = resampled_sums(np.hstack([x, 2 * x]), seed=1, resamples=70)
    assert np.allclose(both[:, 1], 2 * both[:, 0]) and both.shape == (70, 2)
    assert np.allclose(resampled_sums(x, seed=1, resamples=70)[:, 0], both[:, 0])


def test_too_few_finite_numbers_give_no_interval() -> None:
    assert percentiles(np.array([1.0] * 19 + [np.nan] * 50)) is None
    assert percentiles(np.array([1.0] * 20 + [np.nan])) == (1.0, 1.0)


def test_rank_correlation_and_its_bootstrap() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=40)
    y = x + 0.1 * rng.normal(size=40)
    rho, (low, high) = spearman(x, y), spearman_interval(x, y)
    assert rho is not None and rho == pytest.approx(stats.spearmanr(x, y).statistic)
    assert low < rho <= high and low > 0.9
    low, high = spearman_interval(x, rng.normal(size=40))
    assert low < 0 < high
    assert spearman(x, np.zeros(40)) is None and spearman(x[:1], x[:1]) is None
