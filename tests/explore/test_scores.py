"""Scores on request: planted structure is found."""

from __future__ import annotations

import numpy as np
import pytest

from nearkin.errors import DataError
from nearkin.explore.scores import compute
from tests.explore.test_maps import blobs, space


def test_planted_outlier_hub_and_groups() -> None:
    Z = blobs(60)
    Z[7] += 100
    anomaly = compute("anomaly", space(Z), print)
    assert int(anomaly.values.argmax()) == 7
    hubs = compute("hubness", space(Z), print)
    assert hubs.values.sum() == 600
    clusters = compute("cluster", space(blobs(60)), print)
    assert set(clusters.values[::2]).isdisjoint(set(clusters.values[1::2])) and clusters.groups[0] == "cluster 0"


def test_a_collapsed_embedding_has_no_clusters() -> None:
    with pytest.raises(DataError, match="the same"):
        compute("cluster", space(np.ones((20, 3))), print)
    with pytest.raises(DataError, match="too few"):
        compute("hubness", space(np.ones((2, 3))), print)
