"""Groups: a chain is one component but falls apart under complete linkage; against scipy on all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from nearkin.duplicates.grouping import Groups, components, group


def by_distance(x: np.ndarray) -> object:
    return lambda rows: 1 - np.abs(x[rows[:, 0]] - x[rows[:, 1]])


def test_a_chain() -> None:
    x = np.array([0.0, 0.1, 0.2, 0.3, 5.0, 9.0, 9.05])
    pairs = np.array([[0, 1], [1, 2], [2, 3], [5, 6]])
    found = group(7, pairs[:, 0], pairs[:, 1], by_distance(x), 0.85)
    assert found.component.tolist() == [0, 0, 0, 0, -1, 1, 1]
    complete = found.complete.tolist()
    assert complete[4] == -1 and complete[5] == complete[6] >= 0
    assert sorted(np.bincount(found.complete[:4]).tolist(), reverse=True)[:2] == [2, 2]
    assert found.to_dict() == {
        "connected_components": {"groups": 2, "images": 6, "largest": 4},
        "complete_linkage": {"groups": 3, "images": 6, "largest": 2},
        "components_too_large_to_split": 0,
    }


def test_equals_complete_linkage_of_all_pairs() -> None:
    x = np.random.default_rng(0).uniform(0, 3, 60)
    apart = np.abs(x[:, None] - x)
    a, b = np.nonzero(np.triu(apart <= 0.1, 1))
    found = group(60, a, b, by_distance(x), 0.9)
    want = fcluster(linkage(squareform(apart), method="complete"), 0.1, criterion="distance")
    for i in range(60):
        for j in range(i):
            together = found.complete[i] == found.complete[j] >= 0
            assert together == (want[i] == want[j]), (i, j)
            if together:
                assert apart[i, j] <= 0.1 and found.component[i] == found.component[j]


def test_large_components_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nearkin.duplicates.grouping.LARGEST", 5)
    x = np.arange(8) / 10
    asked: list[int] = []

    def similarity(rows: np.ndarray) -> np.ndarray:
        asked.append(len(rows))
        return 1 - np.abs(x[rows[:, 0]] - x[rows[:, 1]])

    found = group(8, np.arange(7), np.arange(1, 8), similarity, 0.85)
    assert found.not_split == 1 and (found.complete == 0).all() and not asked


def test_nothing_to_group() -> None:
    none = np.zeros(0, dtype=np.int64)
    assert components(4, none, none).tolist() == [-1] * 4
    found: Groups = group(4, none, none, by_distance(np.zeros(4)), 0.5)
    assert found.to_dict()["complete_linkage"] == {"groups": 0, "images": 0, "largest": 0}
    assert (group(0, none, none, by_distance(np.zeros(0)), 0.5).component == np.zeros(0)).all()
