"""Training images that foreign ones resemble: planted ones are found."""

from __future__ import annotations

import json

import numpy as np

from nearkin.anomalies.resembled import asked_rows, resembled
from nearkin.search.exact import knn


def test_planted_lookalikes_take_all_places() -> None:
    rng = np.random.default_rng(0)
    train = rng.normal(size=(500, 8)).astype(np.float32)
    direction = np.ones(8) * 3
    train[40:45] = direction + rng.normal(0, 0.1, (5, 8))
    outside = (direction + rng.normal(0, 0.1, (60, 8))).astype(np.float32)
    found = resembled(knn(outside, train, 5).indices, len(train))
    assert set(found.rows) == {40, 41, 42, 43, 44} and found.counts == (60,) * 5
    assert found.distinct == 5 and found.top_share == 1 and found.n == 60
    assert json.loads(json.dumps(found.to_dict()))["rows"] == list(found.rows)


def test_images_of_the_same_kind_have_many() -> None:
    Z = np.random.default_rng(0).normal(size=(5000, 8)).astype(np.float32)
    rows = asked_rows(2500)
    assert len(np.unique(rows)) == 2000 and rows.max() < 2500
    found = resembled(knn(Z[2500:][rows], Z[:2500], 10).indices, 2500)
    assert found.n == 2000 and found.distinct > 2000 and found.top_share < 0.2 and len(found.rows) == 7
