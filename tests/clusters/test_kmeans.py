"""k-means: planted numbers of clusters found, scikit-learn's silhouette, degenerate input refused in words."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score

from nearkin.clusters.kmeans import by_size, checked, choose_k, kmeans
from nearkin.errors import ConfigError, DataError
from nearkin.fileio import to_json


def planted(k: int, each: int = 40, d: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(k), each)
    return (8 * np.eye(k, d)[y] + rng.normal(size=(k * each, d))).astype(np.float32), y


@pytest.mark.parametrize("k", [2, 5, 9])
def test_planted_number_of_clusters_is_chosen(k: int) -> None:
    Z, y = planted(k)
    found = choose_k(Z, grid=(2, 3, 4, 5, 6, 7, 8, 9, 10, 12))
    assert found.k == k and found.n == len(Z)
    assert adjusted_rand_score(y, kmeans(Z, found.k)) == pytest.approx(1)


def test_silhouettes_are_scikit_learns() -> None:
    Z, _ = planted(4)
    found = choose_k(Z, grid=(3, 4), seed=7)
    for k in (3, 4):
        theirs = silhouette_score(Z, KMeans(k, n_init=4, random_state=7).fit_predict(Z))
        assert found.silhouettes[k] == pytest.approx(theirs, abs=1e-4)


def test_a_far_offset_changes_nothing() -> None:
    Z, y = planted(3)
    assert choose_k(Z + np.float32(1000)).k == 3


def test_chosen_k_is_json() -> None:
    said = json.loads(json.dumps(to_json(choose_k(planted(3)[0], grid=(2, 3)))))
    assert said["k"] == 3 and set(said["silhouettes"]) == {"2", "3"}


def test_seeded() -> None:
    Z = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
    assert np.array_equal(kmeans(Z, 5, seed=3), kmeans(Z, 5, seed=3))


def test_numbers_go_by_size_and_noise_stays() -> None:
    assert by_size(np.array([7, 7, 2, 2, 2, -1, 5])).tolist() == [1, 1, 0, 0, 0, -1, 2]
    assert by_size(np.array([-1, -1])).tolist() == [-1, -1]


@pytest.mark.parametrize("k", [-1, 0, 1, 31])
def test_k_out_of_range(k: int) -> None:
    with pytest.raises(ConfigError, match="must be between 2 and 30"):
        kmeans(planted(3, each=10)[0], k)


def test_k_as_large_as_n() -> None:
    Z = np.arange(12, dtype=np.float32).reshape(6, 2)
    assert sorted(kmeans(Z, 6)) == list(range(6))


def test_few_distinct_rows_give_fewer_clusters_and_no_warning() -> None:
    Z = np.repeat(np.eye(2, dtype=np.float32), 10, axis=0)
    assert set(kmeans(Z, 5)) == {0, 1}
    assert choose_k(Z, grid=(2, 3, 5)).k == 2


def test_too_few_to_choose() -> None:
    with pytest.raises(ConfigError, match="cannot be chosen among 2"):
        choose_k(np.eye(2, dtype=np.float32))


def test_bad_vectors() -> None:
    Z = planted(3)[0]
    with pytest.raises(DataError, match="are the same"):
        checked(np.full((20, 3), 4.2, dtype=np.float32), "l2")
    with pytest.raises(DataError, match="are the same"):
        checked(np.zeros((20, 3), dtype=np.float32), "l2")
    with pytest.raises(DataError, match="at least 2 images"):
        checked(Z[:1], "l2")
    with pytest.raises(ConfigError, match="Did you mean 'cosine'"):
        checked(Z, "cosin")
    broken = Z.copy()
    broken[4, 1] = np.nan
    with pytest.raises(DataError, match="first in row 4"):
        checked(broken, "l2")
    zero = Z.copy()
    zero[[3, 9]] = 0
    with pytest.raises(DataError, match="2 of 120 vectors are all 0, first in row 3"):
        checked(zero, "cosine")
    assert checked(zero, "l2") is zero


def test_cosine_means_unit_rows() -> None:
    Z = planted(3)[0]
    assert np.linalg.norm(checked(Z, "cosine"), axis=1) == pytest.approx(1, abs=1e-5)
    # Directions the same, lengths not: nothing to cluster.
    with pytest.raises(DataError, match="are the same"):
        checked(np.outer(np.arange(1, 9), [3.0, 4.0]).astype(np.float32), "cosine")
