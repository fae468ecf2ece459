"""Label-free numbers against their papers' formulas and planted cases."""

from __future__ import annotations

import numpy as np
import pytest

from nearkin.evaluate.health import UNIFORMITY_IMAGES, alignment, health, rankme, uniformity

RNG = np.random.default_rng(0)


def test_rankme_is_the_papers_formula() -> None:
    z = (RNG.normal(size=(300, 20)) @ RNG.normal(size=(20, 20)) + 1).astype(np.float32)
    s = np.linalg.svd(z.astype(np.float64), compute_uv=False)
    p = s / s.sum() + 1e-7
    assert rankme(z) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-5)
    assert health(z).rankme == pytest.approx(rankme(z), rel=1e-6)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_rankme_recovers_a_planted_rank(rank: int) -> None:
    basis = np.linalg.qr(RNG.normal(size=(32, 32)))[0][:rank]
    z = np.linalg.qr(RNG.normal(size=(500, rank)))[0] @ basis
    assert rankme(z.astype(np.float32)) == pytest.approx(rank, rel=0.01)


def test_wide_and_tall_agree_with_numpy() -> None:
    for shape in ((50, 200), (200, 50)):
        z = (RNG.normal(size=shape) + 0.3).astype(np.float32)
        covariance = np.cov(z.astype(np.float64), rowvar=False)
        off = np.square(covariance).sum() - np.square(np.diagonal(covariance)).sum()
        found = health(z)
        assert found.std_mean == pytest.approx(z.std(axis=0).mean(), rel=1e-5)
        assert found.std_min == pytest.approx(z.std(axis=0).min(), rel=1e-5)
        assert found.offdiag_energy == pytest.approx(off / np.square(covariance).sum(), rel=1e-4)


def test_uniformity_is_the_papers_formula() -> None:
    z = RNG.normal(size=(60, 5)).astype(np.float32)
    u = z / np.linalg.norm(z, axis=1, keepdims=True)
    pairs = [np.exp(-2 * np.square(u[i] - u[j]).sum()) for i in range(60) for j in range(i)]
    assert uniformity(z) == pytest.approx(np.log(np.mean(pairs)), rel=1e-4)


def test_uniformity_samples_at_random_from_sorted_sets() -> None:
    z = np.repeat(np.eye(8, dtype=np.float32), UNIFORMITY_IMAGES, axis=0)  # sorted by class: first rows all alike
    assert uniformity(z) < -1


def test_alignment() -> None:
    a = RNG.normal(size=(40, 6)).astype(np.float32)
    assert alignment(a, 5 * a) == pytest.approx(0, abs=1e-6)
    assert alignment(a, -a) == pytest.approx(4, rel=1e-5)


def test_collapse_shows() -> None:
    point = np.full((100, 4), 3.0, dtype=np.float32)
    found = health(point)
    assert found.dead_share == 1 and found.rankme == pytest.approx(1, abs=1e-3) and found.offdiag_energy == 0
    half = np.concatenate([RNG.normal(size=(100, 5)), np.zeros((100, 5))], axis=1).astype(np.float32)
    assert health(half).dead_share == 0.5
    line = np.outer(RNG.normal(size=100), np.ones(10)).astype(np.float32)
    assert health(line).offdiag_energy == pytest.approx(0.9, abs=1e-4)
