"""One-class and held-out classes from one search, against the same done class by class."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from nearkin.anomalies.one_class import (
    KNN_SCORES,
    class_distances,
    class_neighbors,
    held_out_scores,
    one_class_scores,
    per_class,
)
from nearkin.anomalies.scores import score_sets
from nearkin.errors import ConfigError, DataError
from nearkin.search.exact import knn, merged

CLASSES = ("a", "b", "c")


def near_classes(
    train: NDArray[np.float32], labels: NDArray[np.int64], test: NDArray[np.float32], score: str = "knn-norm"
) -> NDArray[np.float32]:
    return class_distances(class_neighbors(train, labels, test, 3, score=score), score=score)


def blobs(n: int, seed: int, gap: float = 3.0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    centres = np.eye(3, 8) * gap + 1
    return (centres[labels] + rng.normal(size=(n, 8))).astype(np.float32), labels


@pytest.mark.parametrize("score", ["knn2", "knn-norm"])
def test_tables_equal_scoring_each_class_anew(score: str) -> None:
    (train, a), (test, b) = blobs(240, 0), blobs(90, 1)
    near = near_classes(train, a, test, score)
    one, rest = one_class_scores(near, score=score), held_out_scores(near, score=score)
    for c in range(3):
        own = score_sets(train[a == c], {"t": test}, [score])[score]["t"]
        others = score_sets(train[a != c], {"t": test}, [score])[score]["t"]
        np.testing.assert_allclose(one[c], own, rtol=1e-3)
        np.testing.assert_allclose(rest[c], others, rtol=1e-3)
    found = per_class(one, b, CLASSES, "one-class")
    for c in range(3):
        assert found.aurocs[c].value == pytest.approx(roc_auc_score(b != c, one[c]))
    held = per_class(rest, b, CLASSES, "held-out")
    for c in range(3):
        assert held.aurocs[c].value == pytest.approx(roc_auc_score(b == c, rest[c]))
    assert found.mean == pytest.approx(np.mean([item.value for item in found.aurocs]))


@pytest.mark.parametrize(("score", "metric"), [("knn2", "l2"), ("knn-norm", "cosine")])
def test_lists_of_classes_merge_into_the_lists_of_all(score: str, metric: str) -> None:
    (train, a), (test, _) = blobs(240, 0), blobs(90, 1)
    k = KNN_SCORES[score][1]
    whole = knn(test, train, k, metric=metric)
    found = merged(class_neighbors(train, a, test, 3, score=score), k)
    np.testing.assert_allclose(found.distances, whole.distances, atol=1e-4)
    np.testing.assert_array_equal(found.indices, whole.indices)


def test_separate_blobs_are_found_and_mixed_ones_are_not() -> None:
    for gap, low, high in ((8.0, 0.99, 1.0), (0.0, 0.3, 0.7)):
        (train, a), (test, b) = blobs(240, 0, gap), blobs(90, 1, gap)
        near = near_classes(train, a, test, "knn2")
        for kind, scores in (("one-class", one_class_scores), ("held-out", held_out_scores)):
            assert low <= per_class(scores(near, score="knn2"), b, CLASSES, kind).mean <= high


def test_a_class_smaller_than_k_uses_all_it_has() -> None:
    (train, a), (test, b) = blobs(60, 0), blobs(30, 1)  # 20 per class, k = 50
    near = near_classes(train, a, test)
    one, rest = one_class_scores(near), held_out_scores(near)
    assert np.isfinite(one).all() and np.isfinite(rest).all()
    unit = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in (test, train[a != 1])]
    all_pairs = np.sort(np.linalg.norm(unit[0][:, None] - unit[1][None], axis=2))
    np.testing.assert_allclose(rest[1], all_pairs[:, -1], rtol=1e-3)  # 40 in the rest, fewer than 50
    json.dumps(per_class(one, b, CLASSES, "one-class").to_dict(), allow_nan=False)


def test_unlabelled_rows_are_left_out() -> None:
    (train, a), (test, b) = blobs(120, 0), blobs(60, 1)
    near = near_classes(train, a, test, "knn2")
    b[:6] = -1
    scores = one_class_scores(near, score="knn2")
    assert per_class(scores, b, CLASSES, "one-class").aurocs[0].value == pytest.approx(
        roc_auc_score(b[6:] != 0, scores[0][6:])
    )


def test_bad_input() -> None:
    (train, a), (test, b) = blobs(60, 0), blobs(30, 1)
    with pytest.raises(ConfigError, match="unknown score 'lof'"):
        class_neighbors(train, a, test, 3, score="lof")
    with pytest.raises(DataError, match="class 3 has no training images"):
        class_neighbors(train, a, test, 4)
    near = near_classes(train, a, test, "knn2")
    with pytest.raises(DataError, match="class 'c' has no test images"):
        per_class(one_class_scores(near, score="knn2"), np.where(b == 2, 0, b), CLASSES, "one-class")
    with pytest.raises(ConfigError, match="unknown kind"):
        per_class(near[:, :, 0].astype(float), b, CLASSES, "both")
