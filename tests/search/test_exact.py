"""Exact neighbours against brute force in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nearkin.errors import ConfigError, DataError
from nearkin.search.exact import Index, Neighbors, farthest, knn, unit_rows

RNG = np.random.default_rng(0)


def brute(q: np.ndarray, b: np.ndarray, metric: str) -> np.ndarray:
    q, b = q.astype(np.float64), b.astype(np.float64)
    if metric == "cosine":
        q, b = q / np.linalg.norm(q, axis=1, keepdims=True), b / np.linalg.norm(b, axis=1, keepdims=True)
        return 1 - q @ b.T
    return np.sqrt(np.square(q[:, None] - b[None]).sum(axis=2))


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_against_brute_force(metric: str) -> None:
    b, q = RNG.normal(size=(300, 20)).astype(np.float32), RNG.normal(size=(50, 20)).astype(np.float32)
    expected = brute(q, b, metric)
    found = knn(q, b, 7, metric=metric)
    assert np.array_equal(found.indices, np.argsort(expected, axis=1)[:, :7])
    assert np.allclose(found.distances, np.sort(expected, axis=1)[:, :7], atol=1e-4)
    first = found.first(3)
    assert np.array_equal(first.indices, found.indices[:, :3])


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_without_self(metric: str) -> None:
    b = RNG.normal(size=(100, 8)).astype(np.float32)
    expected = brute(b, b, metric)
    np.fill_diagonal(expected, np.inf)
    found = knn(b, b, 5, metric=metric, exclude_self=True)
    assert np.array_equal(found.indices, np.argsort(expected, axis=1)[:, :5])


def test_duplicates_stay_when_self_goes() -> None:
    b = np.repeat(RNG.normal(size=(5, 4)).astype(np.float32), 4, axis=0)
    found = knn(b, b, 3, exclude_self=True)
    assert (found.indices != np.arange(20)[:, None]).all()
    assert (found.indices // 4 == (np.arange(20) // 4)[:, None]).all()


def test_a_tiny_cloud_far_from_zero_keeps_its_order() -> None:
    cloud = 100 + 1e-3 * RNG.normal(size=(200, 6))
    b = cloud.astype(np.float32)
    expected = brute(b, b, "l2")
    np.fill_diagonal(expected, np.inf)
    found = knn(b, b, 1, metric="l2", exclude_self=True)
    assert (found.indices[:, 0] == expected.argmin(axis=1)).mean() > 0.97


def test_zero_row_is_far_from_all_others_in_cosine() -> None:
    b = np.concatenate([np.zeros((1, 4)), np.eye(4), -np.eye(4)]).astype(np.float32)
    found = knn(b, b, 8, exclude_self=True)
    assert np.allclose(found.distances[0], 1, atol=1e-5)


def test_unit_rows_of_extreme_size() -> None:
    z = np.array([[3e30, 4e30], [3e-30, 4e-30], [0, 0]], dtype=np.float32)
    assert np.allclose(unit_rows(z), [[0.6, 0.8], [0.6, 0.8], [0, 0]], atol=1e-6)


def test_bad_arguments() -> None:
    b = RNG.normal(size=(10, 3)).astype(np.float32)
    with pytest.raises(ConfigError, match="between 1 and 9"):
        knn(b, b, 10, exclude_self=True)
    with pytest.raises(ConfigError, match="Did you mean 'cosine'"):
        knn(b, b, 1, metric="cosin")
    with pytest.raises(DataError, match="not finite"):
        knn(b, np.full_like(b, np.nan), 1)
    with pytest.raises(DataError, match="must be"):
        knn(b, b[:, :2], 1)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_farthest_against_brute_force(metric: str) -> None:
    b, q = RNG.normal(size=(300, 20)).astype(np.float32) + 3, RNG.normal(size=(50, 20)).astype(np.float32)
    expected = brute(q, b, metric)
    found = farthest(q, b, 7, metric=metric)
    assert np.array_equal(found.indices, np.argsort(-expected, axis=1)[:, :7])
    assert np.allclose(found.distances, -np.sort(-expected, axis=1)[:, :7], atol=1e-4)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_all_others_farthest_first_are_all_others_nearest_first_reversed(metric: str) -> None:
    b = RNG.normal(size=(40, 5)).astype(np.float32)
    near, far = (search(b, b, 39, metric=metric, exclude_self=True) for search in (knn, farthest))
    assert np.array_equal(near.indices[:, ::-1], far.indices)
    assert (far.indices != np.arange(40)[:, None]).all()


@pytest.mark.parametrize("search", [knn, farthest])
def test_own_rows_are_dropped_and_only_those(search: Callable[..., Neighbors]) -> None:
    b = RNG.normal(size=(30, 6)).astype(np.float32)
    own = np.array([4, -1, 9])
    all_rows = search(b[[4, 4, 9]], b, 30)
    found = search(b[[4, 4, 9]], b, 29, own=own)
    for j, row in enumerate(own):
        assert found.indices[j].tolist() == [i for i in all_rows.indices[j] if i != row][:29]


def test_farthest_of_identical_vectors_and_of_a_tiny_cloud() -> None:
    same = np.full((20, 4), 3, dtype=np.float32)
    assert (farthest(same, same, 5, metric="l2", exclude_self=True).distances == 0).all()
    b = (100 + 1e-3 * RNG.normal(size=(200, 6))).astype(np.float32)
    expected = brute(b, b, "l2")
    found = farthest(b, b, 1, metric="l2", exclude_self=True)
    assert (found.indices[:, 0] == expected.argmax(axis=1)).mean() > 0.97


def test_one_image_has_no_neighbour() -> None:
    one = np.ones((1, 3), dtype=np.float32)
    for search in (knn, farthest):
        with pytest.raises(DataError, match="too few"):
            search(one, one, 1, exclude_self=True)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_an_index_of_some_rows_is_that_of_these_rows(metric: str) -> None:
    b, q = RNG.normal(size=(80, 9)).astype(np.float32) + 1, RNG.normal(size=(20, 9)).astype(np.float32)
    rows = np.flatnonzero(RNG.random(80) < 0.5)
    part = Index(b, metric=metric).take(rows)
    for search in ("search", "farthest"):
        found = getattr(part, search)(q, 5)
        expected = getattr(Index(b[rows], metric=metric), search)(q, 5)
        assert len(part) == len(rows) and np.array_equal(found.indices, expected.indices)
        assert np.allclose(found.distances, expected.distances, atol=1e-5)


def test_no_vectors_have_no_index() -> None:
    with pytest.raises(DataError, match="too few"):
        Index(np.zeros((0, 3), dtype=np.float32))


def test_a_tiny_cloud_far_away_in_float64() -> None:
    """Rounded to float32 before it is centred, it would have no distances left."""
    Z = 1e4 + 1e-3 * np.random.default_rng(0).normal(size=(50, 4))
    d = np.linalg.norm(Z[:, None] - Z[None], axis=2)
    found = knn(Z.copy(), Z, 3, metric="l2")  # type: ignore[arg-type]
    assert np.array_equal(found.indices[:, 0], np.arange(50))
    assert np.array_equal(found.indices, np.argsort(d, axis=1)[:, :3])
