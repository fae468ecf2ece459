"""What explains a figure: spread along the components of the in-distribution set, look-alikes, digits and strokes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nearkin.anomalies.diagnostics import (
    Spread,
    moments,
    principal_axes,
    query_rows,
    resembled,
)
from nearkin.anomalies.diagnostics import spread as compared
from nearkin.errors import DataError
from nearkin.fileio import to_json
from nearkin.search.exact import knn

SCALES = np.array([5, 3, 1, 0.5, 0.1])


def cloud(n: int, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(n, 5)) * SCALES + 2).astype(np.float32)


def spread(inside: np.ndarray, outside: np.ndarray) -> Spread:
    return compared(principal_axes(moments(inside)), moments(outside))


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
    json.dumps(to_json(found), allow_nan=False)
    with pytest.raises(DataError, match="same width"):
        spread(same, same[:, :2])
    with pytest.raises(DataError, match="at least 2"):
        spread(same, same[:1])


def test_planted_lookalikes_take_all_places() -> None:
    rng = np.random.default_rng(0)
    train = rng.normal(size=(500, 8)).astype(np.float32)
    direction = np.ones(8) * 3
    train[40:45] = direction + rng.normal(0, 0.1, (5, 8))
    outside = (direction + rng.normal(0, 0.1, (60, 8))).astype(np.float32)
    ids = np.array([f"i{k}" for k in range(500)])
    found = resembled(knn(outside, train, 5).indices, ids)
    assert set(found.rows) == {40, 41, 42, 43, 44} and found.counts == (60,) * 5
    assert found.distinct == 5 and found.top_share == 1 and found.n == 60
    assert json.loads(json.dumps(to_json(found)))["rows"] == list(found.rows)
    assert found.ids == tuple(f"i{k}" for k in found.rows)


def test_images_of_the_same_kind_have_many() -> None:
    Z = np.random.default_rng(0).normal(size=(5000, 8)).astype(np.float32)
    rows = query_rows(2500)
    assert len(np.unique(rows)) == 2000 and rows.max() < 2500
    found = resembled(knn(Z[2500:][rows], Z[:2500], 10).indices, np.arange(2500).astype(str))
    assert found.n == 2000 and found.distinct > 2000 and found.top_share < 0.2 and len(found.rows) == 7
