"""A choice of rows that stays the same for ever, and vectors that say nothing."""

from __future__ import annotations

import numpy as np
import pytest

from nearkin.errors import DataError
from nearkin.vectors import all_equal, check_finite, finite_rows, sample_rows, zero_rows


def test_the_rows_drawn_are_those_of_numpy_s_permutation() -> None:
    want = np.random.default_rng(3).permutation(50)[:8]
    assert sample_rows(50, 8, 3, shuffled=True).tolist() == want.tolist()
    assert sample_rows(50, 8, 3).tolist() == sorted(want.tolist())
    rows = np.arange(100, 200, 2)
    assert sample_rows(rows, 8, 3).tolist() == rows[np.sort(want)].tolist()
    rng = np.random.default_rng([1, 2])
    assert sample_rows(9, 4, rng).tolist() != sample_rows(9, 4, rng).tolist(), "a generator goes on"


def test_all_rows_where_there_are_no_more() -> None:
    assert sample_rows(5, 5).tolist() == sample_rows(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert sample_rows(0, 3).tolist() == []


def test_rows_that_are_not_finite_or_zero() -> None:
    Z = np.array([[1, 2], [np.nan, 0], [0, 0], [np.inf, 1]], dtype=np.float32)
    assert finite_rows(Z).tolist() == [True, False, True, False]
    assert zero_rows(Z).tolist() == [False, False, True, False]
    assert finite_rows(np.ones((10_000, 1))).all() and len(finite_rows(Z[:0])) == 0
    with pytest.raises(DataError, match="^probe: the features hold values that are not finite; the run"):
        check_finite(Z, "probe: the features")


def test_all_equal_exactly_or_up_to_rounding() -> None:
    Z = np.full((4, 3), 100, dtype=np.float32)
    assert all_equal(Z) and all_equal(Z[:0]) and all_equal(np.zeros((3, 2)), 1e-6)
    Z[1, 1] += 1e-5
    assert not all_equal(Z) and all_equal(Z, 1e-6)
    Z[1, 1] += 1
    assert not all_equal(Z, 1e-6)
