"""HDBSCAN: planted clusters and planted noise, degenerate input."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from nearkin.clusters.hdbscan import default_size, hdbscan
from nearkin.errors import ConfigError


def planted(d: int, noise: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(4), [90, 80, 70, 60])
    Z = np.concatenate([10 * np.eye(4, d)[y] + 0.3 * rng.normal(size=(300, d)), rng.uniform(-40, 40, (noise, d))])
    return Z.astype(np.float32), np.concatenate([y, np.full(noise, -1)])


@pytest.mark.parametrize("d", [6, 120])
def test_planted_clusters_and_noise(d: int) -> None:
    Z, y = planted(d)
    found = hdbscan(Z)
    assert adjusted_rand_score(y[:300], found[:300]) > 0.98
    assert found.max() == 3 and np.bincount(found[found >= 0]).tolist() == sorted(
        np.bincount(found[found >= 0]), reverse=True
    )
    assert (found[300:] == -1).mean() > 0.9 and (found[:300] == -1).mean() < 0.05


def test_seeded() -> None:
    Z = planted(120)[0]
    assert np.array_equal(hdbscan(Z, seed=1), hdbscan(Z, seed=1))


def test_no_clusters_is_no_error() -> None:
    Z = np.random.default_rng(0).normal(size=(200, 20)).astype(np.float32)
    found = hdbscan(Z, min_size=60)
    assert found.shape == (200,) and found.max() <= 1


@pytest.mark.parametrize("n", [2, 3, 6])
def test_tiny(n: int) -> None:
    assert hdbscan(np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)).shape == (n,)


def test_smallest_size_out_of_range() -> None:
    Z = planted(6)[0]
    for size in (0, 1, 341):
        with pytest.raises(ConfigError, match="between 2 and 340"):
            hdbscan(Z, min_size=size)
    with pytest.raises(ConfigError, match="min_samples is 0"):
        hdbscan(Z, min_samples=0)


def test_default_size() -> None:
    assert default_size(10) == 5 and default_size(10_000) == 50
