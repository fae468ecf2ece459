"""Clusters: planted ones recovered by every algorithm, matching against brute force, noise counted."""

from __future__ import annotations

import json
from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from nearkin.clusters.clusters import Clustering, cluster, judge, kmeans_scores, matched_accuracy
from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, DataError
from nearkin.fileio import to_json

RNG = np.random.default_rng(0)


def planted(k: int = 4, each: int = 40, labelled: bool = True) -> Embeddings:
    y = np.repeat(np.arange(k), each)
    n = len(y)
    Z = (8 * np.eye(k, 6)[y] + np.random.default_rng(1).normal(size=(n, 6))).astype(np.float32)
    classes = tuple("abcdef"[:k])
    return Embeddings(
        Z, np.arange(n).astype(str), y if labelled else None, np.full(n, "test"), classes if labelled else ()
    )


def test_planted_clusters() -> None:
    part = planted()
    found = kmeans_scores(part.Z, part.labels, k=4)
    assert found.nmi == pytest.approx(1) and found.ari == pytest.approx(1) and found.accuracy == 1
    assert found.silhouette is not None and found.silhouette > 0.5
    unlabelled = kmeans_scores(part.Z, None, k=4)
    assert unlabelled.nmi is None and unlabelled.silhouette == pytest.approx(found.silhouette)


def test_matching_is_the_best_permutation() -> None:
    a, y = RNG.integers(0, 4, 60), RNG.integers(0, 4, 60)
    best = max((np.array(p)[a] == y).mean() for p in permutations(range(4)))
    assert matched_accuracy(a, y) == pytest.approx(best)


@pytest.mark.parametrize(("clusters", "classes"), [(5, 3), (3, 5)])
def test_matching_with_other_scores_of_clusters(clusters: int, classes: int) -> None:
    a, y = RNG.integers(0, clusters, 80), RNG.integers(0, classes, 80)
    size = max(clusters, classes)
    best = max((np.array(p)[a] == y).mean() for p in permutations(range(size)))
    assert matched_accuracy(a, y) == pytest.approx(best)


def test_noise_is_wrong() -> None:
    assert matched_accuracy(np.array([0, 0, 1, -1]), np.array([1, 1, 0, 0])) == 0.75
    assert matched_accuracy(np.full(4, -1), np.array([1, 1, 0, 0])) == 0


def test_a_collapsed_embedding_is_no_crash() -> None:
    found = kmeans_scores(np.ones((30, 3), dtype=np.float32), np.arange(30) % 3, k=3)
    assert found.silhouette is None


@pytest.mark.parametrize(
    "settings",
    [{"n_clusters": 4}, {"n_clusters": "auto"}, {"algorithm": "hdbscan"}, {"n_clusters": 4, "metric": "cosine"}],
)
def test_every_algorithm_finds_planted_clusters(settings: dict[str, object]) -> None:
    part = planted()
    found = cluster(part, **settings)  # type: ignore[arg-type]
    assert found.scores.k == 4 and found.scores.ari is not None and found.scores.ari > 0.97
    assert found.purity is not None and found.purity > 0.99 and found.noise < 0.03
    assert {item.majority for item in found.clusters} == set("abcd")
    assert (found.chosen is not None) == (settings.get("n_clusters") == "auto")
    said = json.loads(json.dumps(to_json(found), allow_nan=False))
    assert said["k"] == 4 and len(said["clusters"]) == 4 and "assigned" not in said


def test_purity_and_noise_by_counting() -> None:
    part = planted()
    mixed = Embeddings(part.Z, part.ids, RNG.integers(-1, 3, 160), part.split, ("a", "b", "c"))
    found = cluster(mixed, algorithm="hdbscan", min_cluster_size=30)
    some = (found.assigned >= 0) & (mixed.labels >= 0)  # type: ignore[operator]
    right = 0
    for c in range(found.scores.k):
        right += np.bincount(mixed.labels[some & (found.assigned == c)]).max()  # type: ignore[index]
    assert found.purity == pytest.approx(right / some.sum())
    assert found.noise == pytest.approx((found.assigned < 0).mean())


def test_silhouette_leaves_noise_out() -> None:
    part = planted()
    assigned = np.where(np.arange(160) % 10 == 0, -1, part.labels)  # type: ignore[arg-type]
    some = assigned >= 0
    found = judge(part.Z, assigned, part.labels, k=4)
    assert found.silhouette == pytest.approx(silhouette_score(part.Z[some], assigned[some]), abs=1e-5)
    assert found.accuracy == pytest.approx(0.9)


def test_all_noise_has_no_clusters_and_no_crash() -> None:
    Z = np.random.default_rng(0).normal(size=(60, 30)).astype(np.float32)
    part = Embeddings(Z, np.arange(60).astype(str), np.arange(60) % 2, np.full(60, "test"), ("a", "b"))
    found: Clustering = cluster(part, algorithm="hdbscan", min_cluster_size=25)
    assert found.scores.k == 0 and found.noise == 1 and found.clusters == () and found.scores.silhouette is None
    assert found.purity is None and found.scores.accuracy == 0
    json.dumps(to_json(found), allow_nan=False)


def test_refusals() -> None:
    part = planted(labelled=False)
    with pytest.raises(ConfigError, match="Did you mean 'kmeans'"):
        cluster(part, algorithm="kmean")
    with pytest.raises(ConfigError, match="or 'auto'"):
        cluster(part, n_clusters="many")
    with pytest.raises(ConfigError, match="k is 161; with 160 images"):
        cluster(part, n_clusters=161)
    same = Embeddings(np.ones((9, 3), dtype=np.float32), np.arange(9).astype(str), None, np.full(9, "test"))
    for algorithm in ("kmeans", "hdbscan"):
        with pytest.raises(DataError, match="are the same"):
            cluster(same, algorithm=algorithm, n_clusters=2)
