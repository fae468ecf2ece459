"""Ranking one embedding: who is compared with whom."""

from __future__ import annotations

import numpy as np
import pytest

from nearkin.anomalies import class_tables, has_unseen, inside_rows
from nearkin.anomalies.image_scores import rank
from nearkin.anomalies.ood_eval import against
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
    found = rank(e)["knn2"]
    gaps = np.linalg.norm(e.Z[:, None].astype(float) - e.Z[None], axis=2)
    gaps[np.arange(120), np.arange(120)] = np.inf
    gaps[:, e.split == "test"] = np.inf
    np.testing.assert_allclose(found, np.sort(gaps, axis=1)[:, :2].mean(axis=1), rtol=1e-3)
    assert not np.allclose(rank(e, train_split="all")["knn2"], found)


def test_a_planted_outlier_comes_first() -> None:
    e = embeddings()
    e.Z[[7, 30]] = -20
    for name, values in rank(e, scores=("knn2", "mahalanobis", "iforest", "lof"), train_split="all", k=5).items():
        # The two lie on each other, so the nearest neighbour is close; the mean of five is not.
        assert set(np.argsort(-values)[:2].tolist()) == {7, 30}, name


def test_what_counts_as_inside() -> None:
    rows, note = inside_rows(embeddings(), "train")
    assert rows.sum() == 40 and "test split" in note
    rows, note = inside_rows(embeddings(), "test")
    assert rows.sum() == 80 and "outside 'test'" in note
    rows, note = inside_rows(embeddings(splits=False), "train")
    assert rows.all() and "without itself" in note and not has_unseen(embeddings(splits=False), "train")


@pytest.mark.parametrize("splits", [True, False])
def test_against_foreign_vectors(splits: bool) -> None:
    far = np.random.default_rng(1).normal(size=(30, 5)).astype(np.float32) - 9
    ids = np.array([f"o{k}" for k in range(30)])
    found = against(
        embeddings(splits=splits), {"far": (far, ids), "same": (embeddings().Z[:30] + np.float32(0.01), ids)}
    )
    assert found["far"]["knn2"]["AUROC"] == 1 and found["far"]["knn2"]["n_in"] == (40 if splits else 120)
    assert found["same"]["knn2"]["AUROC"] < 0.5
    assert all(row["id"].startswith("o") for row in found["far"]["knn2"]["most"])


def test_class_tables() -> None:
    e = embeddings()
    e.Z[:, 0] += np.where(e.labels == 1, 9, 0)
    found = class_tables(e, scores=("knn2", "lof"))
    assert list(found["near"]) == ["knn2"] and found["one_class"]["knn2"]["mean"] > 0.99
    assert list(class_tables(e, scores=("lof",))["near"]) == ["knn-norm"]


def test_bad_input() -> None:
    with pytest.raises(ConfigError, match="--train-split val: no such rows. Legal: test, train, all"):
        rank(embeddings(), train_split="val")
    with pytest.raises(DataError, match="holds 1 image"):
        rank(embeddings(1))
    with pytest.raises(ConfigError, match="k is 80; with 80 training vectors it must lie between 1 and 79"):
        rank(embeddings(), k=80)
    with pytest.raises(DataError, match="need labels"):
        class_tables(embeddings(labels=False))
    with pytest.raises(DataError, match="rows outside 'train'"):
        class_tables(embeddings(splits=False))
