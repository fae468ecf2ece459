"""Overlap of top lists, and whose outliers these are."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from nearkin.anomalies.outlier_overlap import (
    ListKey,
    OutlierOverlap,
    TopOverlap,
    outlier_overlap,
    top_overlap,
    top_rows,
)
from nearkin.errors import DataError
from nearkin.fileio import to_json


def test_overlap_of_top_lists() -> None:
    scores = np.array([3.0, 9, 1, 9, 5])
    assert top_rows(scores, 3).tolist() == [1, 3, 4]
    found = top_overlap({"a": np.array([1, 2, 3]), "b": np.array([2, 3, 4]), "c": np.array([7, 8, 9])}, 100)
    np.testing.assert_allclose(found.matrix, [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]])
    assert found.mean == pytest.approx(0.5 / 3) and json.dumps(to_json(found))
    assert top_overlap({"a": np.array([1])}, 5).mean is None
    with pytest.raises(DataError):
        top_overlap({}, 5)


def test_chance_overlap_is_what_random_lists_have() -> None:
    rng = np.random.default_rng(0)
    lists = {str(i): rng.permutation(200)[:50] for i in range(40)}
    found = top_overlap(lists, 200)
    assert found.mean == pytest.approx(found.chance, rel=0.05)


def test_outliers_belong_to_what_shares_them() -> None:
    keys = [("m", 0, "s"), ("m", 1, "s"), ("n", 0, "s"), ("m", 0, "t")]
    matrix = np.eye(4)
    for i, j, value in ((0, 1, 0.8), (0, 2, 0.6), (1, 2, 0.1), (0, 3, 0.4), (1, 3, 0.1), (2, 3, 0.1)):
        matrix[i, j] = matrix[j, i] = value

    def told(keys: list[ListKey], matrix: NDArray[np.float64]) -> OutlierOverlap:
        return outlier_overlap(keys, TopOverlap((), matrix, None, 0.01))

    found = told(keys, matrix)
    assert {name: (item.mean, item.pairs) for name, item in found.between.items()} == {
        "methods": (0.6, 1), "seeds": (0.8, 1), "scores": (0.4, 1),
    }  # fmt: skip
    assert "to the set more than to the model" in found.statement
    matrix[0, 2] = matrix[2, 0] = 0.1
    assert "to the method more than to the set" in told(keys, matrix).statement
    matrix[0, 1] = matrix[1, 0] = 0.3
    assert "to the run before the set" in told(keys, matrix).statement
    assert "One seed" not in found.statement
    alone = told(keys[::2], np.eye(2))
    assert "With one seed" in alone.statement and alone.between["seeds"].mean is None
