"""Against definitions written out, and under the null: p values must not be small too often."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from nearkin.evaluate.paired import bootstrap_difference, holm, mcnemar, paired_t


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
