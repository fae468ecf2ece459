"""Candidates: against brute force, unordered pairs once, identical images, small sets."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import pairwise_distances

from nearkin.duplicates.candidates import digests, distances, propose, relative_distances, same_pixels
from nearkin.errors import ConfigError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_within_equals_brute_force(metric: str) -> None:
    Z = RNG.normal(size=(80, 6)).astype(np.float32)
    apart = pairwise_distances(Z.astype(np.float64), metric="cosine" if metric == "cosine" else "euclidean")
    np.fill_diagonal(apart, np.inf)
    order = np.argsort(apart, axis=1)
    candidates = propose(Z, None, 3, metric=metric)
    want = {(min(i, int(j)), max(i, int(j))) for i in range(80) for j in order[i, :3]}
    assert {(int(a), int(b)) for a, b in candidates.near.rows} == want and len(candidates.near) == len(want)
    np.testing.assert_allclose(candidates.near.distance, apart[candidates.near.a, candidates.near.b], atol=2e-3)
    later = {(min(i, int(j)), max(i, int(j))) for i in range(80) for j in order[i, 3:6]} - want
    assert {(int(a), int(b)) for a, b in candidates.beyond.rows} == later
    assert candidates.typical == pytest.approx(np.median(np.sort(apart, axis=1)[:, 5]), abs=2e-3)


def test_across_keeps_directions_and_ranks() -> None:
    Q, B = (RNG.normal(size=(n, 4)).astype(np.float32) for n in (7, 50))
    candidates = propose(Q, B, 2, metric="l2")
    order = np.argsort(pairwise_distances(Q, B), axis=1)
    np.testing.assert_array_equal(candidates.near.b.reshape(7, 2), order[:, :2])
    np.testing.assert_array_equal(candidates.beyond.b.reshape(7, 2), order[:, 2:4])
    np.testing.assert_array_equal(candidates.beyond.distance, candidates.near.distance)  # distances of the nearer ranks


def test_small_sets_and_bad_k() -> None:
    Z = RNG.normal(size=(3, 4)).astype(np.float32)
    assert propose(Z, None, 5).k == 2 and len(propose(Z, None, 5).near) == 3 and len(propose(Z, None, 5).beyond) == 0
    assert len(propose(Z[:1], None, 5).near) == 0 and len(propose(Z[:0], Z, 5).near) == 0
    with pytest.raises(ConfigError, match="k is 0"):
        propose(Z, None, 0)


def test_relative_distance_of_collapsed_vectors_is_neutral() -> None:
    assert (relative_distances(np.zeros((2, 2), np.float32), np.zeros((2, 1), np.float32), 0.0) == 1).all()
    # In a group of many duplicates the last neighbour is near, too: half the typical distance counts instead.
    near = relative_distances(np.array([[0.1]], np.float32), np.array([[0.1]], np.float32), 2.0)
    assert near[0, 0] == pytest.approx(0.1)


def test_pair_distances_equal_scikit_learn() -> None:
    a, b = (RNG.normal(size=(9, 5)).astype(np.float32) for _ in range(2))
    np.testing.assert_allclose(distances(a, b, "cosine"), np.diag(pairwise_distances(a, b, metric="cosine")), atol=1e-5)
    np.testing.assert_allclose(distances(a, b, "l2"), np.diag(pairwise_distances(a, b)), atol=1e-5)


def test_identical_images_are_found_once_each() -> None:
    images = RNG.integers(0, 255, (6, 3, 8, 8)).astype(np.uint8)
    images[3], images[5] = images[1], images[1]
    own = digests(images)
    assert same_pixels(own, None).tolist() == [[1, 3], [1, 5]]
    assert same_pixels(own, digests(images[[0, 3, 3]])).tolist() == [[0, 0], [1, 1], [3, 1], [5, 1]]
    assert same_pixels(own, own[:0]).shape == (0, 2)
