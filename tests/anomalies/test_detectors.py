"""Anomaly scores against brute force, scikit-learn, refitted models and planted outliers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor

from nearkin.anomalies.detectors import (
    OWN,
    SCORES,
    Gaussian,
    Scorer,
    TrainNeighbors,
    fit_gaussian,
    possible_scores,
    score_sets,
)
from nearkin.errors import ConfigError, DataError
from nearkin.search.exact import Index


def cloud(n: int, seed: int = 0, d: int = 6) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, d)) * np.linspace(0.5, 2, d) + 3).astype(np.float32)


def distances(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.linalg.norm(a.astype(np.float64)[:, None] - b.astype(np.float64)[None], axis=2)


def test_knn2_is_the_mean_of_true_distances_and_a_training_row_drops_itself() -> None:
    train, test = cloud(60), cloud(30, 1)
    found = score_sets(train, {"t": test}, ["knn2"], own=True)["knn2"]
    np.testing.assert_allclose(found["t"], np.sort(distances(test, train))[:, :2].mean(axis=1), rtol=1e-4)
    np.testing.assert_allclose(found[OWN], np.sort(distances(train, train))[:, 1:3].mean(axis=1), rtol=1e-4)
    # A test image that happens to be in the training set keeps that neighbour at distance 0.
    again = score_sets(train, {"t": train[:5]}, ["knn2"])["knn2"]["t"]
    np.testing.assert_allclose(again, np.sort(distances(train[:5], train))[:, :2].mean(axis=1), atol=2e-3)
    assert (again < found[OWN][:5]).all()


def test_mean_of_squared_distances_would_rank_differently() -> None:
    train = np.array([[0, 0], [3, 0], [100, 0], [104.1, 0]], dtype=np.float32)
    test = np.array([[0, 2], [101.9, 0.0]], dtype=np.float32)  # distances (2, 3.6) and (1.9, 2.2)
    rooted = score_sets(train, {"t": test}, ["knn2"])["knn2"]["t"]
    near = np.sort(distances(test, train))[:, :2]
    np.testing.assert_allclose(rooted, near.mean(axis=1), rtol=1e-4)
    assert not np.allclose(rooted, np.square(near).mean(axis=1))


def test_normalised_score_is_the_kth_distance_between_unit_vectors() -> None:
    train, test = cloud(80), cloud(20, 1)
    found = score_sets(train, {"t": test}, ["knn-norm"], own=True, k=7)["knn-norm"]
    a, b = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (test, train))
    np.testing.assert_allclose(found["t"], np.sort(distances(a, b))[:, 6], rtol=1e-3)
    np.testing.assert_allclose(found[OWN], np.sort(distances(b, b))[:, 7], rtol=1e-3)
    scaled = score_sets(train, {"t": test * np.float32(50)}, ["knn-norm"], k=7)["knn-norm"]["t"]
    np.testing.assert_allclose(scaled, found["t"], rtol=1e-3)  # length does not count


def test_mahalanobis_is_the_distance_under_the_ledoit_wolf_covariance() -> None:
    from sklearn.covariance import LedoitWolf

    train, test = cloud(200), cloud(50, 1)
    reference = LedoitWolf().fit(train.astype(np.float64))
    found = score_sets(train, {"t": test}, ["mahalanobis"])["mahalanobis"]["t"]
    np.testing.assert_allclose(found, np.sqrt(reference.mahalanobis(test.astype(np.float64))), rtol=1e-5)


def test_a_training_row_is_taken_out_of_mean_and_covariance() -> None:
    train = cloud(30, d=4)
    gaussian = fit_gaussian(train)
    ridge = np.linalg.inv(gaussian.whiten @ gaussian.whiten.T) - (1 - gaussian.shrinkage) * np.cov(train.T, bias=True)
    for i in (0, 11, 29):
        rest = np.delete(train, i, axis=0).astype(np.float64)
        # The shrinkage term is held, at the scale that the formula says.
        s = (1 - gaussian.shrinkage) * np.cov(rest.T, bias=True) + ridge * 30 / 29
        gap = train[i] - rest.mean(axis=0)
        expected = np.sqrt(gap @ np.linalg.solve(s, gap))
        assert gaussian.own_distance(train)[i] == pytest.approx(expected, rel=1e-4)
    assert isinstance(gaussian, Gaussian) and (gaussian.own_distance(train) > gaussian.distance(train)).all()


def test_lof_equals_scikit_learns() -> None:
    train, test = cloud(150), cloud(40, 1)
    reference = LocalOutlierFactor(20, novelty=True).fit(train)
    found = score_sets(train, {"t": test}, ["lof"], own=True)["lof"]
    np.testing.assert_allclose(found["t"], -reference.score_samples(test), rtol=1e-3)
    np.testing.assert_allclose(found[OWN], -reference.negative_outlier_factor_, rtol=1e-3)


def test_scores_together_equal_scores_alone() -> None:
    train, sets = cloud(120), {"a": cloud(30, 1), "b": cloud(20, 2)}
    together = score_sets(train, sets, list(SCORES), own=True)
    for name in SCORES:
        alone = score_sets(train, sets, [name], own=True)[name]
        for where in ("a", "b", OWN):
            np.testing.assert_allclose(together[name][where], alone[where], rtol=1e-4)


@pytest.mark.parametrize("name", SCORES)
def test_planted_outliers_score_highest(name: str) -> None:
    train, test = cloud(300), cloud(100, 1)
    far = cloud(20, 2) * np.array([1, 1, 1, 1, 1, -1], dtype=np.float32) - 6
    found = score_sets(train, {"in": test, "out": far}, [name])[name]
    assert roc_auc_score([0] * 100 + [1] * 20, np.concatenate([found["in"], found["out"]])) > 0.95


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("value", [0.0, 3.7, 1e-20, -2e10])
def test_identical_vectors_have_equal_finite_scores(name: str, value: float) -> None:
    train = np.full((80, 5), value, dtype=np.float32)
    found = score_sets(train, {"t": train[:9], "other": train[:2] + np.float32(max(1.0, abs(value)))}, [name], own=True)
    for values in found[name].values():
        assert np.isfinite(values).all()
    assert np.ptp(found[name]["t"]) == 0 and np.ptp(found[name][OWN]) == 0


@pytest.mark.parametrize("name", ["knn2", "mahalanobis", "lof"])
def test_a_foreign_vector_stands_out_from_identical_ones(name: str) -> None:
    train = np.ones((80, 5), dtype=np.float32)
    found = score_sets(train, {"same": train[:3], "other": np.full((1, 5), 2, dtype=np.float32)}, [name])[name]
    assert found["other"][0] > found["same"].max()


def test_one_large_index_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    train, sets = cloud(60), {"a": cloud(9, seed=1), "b": cloud(8, seed=2)}
    usual = score_sets(train, sets, ["knn2", "knn-norm"], k=3)
    monkeypatch.setattr("nearkin.anomalies.detectors._LARGE", 0)
    neighbors, made = TrainNeighbors(train), []
    monkeypatch.setattr(
        "nearkin.anomalies.detectors.Index", lambda Z, metric: made.append(metric) or Index(Z, metric=metric)
    )
    found = score_sets(train, sets, ["knn2", "knn-norm"], k=3, neighbors=neighbors)
    for name, scores in usual.items():
        for where, values in scores.items():
            assert np.array_equal(values, found[name][where])
    assert made == ["l2", "cosine", "l2"]  # the second set begins with the index that is there


def test_a_name_that_meant_other_vectors_is_searched_again() -> None:
    scorer = Scorer(cloud(40), ["knn2"], k=3)
    a, b = cloud(9, seed=1), cloud(5, seed=2)
    scorer.score("x", a)
    assert np.array_equal(scorer.score("x", b)["knn2"], Scorer(cloud(40), ["knn2"], k=3).score("x", b)["knn2"])


def test_bad_input_to_score_sets() -> None:
    train = cloud(40)
    with pytest.raises(ConfigError, match="Did you mean 'knn-norm'"):
        score_sets(train, {}, ["knn_norm"], own=True)
    with pytest.raises(ConfigError, match="knn-norm: k is 50; with 40 training vectors it must lie between 1 and 39"):
        score_sets(train, {}, ["knn-norm"], own=True)
    with pytest.raises(ConfigError, match="between 1 and 40"):
        score_sets(train, {"t": train}, ["knn2"], k=41)
    with pytest.raises(ConfigError, match="no meaning"):
        score_sets(train, {}, ["mahalanobis"], k=3)
    with pytest.raises(DataError, match="'t' has vectors of 3 dimensions, the training vectors have 6"):
        score_sets(train, {"t": cloud(5, d=3)})
    with pytest.raises(DataError, match="not finite"):
        score_sets(train, {"t": np.full((2, 6), np.inf, dtype=np.float32)})
    with pytest.raises(DataError, match="at least 2"):
        score_sets(train[:1], {"t": train})
    with pytest.raises(ConfigError, match="stands for the training rows"):
        score_sets(train, {"train": train})


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("n", [2, 3, 20, 21, 50, 51])
def test_possible_scores_are_those_that_do_not_fail(n: int, own: bool) -> None:
    train, sets = cloud(n), {"t": cloud(3, 1)}
    names, skipped = possible_scores(n, own)
    assert sorted([*names, *skipped]) == sorted(SCORES)
    score_sets(train, sets, names, own=own)
    for name, reason in skipped.items():
        assert name in reason and str(SCORES[name].k) in reason and f"{n} training vectors" in reason
        with pytest.raises(ConfigError, match="must lie between"):
            score_sets(train, sets, [name], own=own)
