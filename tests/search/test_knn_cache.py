"""Lists kept in a folder: the same as a fresh search, found once, and never those of other vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearkin.errors import ConfigError
from nearkin.search import knn_cache as remembered
from nearkin.search.exact import Neighbors, knn
from nearkin.search.knn_cache import KnnCache


@pytest.fixture()
def searches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The k of every search that was really made."""
    made: list[int] = []

    def counted(*args: Any, **more: Any) -> Neighbors:
        made.append(args[2])
        return knn(*args, **more)

    monkeypatch.setattr(remembered, "knn", counted)
    return made


def cloud(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 6)).astype(np.float32)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_lists_are_those_of_a_fresh_search(tmp_path: Path, searches: list[int], metric: str) -> None:
    queries, base = cloud(20), cloud(300, 1)
    find = KnnCache(tmp_path)
    for k in (7, 3, 20):
        found, fresh = find(queries, base, k, metric=metric), knn(queries, base, k, metric=metric)
        np.testing.assert_array_equal(found.indices, fresh.indices)
        np.testing.assert_allclose(found.distances, fresh.distances, atol=1e-4)
    assert len(searches) == 1
    KnnCache(tmp_path)(queries.copy(), base.copy(), 5, metric=metric)  # another process, the same vectors
    assert len(searches) == 1


def test_what_a_list_was_made_of_decides(tmp_path: Path, searches: list[int]) -> None:
    Z, find = cloud(50), KnnCache(tmp_path)
    find(Z, Z, 5, exclude_self=True)
    changed = Z.copy()
    changed[3] += 1
    for queries, base, more in ((Z, Z, {}), (changed, changed, {"exclude_self": True}), (Z, Z, {"metric": "l2"})):
        before = len(searches)
        found, fresh = find(queries, base, 5, **more), knn(queries, base, 5, **more)
        np.testing.assert_array_equal(found.indices, fresh.indices)
        assert len(searches) == before + 1


def test_longer_lists_than_usual_are_found_and_kept(tmp_path: Path, searches: list[int]) -> None:
    Z, find = cloud(60), KnnCache(tmp_path)
    find(Z, Z, 2, metric="l2")
    assert find(Z, Z, 40, metric="l2").indices.shape == (60, 40)
    find(Z, Z, 40, metric="l2")
    assert searches == [20, 40]


def test_a_damaged_file_is_made_anew(tmp_path: Path, searches: list[int]) -> None:
    Z, find = cloud(30), KnnCache(tmp_path)
    fresh = find(Z, Z, 4, exclude_self=True)
    (file,) = tmp_path.iterdir()
    for content in (file.read_bytes()[:200], b"", b"no archive"):
        file.write_bytes(content)
        np.testing.assert_array_equal(find(Z, Z, 4, exclude_self=True).indices, fresh.indices)
    np.savez(file, distances=np.zeros((30, 29), np.float32), indices=np.full((30, 29), 99, np.int32))
    np.testing.assert_array_equal(find(Z, Z, 4, exclude_self=True).indices, fresh.indices)
    assert len(searches) == 5


def test_searches_with_own_rows_are_passed_on(tmp_path: Path) -> None:
    Z = cloud(30)
    own = np.arange(30)
    found = KnnCache(tmp_path)(Z, Z, 4, own=own)
    np.testing.assert_array_equal(found.indices, knn(Z, Z, 4, own=own).indices)
    assert not list(tmp_path.iterdir())


def test_errors_are_those_of_the_search(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="k is 9"):
        KnnCache(tmp_path)(cloud(5), cloud(8), 9)
    with pytest.raises(ConfigError, match="unknown metric"):
        KnnCache(tmp_path)(cloud(5), cloud(8), 2, metric="dot")
