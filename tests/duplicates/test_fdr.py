"""Decoys: shares counted by hand, a known tail, precision and threshold on known mixtures."""

from __future__ import annotations

import numpy as np
import pytest

from nearkin.duplicates.fdr import Decoys, best_of_images, lowest, power, precision

RNG = np.random.default_rng(0)


def test_counted_shares() -> None:
    decoys = Decoys(np.array([-np.inf, 0.0, 1.0, 2.0]), 1.0)
    assert decoys.share(np.array([1.0, 9.0])).tolist() == pytest.approx([2.5 / 5, 0.5 / 5])
    assert Decoys(decoys.odds, 0.5).share(np.array(1.0)) == pytest.approx(np.sqrt(2.5 / 5))


@pytest.mark.parametrize("name", ["exponential", "normal"])
def test_the_smooth_tail_reaches_beyond_the_decoys(name: str) -> None:
    draw = getattr(RNG, name if name == "exponential" else "normal")
    small, large = Decoys(draw(size=5000), 1.0, smooth=True), draw(size=2_000_000)
    for share in (3e-3, 3e-4, 5e-5):
        at = float(np.quantile(large, 1 - share))
        assert share / 3 < small.share(np.array(at)) < share * 3
    at = np.sort(small.odds)[-40]
    assert small.share(at) >= 40 / 5000 - 1e-12


def test_power_recovers_a_lehmann_alternative() -> None:
    decoys = RNG.exponential(size=40_000)
    harder = decoys / 0.7  # P(x / 0.7 > t) = P(x > t) ** 0.7
    assert power(harder, decoys) == pytest.approx(0.7, abs=0.05)
    assert power(decoys, decoys) == pytest.approx(1, abs=0.02)
    assert power(decoys - 5, decoys) == 1 and power(decoys[:0], decoys) == 1 and power(decoys, decoys[:5]) == 1


def test_precision_counts_images_by_their_best_pair() -> None:
    asked = np.array([[0, 1], [0, 2], [3, 4]])
    np.testing.assert_array_equal(best_of_images(np.array([1.0, 3.0, -np.inf]), asked), [3, 1, 3, -np.inf, -np.inf])
    best = np.concatenate([np.full(90, 9.0), np.full(10, -9.0)])
    decoys = Decoys(np.repeat([-9.0, 9.0], [98, 1]), 1.0)
    assert precision(best, decoys, 300, np.array(5.0)) == pytest.approx(1 - 300 * 1.5 / 100 / 90)
    assert np.isnan(precision(best, decoys, 300, np.array(99.0)))


def test_the_threshold_keeps_its_promise() -> None:
    """Known truth: 100,000 chance pairs, 1,000 duplicates; the real precision is what was asked for."""
    chance, true = RNG.normal(size=100_000), RNG.normal(5, 1, size=1000)
    best = np.concatenate([chance, true])
    at, reached = lowest(best, Decoys(RNG.normal(size=20_000), 1.0, smooth=True), 101_000, 0.95, cut=8.0)
    assert reached
    right, wrong = (true >= at).sum(), (chance >= at).sum()
    assert right / (right + wrong) > 0.9 and right > 900
    assert lowest(chance, Decoys(RNG.normal(size=20_000), 1.0, smooth=True), 100_000, 0.95, cut=3.0) == (3.0, False)
