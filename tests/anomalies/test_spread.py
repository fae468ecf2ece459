"""Variance of one set along the principal components of another; overlap of top lists."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nearkin.anomalies.overlap import overlap, top_rows
from nearkin.anomalies.spread import Spread, moments, reference
from nearkin.anomalies.spread import spread as compared
from nearkin.errors import DataError

SCALES = np.array([5, 3, 1, 0.5, 0.1])


def cloud(n: int, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(n, 5)) * SCALES + 2).astype(np.float32)


def spread(inside: np.ndarray, outside: np.ndarray) -> Spread:
    return compared(reference(moments(inside)), moments(outside))


def test_the_same_distribution_has_ratio_one() -> None:
    found = spread(cloud(4000, 0), cloud(4000, 1))
    assert found.variance_ratio == pytest.approx(1, rel=0.06)
    np.testing.assert_allclose(found.per_component, 1, rtol=0.12)
    assert found.mean_shift == pytest.approx(0, abs=0.05) and found.outside is not None and found.outside < 0.06
    assert found.effective_rank_in == pytest.approx((SCALES**2).sum() ** 2 / (SCALES**4).sum(), rel=0.1)


def test_a_collapsed_set_and_a_shifted_one() -> None:
    inside = cloud(2000, 0)
    point = np.tile(inside.mean(axis=0), (50, 1)) + np.float32(7)
    found = spread(inside, point)
    assert found.norm_ratio is not None and found.norm_ratio > 1.5
    assert found.variance_ratio == 0 and found.effective_rank_out is None and found.outside is None
    assert found.mean_shift == pytest.approx(7 * np.sqrt(5) / np.sqrt((SCALES**2).sum()), rel=0.05)
    shrunk = spread(inside, inside * np.float32(0.1))
    assert shrunk.variance_ratio == pytest.approx(0.01, rel=1e-3) and shrunk.norm_ratio == pytest.approx(0.1)


def test_variance_off_the_components_is_seen() -> None:
    rng = np.random.default_rng(0)
    inside, out = np.zeros((500, 6), np.float32), np.zeros((500, 6), np.float32)
    inside[:, 0], out[:, 5] = rng.normal(size=500), rng.normal(size=500)
    found = spread(inside, out)
    assert found.outside == pytest.approx(1) and found.per_component == pytest.approx((0,), abs=1e-9)
    assert found.variance_ratio == pytest.approx(1, rel=0.2)


def test_constant_sets_divide_by_nothing() -> None:
    same = np.full((20, 4), 1e6, dtype=np.float32)
    found = spread(same, same)
    assert found.variance_ratio is None and found.per_component == () and found.norm_ratio == 1
    json.dumps(found.to_dict(), allow_nan=False)
    with pytest.raises(DataError, match="same width"):
        spread(same, same[:, :2])
    with pytest.raises(DataError, match="at least 2"):
        spread(same, same[:1])


def test_overlap_of_top_lists() -> None:
    scores = np.array([3.0, 9, 1, 9, 5])
    assert top_rows(scores, 3).tolist() == [1, 3, 4]
    found = overlap({"a": np.array([1, 2, 3]), "b": np.array([2, 3, 4]), "c": np.array([7, 8, 9])}, 100)
    np.testing.assert_allclose(found.matrix, [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]])
    assert found.mean == pytest.approx(0.5 / 3) and json.dumps(found.to_dict())
    assert overlap({"a": np.array([1])}, 5).mean is None
    with pytest.raises(DataError):
        overlap({}, 5)


def test_chance_overlap_is_what_random_lists_have() -> None:
    rng = np.random.default_rng(0)
    lists = {str(i): rng.permutation(200)[:50] for i in range(40)}
    found = overlap(lists, 200)
    assert found.mean == pytest.approx(found.chance, rel=0.05)
