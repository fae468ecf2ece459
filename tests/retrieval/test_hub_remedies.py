"""Each remedy against a plain transcription of its formula on the whole distance matrix."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nearkin.errors import ConfigError
from nearkin.retrieval.hub_remedies import REMEDIES, distance_moments, rescale
from nearkin.search.exact import Neighbors, knn, unit_rows

N, K_LOCAL = 60, 5
Z = (np.random.default_rng(0).normal(size=(N, 15)) + 1).astype(np.float32)


def matrix(metric: str) -> np.ndarray:
    z = Z.astype(np.float64)
    if metric == "cosine":
        z /= np.linalg.norm(z, axis=1, keepdims=True)
        return 1 - z @ z.T
    return np.sqrt(np.square(z[:, None] - z[None]).sum(axis=2))


def upper_tail(d: float, mean: float, std: float) -> float:
    return 0.5 * math.erfc((d - mean) / (std * math.sqrt(2)))


def transcription(remedy: str, D: np.ndarray, x: int, y: int) -> float:
    def others(i: int) -> np.ndarray:
        return np.delete(D[i], i)

    def near(i: int) -> np.ndarray:
        return np.sort(others(i))[:K_LOCAL]

    d = float(D[x, y])
    if remedy == "mutual-proximity":
        p, q = (upper_tail(d, others(i).mean(), others(i).std()) for i in (x, y))
        return 1 - p * q
    if remedy == "local-scaling":
        return 1 - math.exp(-(d**2) / (near(x)[-1] * near(y)[-1]))
    if remedy == "nicdm":
        return d / math.sqrt(near(x).mean() * near(y).mean())
    # CSLS as published, in cosines; larger is nearer.
    r_x, r_y = (1 - near(x)).mean(), (1 - near(y)).mean()
    return -(2 * (1 - d) - r_x - r_y)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("remedy", REMEDIES)
def test_all_candidates_give_the_whole_matrix(remedy: str, metric: str) -> None:
    D = matrix(metric)
    candidates = knn(Z, Z, N - 1, metric=metric, exclude_self=True)
    found = rescale(candidates, remedy, k_local=K_LOCAL, moments=distance_moments(Z, metric=metric))
    for x in range(N):
        ours = dict(zip(found.indices[x].tolist(), found.distances[x].tolist(), strict=True))
        theirs = {y: transcription(remedy, D, x, y) for y in range(N) if y != x}
        assert ours == pytest.approx(theirs, abs=2e-4)
        assert (np.diff(found.distances[x]) >= 0).all()


@pytest.mark.parametrize("remedy", REMEDIES)
def test_rescaled_distances_are_symmetric(remedy: str) -> None:
    candidates = knn(Z, Z, N - 1, exclude_self=True)
    found = rescale(candidates, remedy, moments=distance_moments(Z))
    D = np.zeros((N, N))
    np.put_along_axis(D, found.indices, found.distances.astype(np.float64), axis=1)
    assert np.allclose(D, D.T, atol=1e-4)


def test_fewer_candidates_are_sorted_among_themselves() -> None:
    candidates = knn(Z, Z, 20, exclude_self=True)
    moments = distance_moments(Z)
    whole = rescale(knn(Z, Z, N - 1, exclude_self=True), "mutual-proximity", moments=moments)
    part = rescale(candidates, "mutual-proximity", moments=moments)
    for x in range(N):
        kept = [y for y in whole.indices[x] if y in candidates.indices[x]]
        assert part.indices[x].tolist() == kept


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_moments_of_a_sample_are_close_to_those_of_all(metric: str) -> None:
    big = np.random.default_rng(1).normal(size=(3000, 20)).astype(np.float32)
    some, every = (distance_moments(big, metric=metric, sample=size) for size in (1000, 3000))
    assert np.abs(some.mean / every.mean - 1).max() < 0.05 and np.abs(some.std / every.std - 1).max() < 0.15
    D = unit_rows(big).astype(np.float64) if metric == "cosine" else big.astype(np.float64)
    d = 1 - D[0] @ D[1:].T if metric == "cosine" else np.linalg.norm(D[1:] - D[0], axis=1)
    assert every.mean[0] == pytest.approx(d.mean(), rel=1e-4) and every.std[0] == pytest.approx(d.std(), rel=1e-3)


@pytest.mark.parametrize("remedy", REMEDIES)
def test_duplicates_divide_by_nothing(remedy: str) -> None:
    same = np.repeat(Z[:3], 6, axis=0)
    found = rescale(knn(same, same, 17, exclude_self=True), remedy, k_local=5, moments=distance_moments(same))
    assert np.isfinite(found.distances).all()
    ones = np.ones((5, 3), dtype=np.float32)
    found = rescale(knn(ones, ones, 4, exclude_self=True), remedy, k_local=2, moments=distance_moments(ones))
    assert np.isfinite(found.distances).all()


def test_errors() -> None:
    candidates = Neighbors(np.zeros((4, 3), dtype=np.float32), np.zeros((4, 3), dtype=np.int64))
    with pytest.raises(ConfigError, match="Did you mean 'nicdm'"):
        rescale(candidates, "nicd")
    with pytest.raises(ConfigError, match="between 1 and 3"):
        rescale(candidates, "csls", k_local=4)
    with pytest.raises(ConfigError, match="moments"):
        rescale(candidates, "mutual-proximity", k_local=2)
    with pytest.raises(ConfigError, match="unknown metric"):
        distance_moments(Z, metric="dot")
