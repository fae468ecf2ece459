"""Clusters: planted ones recovered, matching against brute force."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from nearkin.analyze.clusters import cluster, matched_accuracy

RNG = np.random.default_rng(0)


def test_planted_clusters() -> None:
    y = np.repeat(np.arange(4), 40)
    Z = (8 * np.eye(4)[y] + RNG.normal(size=(160, 4))).astype(np.float32)
    found, assigned = cluster(Z, y, k=4)
    assert found.nmi == pytest.approx(1) and found.ari == pytest.approx(1) and found.accuracy == 1
    assert found.silhouette is not None and found.silhouette > 0.5 and len(assigned) == 160
    unlabelled, _ = cluster(Z, None, k=4)
    assert unlabelled.nmi is None and unlabelled.silhouette == pytest.approx(found.silhouette)


def test_matching_is_the_best_permutation() -> None:
    a, y = RNG.integers(0, 4, 60), RNG.integers(0, 4, 60)
    best = max((np.array(p)[a] == y).mean() for p in permutations(range(4)))
    assert matched_accuracy(a, y) == pytest.approx(best)


def test_a_collapsed_embedding_is_no_crash() -> None:
    found, _ = cluster(np.ones((30, 3), dtype=np.float32), np.arange(30) % 3, k=3)
    assert found.silhouette is None
