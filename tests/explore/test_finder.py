"""The search of one row agrees with the search of all, and with a plain one."""

from __future__ import annotations

import numpy as np
import pytest

from nearkin.errors import DataError
from nearkin.explore.finder import Finder, all_neighbours


def test_rows_agree_with_dense_cosines_and_with_all_at_once() -> None:
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(5000, 7)).astype(np.float32)  # more than one chunk
    unit = Z.astype(np.float64) / np.linalg.norm(Z, axis=1, keepdims=True)
    near, far = all_neighbours(Z[:300], 5, 3)
    small = Finder(Z[:300])
    for row in (0, 17, 299):
        found = small.of_row(row, 5, 3)
        assert found.near.tolist() == near.indices[row].tolist() and found.far.tolist() == far.indices[row].tolist()
    found = Finder(Z).of_row(4321, 6, 4)
    distance = 1 - unit @ unit[4321]
    order = np.argsort(distance)
    assert found.near.tolist() == order[1:7].tolist() and found.far.tolist() == order[::-1][:4].tolist()
    np.testing.assert_allclose(found.near_distance, distance[found.near], atol=1e-6)


def test_a_row_drops_itself_but_not_its_duplicate() -> None:
    Z = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    found = Finder(Z).of_row(1, 9, 9)
    assert found.near.tolist() == [0, 2] and found.near_distance[0] == 0


def test_nearly_collapsed_vectors_are_still_told_apart() -> None:
    steps = np.arange(50, dtype=np.float32)[:, None] * 1e-4
    Z = np.concatenate([np.ones((50, 1), dtype=np.float32), steps], axis=1)
    assert Finder(Z).of_row(25, 2, 1).near.tolist() in ([24, 26], [26, 24])


def test_a_new_vector_finds_its_own_row_and_a_wrong_one_is_refused() -> None:
    Z = np.eye(4, dtype=np.float32)
    assert Finder(Z).of_vector(Z[2] * 3, 1, 0).near.tolist() == [2]
    for z in (np.ones(3), np.full(4, np.nan)):
        with pytest.raises(DataError, match="cannot be compared"):
            Finder(Z).of_vector(z.astype(np.float32), 1, 1)
