"""Intervals against scipy and by their meaning."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nearkin.evaluate.stats import t_interval, wilson


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
