"""AUROC, AUPR, FPR@95 against scikit-learn, brute force and simulation; classes as anomalies against each scored anew."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import auc, average_precision_score, roc_auc_score

from nearkin.anomalies.detectors import SCORES, score_sets
from nearkin.anomalies.ood_metrics import (
    ClassScores,
    ExtremeScore,
    class_aurocs,
    class_neighbors,
    class_scores,
    ood_metrics,
    thin,
)
from nearkin.errors import ConfigError, DataError
from nearkin.evaluate.stats import DELONG, EXACT, auroc
from nearkin.fileio import to_json
from nearkin.search.exact import knn, merged

CLASSES = ("a", "b", "c")


def scores(n: int, m: int, gap: float = 1.0, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return np.round(rng.normal(size=n), 1), np.round(rng.normal(gap, 1.3, m), 1)  # rounded: with ties


def test_figures_equal_scikit_learn_and_brute_force() -> None:
    inside, outside = scores(400, 150)
    found = ood_metrics(inside, outside)
    y, s = np.repeat([0, 1], [400, 150]), np.concatenate([inside, outside])
    pairs = (outside[:, None] > inside).mean() + 0.5 * (outside[:, None] == inside).mean()
    assert found.auroc.value == pytest.approx(pairs) == pytest.approx(roc_auc_score(y, s))
    assert found.aupr_out == pytest.approx(average_precision_score(y, s))
    assert found.aupr_in == pytest.approx(average_precision_score(1 - y, -s))
    # FPR@95 by definition: the highest threshold that at least 95 % of the OOD images reach.
    threshold = max(t for t in np.unique(s) if (outside >= t).mean() >= 0.95)
    assert found.fpr95 == pytest.approx((inside >= threshold).mean())


def test_delong_interval_equals_the_plain_formula() -> None:
    inside, outside = scores(90, 60)
    wins = (outside[:, None] > inside) + 0.5 * (outside[:, None] == inside)
    variance = wins.mean(axis=1).var(ddof=1) / 60 + wins.mean(axis=0).var(ddof=1) / 90
    found = auroc(inside, outside)
    half = 1.959964 * np.sqrt(variance)
    assert found.interval == pytest.approx((wins.mean() - half, wins.mean() + half)) and found.interval_kind == DELONG


def test_interval_covers_the_truth_about_95_times_in_100() -> None:
    from scipy.stats import norm

    truth = norm.cdf(1 / np.sqrt(2))
    rng = np.random.default_rng(1)
    hits = sum(
        low <= truth <= high
        for low, high in (auroc(rng.normal(size=80), rng.normal(1, 1, 80)).interval for _ in range(500))
    )
    assert 0.92 < hits / 500 < 0.98


def test_perfect_separation_claims_no_certainty() -> None:
    found = auroc(np.arange(100.0), np.arange(200.0, 250.0))
    assert found.value == 1 and found.interval_kind == EXACT
    assert found.interval[0] == pytest.approx(0.025 ** (1 / 50)) and found.interval[1] == 1
    back = auroc(np.arange(200.0, 250.0), np.arange(100.0))
    assert back.value == 0 and back.interval == pytest.approx((0, 1 - 0.025 ** (1 / 50)))


def test_equal_scores_say_nothing() -> None:
    found = ood_metrics(np.zeros(30), np.zeros(20))
    assert found.auroc.value == 0.5 and found.auroc.interval == (0.5, 0.5) and found.fpr95 == 1
    assert found.histogram is not None
    assert found.histogram.inside.sum() == 30 and found.histogram.outside.sum() == 20


def test_curves_are_thin_and_keep_the_area() -> None:
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(size=5000), rng.normal(1, 1.3, 3000)
    found = ood_metrics(inside, outside)
    assert found.roc is not None and found.pr_in is not None and found.pr_out is not None
    for curve in (found.roc, found.pr_in, found.pr_out):
        assert len(curve) <= 103 and curve.min() >= 0 and curve.max() <= 1
    assert auc(*found.roc.T) == pytest.approx(found.auroc.value, abs=2e-3)
    assert auc(*found.pr_out[np.argsort(found.pr_out[:, 0], kind="stable")].T) == pytest.approx(
        found.aupr_out, abs=0.01
    )
    assert found.roc[0].tolist() == [0, 0] and found.roc[-1].tolist() == [1, 1]
    assert len(thin(np.arange(5.0), np.arange(5.0))) == 5


def test_extremes_and_json() -> None:
    inside, outside = np.array([0.0, 5, 1, 2, 3, 1, 1, 1]), np.array([9.0, -3, 4])
    found = ood_metrics(inside, outside)
    first = (ExtremeScore("out", 0, 9.0), ExtremeScore("in", 1, 5.0), ExtremeScore("out", 2, 4.0))
    assert found.most[:3] == first and len(found.most) == 7
    assert found.least[0] == ExtremeScore("out", 1, -3.0)
    ids = np.array([f"a{k}" for k in range(8)]), np.array(["b0", "b1", "b2"])
    assert [image.id for image in ood_metrics(inside, outside, ids=ids).most[:3]] == ["b0", "a1", "b2"]
    out = json.loads(json.dumps(to_json(found), allow_nan=False))
    assert {"AUROC", "AUPR_IN", "AUPR_OUT", "FPR@95", "interval", "roc", "histogram", "most"} <= set(out)
    assert sum(out["histogram"]["in"]) == 8 and "roc" not in to_json(ood_metrics(inside, outside, curves=False))


def test_one_image_each_and_bad_scores() -> None:
    assert ood_metrics(np.zeros(1), np.ones(1)).auroc.interval == pytest.approx((0.025, 1.0))
    mixed = auroc(np.array([0.0]), np.array([0.0, 1.0]))
    assert 0 <= mixed.interval[0] <= mixed.value <= mixed.interval[1] <= 1
    with pytest.raises(DataError, match="out-of-distribution scores have shape"):
        ood_metrics(np.zeros(3), np.zeros(0))
    with pytest.raises(DataError, match="not finite"):
        ood_metrics(np.array([np.nan]), np.zeros(2))


def near_classes(
    train: NDArray[np.float32], labels: NDArray[np.int64], test: NDArray[np.float32], score: str = "knn-norm"
) -> ClassScores:
    return class_scores(class_neighbors(train, labels, test, 3, score=score), score=score)


def blobs(n: int, seed: int, gap: float = 3.0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    centres = np.eye(3, 8) * gap + 1
    return (centres[labels] + rng.normal(size=(n, 8))).astype(np.float32), labels


@pytest.mark.parametrize("score", ["knn2", "knn-norm"])
def test_tables_equal_scoring_each_class_anew(score: str) -> None:
    (train, a), (test, b) = blobs(240, 0), blobs(90, 1)
    near = near_classes(train, a, test, score)
    one, rest = near.one_class, near.held_out
    for c in range(3):
        own = score_sets(train[a == c], {"t": test}, [score])[score]["t"]
        others = score_sets(train[a != c], {"t": test}, [score])[score]["t"]
        np.testing.assert_allclose(one[c], own, rtol=1e-3)
        np.testing.assert_allclose(rest[c], others, rtol=1e-3)
    found = class_aurocs(one, b, CLASSES, "one-class")
    for c in range(3):
        assert found.classes[c].auroc.value == pytest.approx(roc_auc_score(b != c, one[c]))
    held = class_aurocs(rest, b, CLASSES, "held-out")
    for c in range(3):
        assert held.classes[c].auroc.value == pytest.approx(roc_auc_score(b == c, rest[c]))
    assert found.mean == pytest.approx(np.mean([item.auroc.value for item in found.classes]))


@pytest.mark.parametrize(("score", "metric"), [("knn2", "l2"), ("knn-norm", "cosine")])
def test_lists_of_classes_merge_into_the_lists_of_all(score: str, metric: str) -> None:
    (train, a), (test, _) = blobs(240, 0), blobs(90, 1)
    k = SCORES[score].k
    whole = knn(test, train, k, metric=metric)
    found = merged(class_neighbors(train, a, test, 3, score=score), k)
    np.testing.assert_allclose(found.distances, whole.distances, atol=1e-4)
    np.testing.assert_array_equal(found.indices, whole.indices)


def test_separate_blobs_are_found_and_mixed_ones_are_not() -> None:
    for gap, low, high in ((8.0, 0.99, 1.0), (0.0, 0.3, 0.7)):
        (train, a), (test, b) = blobs(240, 0, gap), blobs(90, 1, gap)
        near = near_classes(train, a, test, "knn2")
        for kind, values in (("one-class", near.one_class), ("held-out", near.held_out)):
            assert low <= class_aurocs(values, b, CLASSES, kind).mean <= high


def test_a_class_smaller_than_k_uses_all_it_has() -> None:
    (train, a), (test, b) = blobs(60, 0), blobs(30, 1)  # 20 per class, k = 50
    near = near_classes(train, a, test)
    one, rest = near.one_class, near.held_out
    assert np.isfinite(one).all() and np.isfinite(rest).all()
    unit = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in (test, train[a != 1])]
    all_pairs = np.sort(np.linalg.norm(unit[0][:, None] - unit[1][None], axis=2))
    np.testing.assert_allclose(rest[1], all_pairs[:, -1], rtol=1e-3)  # 40 in the rest, fewer than 50
    json.dumps(to_json(class_aurocs(one, b, CLASSES, "one-class")), allow_nan=False)


def test_unlabelled_rows_are_left_out() -> None:
    (train, a), (test, b) = blobs(120, 0), blobs(60, 1)
    near = near_classes(train, a, test, "knn2")
    b[:6] = -1
    scores = near.one_class
    assert class_aurocs(scores, b, CLASSES, "one-class").classes[0].auroc.value == pytest.approx(
        roc_auc_score(b[6:] != 0, scores[0][6:])
    )


def test_bad_classes() -> None:
    (train, a), (test, b) = blobs(60, 0), blobs(30, 1)
    with pytest.raises(ConfigError, match="unknown score 'lof'"):
        class_neighbors(train, a, test, 3, score="lof")
    with pytest.raises(DataError, match="class 3 has no training images"):
        class_neighbors(train, a, test, 4)
    near = near_classes(train, a, test, "knn2")
    with pytest.raises(DataError, match="class 'c' has no test images"):
        class_aurocs(near.one_class, np.where(b == 2, 0, b), CLASSES, "one-class")
    with pytest.raises(ConfigError, match="unknown kind"):
        class_aurocs(near.one_class, b, CLASSES, "both")
