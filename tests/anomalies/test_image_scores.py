"""Ranking one embedding: who is compared with whom."""

from __future__ import annotations

import numpy as np
import pytest

from nearkin import anomaly_scores
from nearkin.anomalies.detectors import SCORES, score_sets
from nearkin.anomalies.image_scores import normal_rows, score_rows
from nearkin.anomalies.ood_eval import against, class_tables
from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, DataError


def embeddings(n: int = 120, *, splits: bool = True, labels: bool = True) -> Embeddings:
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(n, 5)).astype(np.float32) + 4
    split = np.where(np.arange(n) % 3 == 0, "test", "train") if splits else np.full(n, "train")
    classes = ("a", "b") if labels else ()
    given = (np.arange(n) // 3 % 2).astype(np.int64) if labels else None
    return Embeddings(Z, np.array([f"i{k}" for k in range(n)]), given, split, classes)


def test_training_rows_leave_themselves_out_and_others_do_not_count() -> None:
    e = embeddings()
    found = score_rows(e)["knn2"]
    gaps = np.linalg.norm(e.Z[:, None].astype(float) - e.Z[None], axis=2)
    gaps[np.arange(120), np.arange(120)] = np.inf
    gaps[:, e.split == "test"] = np.inf
    np.testing.assert_allclose(found, np.sort(gaps, axis=1)[:, :2].mean(axis=1), rtol=1e-3)
    assert not np.allclose(score_rows(e, train_split="all")["knn2"], found)


def test_a_planted_outlier_comes_first() -> None:
    e = embeddings()
    e.Z[[7, 30]] = -20
    for name, values in score_rows(e, scores=("knn2", "mahalanobis", "iforest", "lof"), train_split="all", k=5).items():
        # The two lie on each other, so the nearest neighbour is close; the mean of five is not.
        assert set(np.argsort(-values)[:2].tolist()) == {7, 30}, name


def test_what_counts_as_inside() -> None:
    rows = normal_rows(embeddings(), "train")
    assert rows.inside.sum() == 40 and "test split" in rows.note and rows.unseen
    rows = normal_rows(embeddings(), "test")
    assert rows.inside.sum() == 80 and "outside 'test'" in rows.note and rows.unseen
    rows = normal_rows(embeddings(splits=False), "train")
    assert rows.inside.all() and "without itself" in rows.note and not rows.unseen


@pytest.mark.parametrize("splits", [True, False])
def test_against_foreign_vectors(splits: bool) -> None:
    far = np.random.default_rng(1).normal(size=(30, 5)).astype(np.float32) - 9
    ids = np.array([f"o{k}" for k in range(30)])
    found = against(
        embeddings(splits=splits), {"far": (far, ids), "same": (embeddings().Z[:30] + np.float32(0.01), ids)}
    )
    area = found["far"]["knn2"].auroc
    assert area.value == 1 and area.n_in == (40 if splits else 120)
    assert found["same"]["knn2"].auroc.value < 0.5
    assert all(image.id is not None and image.id.startswith("o") for image in found["far"]["knn2"].most)


def test_class_tables() -> None:
    e = embeddings()
    e.Z[:, 0] += np.where(e.labels == 1, 9, 0)
    found = class_tables(e, scores=("knn2", "lof"))
    assert list(found.near) == ["knn2"] and found.one_class["knn2"].mean > 0.99
    assert list(class_tables(e, scores=("lof",)).near) == ["knn-norm"]


def test_bad_input() -> None:
    with pytest.raises(ConfigError, match="--train-split val: no such rows. Legal: test, train, all"):
        score_rows(embeddings(), train_split="val")
    with pytest.raises(DataError, match="holds 1 image"):
        score_rows(embeddings(1))
    with pytest.raises(ConfigError, match="k is 80; with 80 training vectors it must lie between 1 and 79"):
        score_rows(embeddings(), k=80)
    with pytest.raises(DataError, match="need labels"):
        class_tables(embeddings(labels=False))
    with pytest.raises(DataError, match="rows outside 'train'"):
        class_tables(embeddings(splits=False))


@pytest.mark.parametrize("score", SCORES)
def test_scores_in_one_line_of_embeddings_and_of_arrays(score: str) -> None:
    e = embeddings()
    of_embeddings = anomaly_scores(e, score=score, n_neighbors=5 if SCORES[score].k else None)
    assert of_embeddings.shape == (120,) and of_embeddings.dtype == np.float64
    assert np.array_equal(of_embeddings, score_rows(e, scores=[score], k=5 if SCORES[score].k else None)[score])
    Z = e.Z.astype(np.float64)
    of_array = anomaly_scores(Z, score=score)  # each row against the others
    assert np.array_equal(of_array, score_rows(e, scores=[score], train_split="all")[score])
    new = anomaly_scores(Z[:7] + 1, Z, score=score)  # new rows against training rows
    assert np.array_equal(new, score_sets(e.Z, {"new": e.Z[:7] + np.float32(1)}, [score])[score]["new"])
    assert np.array_equal(new, anomaly_scores(e.Z[:7] + np.float32(1), e, score=score))


def test_anomaly_scores_say_what_is_wrong() -> None:
    Z = embeddings().Z
    with pytest.raises(DataError, match="finite|NaN"):
        anomaly_scores(np.full((5, 3), np.nan))
    with pytest.raises(DataError, match=r"\(N, D\)"):
        anomaly_scores(np.zeros(5))
    with pytest.raises(DataError, match="5 dimensions"):
        anomaly_scores(Z, Z[:, :4])
    with pytest.raises(DataError, match="1 image"):
        anomaly_scores(Z[:1])
    with pytest.raises(DataError, match="at least 2"):
        anomaly_scores(Z, Z[:1])
    with pytest.raises(ConfigError, match="Did you mean 'knn2'"):
        anomaly_scores(Z, score="knn")
    with pytest.raises(ConfigError, match="between 1 and 119"):
        anomaly_scores(Z, n_neighbors=120)
