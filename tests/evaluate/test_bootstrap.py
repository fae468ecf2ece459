"""The bootstrap: its spread is the standard error of theory, same seed draws the same images."""

from __future__ import annotations

import numpy as np
import pytest

from nearkin.evaluate.bootstrap import percentiles, resampled_sums


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
