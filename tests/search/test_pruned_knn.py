"""A short list with a guarantee: what it calls certain is what brute force in float64 finds, whatever the vectors."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from nearkin.search import pruned_knn as shortlist
from nearkin.search.exact import Index, knn
from nearkin.search.pruned_knn import Plan, Shortlist, principal_axes

Vectors = NDArray[np.float32]


def cloud(n: int, seed: int, decay: float = 1.0, d: int = 120) -> Vectors:
    """Gaussian with the i-th standard deviation i^-decay."""
    scales = np.arange(1, d + 1) ** -decay
    return (np.random.default_rng(seed).normal(size=(n, d)) * scales).astype(np.float32)


def brute(queries: Vectors, base: Vectors, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    apart = np.square(queries[:, None].astype(np.float64) - base[None]).sum(axis=2)
    order = np.argsort(apart, axis=1)[:, :k]
    return order, np.take_along_axis(apart, order, axis=1)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Short lists for small tasks, too; collects how many queries were certain."""
    certain: list[int] = []
    search = Shortlist.search

    def counted(self: Shortlist, queries: Vectors, k: int, plan: Plan) -> object:
        found = search(self, queries, k, plan)
        certain.append(int(found[2].sum()))
        return found

    for cost in ("LEAST_WORK", "_LISTING", "_FETCHING"):
        monkeypatch.setattr(shortlist, cost, 0)
    monkeypatch.setattr(Shortlist, "search", counted)
    return certain


@pytest.mark.parametrize("foreign", ["alike", "far away", "white"])
@pytest.mark.parametrize("length", [12, 40, 900])
def test_certain_means_exact(foreign: str, length: int) -> None:
    base = cloud(900, 0)
    queries = {"alike": cloud(200, 1), "far away": cloud(200, 1) + 9, "white": cloud(200, 1, decay=0)}[foreign]
    squared, rows, certain = Shortlist(base).search(queries.astype(np.float32), 6, Plan(32, length))
    expected, apart = brute(queries, base, 6)
    np.testing.assert_array_equal(rows[certain], expected[certain])
    np.testing.assert_allclose(squared[certain], apart[certain], rtol=1e-4, atol=1e-6)
    if length == 900:
        assert certain.all()
    elif foreign == "alike":
        assert certain.mean() > 0.5
    elif foreign == "white":  # a short list of 12 cannot be enough where the rest is most of a vector
        assert certain.mean() < 0.5


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("decay", [1.5, 1.0])
def test_knn_by_short_lists_is_the_plain_one(metric: str, decay: float, eager: list[int]) -> None:
    base, queries = cloud(2000, 0, decay) + 0.1, cloud(1500, 1, decay) + 0.1
    found = knn(queries, base, 5, metric=metric)
    assert eager and 0 < eager[0] <= 1500
    if metric == "cosine":
        queries, base = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (queries, base))
    expected, apart = brute(queries[:200], base, 5)
    assert np.mean(found.indices[:200] == expected) > 0.999  # ties within rounding may change places
    true = apart / 2 if metric == "cosine" else np.sqrt(apart)
    np.testing.assert_allclose(found.distances[:200], true, atol=1e-4)


def test_own_rows_and_parts(eager: list[int]) -> None:
    base = cloud(1600, 0, 1.5)
    near = knn(base, base, 4, metric="l2", exclude_self=True)
    assert eager and (near.indices != np.arange(1600)[:, None]).all()
    expected, _ = brute(base[:100], base, 5)
    np.testing.assert_array_equal(near.indices[:100], expected[:, 1:])
    rows = np.arange(0, 1600, 2)
    found = Index(base, metric="l2").take(rows).search(cloud(1200, 3, 1.5), 4)
    expected, _ = brute(cloud(1200, 3, 1.5)[:100], base[rows], 4)
    np.testing.assert_array_equal(found.indices[:100], expected)


def test_white_vectors_are_searched_plainly(eager: list[int]) -> None:
    base, queries = cloud(1500, 0, decay=0), cloud(1200, 1, decay=0)
    found = knn(queries, base, 5, metric="l2")
    assert not eager
    np.testing.assert_array_equal(found.indices[:50], brute(queries[:50], base, 5)[0])


def test_identical_vectors(eager: list[int]) -> None:
    same = np.full((1500, 120), 3, dtype=np.float32)
    assert (knn(same, same, 5, metric="l2", exclude_self=True).distances == 0).all() and eager


def test_axes_are_orthonormal_also_of_few_directions() -> None:
    for base in (cloud(900, 0), cloud(900, 0) * (np.arange(120) < 3), np.zeros((900, 120))):
        axes = principal_axes(base.astype(np.float32))
        np.testing.assert_allclose(axes.T @ axes, np.eye(axes.shape[1]), atol=1e-5)
