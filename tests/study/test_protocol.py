"""The whole protocol on planted embeddings."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nearkin.embeddings import Embeddings
from nearkin.errors import DataError
from nearkin.fileio import to_json
from nearkin.study.protocol import evaluate, evaluate_embeddings


def planted(n: int = 600, labelled: bool = True) -> Embeddings:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, n)
    Z = (4 * np.eye(3)[y] + rng.normal(size=(n, 3))).astype(np.float32)
    split = np.array(["train", "train", "val", "test"] * (n // 4))
    ids = np.array([str(i) for i in range(n)])
    return Embeddings(Z, ids, y if labelled else None, split, tuple("abc") if labelled else ())


def test_planted_classes_are_read() -> None:
    found, drawn = evaluate(planted())
    assert found.linear and found.knn and found.entanglement and drawn
    assert found.linear.accuracy > 0.95 and found.knn.accuracy > 0.95
    assert found.linear.n == 150 and (found.clusters.nmi or 0) > 0.8 and found.entanglement.purity > 0.9
    assert drawn.maps["tsne"].coords.shape == (150, 2) and (found.maps["tsne"].purity or 0) > 0.9
    assert len(drawn.ids) == len(drawn.labels) == 150


def test_without_labels_everything_that_needs_none() -> None:
    found, drawn = evaluate(planted(labelled=False), maps=False)
    assert found.linear is None and found.knn is None and found.entanglement is None and drawn is None
    assert found.health.rankme > 1 and (found.clusters.silhouette or 0) > 0.2 and found.clusters.nmi is None


def test_labels_of_test_images_change_nothing_but_the_score() -> None:
    a = planted()
    labels = a.labels.copy()  # type: ignore[union-attr]
    is_test = a.split == "test"
    labels[is_test] = (labels[is_test] + 1) % 3
    found, other = evaluate(a, maps=False)[0], evaluate(dataclasses.replace(a, labels=labels), maps=False)[0]
    for a_score, b_score in ((found.linear, other.linear), (found.knn, other.knn)):
        assert a_score and b_score and b_score.accuracy < 0.1
        assert dataclasses.replace(b_score, accuracy=a_score.accuracy, interval=a_score.interval) == a_score


def test_same_seed_same_result() -> None:
    assert to_json(evaluate(planted())[0]) == to_json(evaluate(planted())[0])


def test_partly_labelled() -> None:
    a = planted()
    labels = np.where(np.arange(len(a)) % 3, a.labels, -1)
    found, _ = evaluate(dataclasses.replace(a, labels=labels), maps=False)
    assert found.linear and found.linear.n == int(((a.split == "test") & (labels >= 0)).sum())


def test_unusable_embeddings() -> None:
    a = planted()
    with pytest.raises(DataError, match="fewer than 2 rows"):
        evaluate(a.part("train"))
    Z = a.Z.copy()
    Z[0, 0] = np.nan
    with pytest.raises(DataError, match="non-finite"):
        evaluate(dataclasses.replace(a, Z=Z))


def test_missing_splits_are_made_and_told() -> None:
    a = planted()
    same, note = a.with_splits(0)
    assert same is a and note is None
    bare = dataclasses.replace(a, split=np.full(len(a), "train"))
    made, note = bare.with_splits(0)
    assert note is not None and set(made.split.tolist()) == {"train", "val", "test"}
    assert (made.split == "test").sum() == 120
    assert to_json(evaluate_embeddings(bare)) == to_json(evaluate(made, maps=False)[0])
    assert evaluate_embeddings(a.Z).health == evaluate(made, maps=False)[0].health  # the same rows, no labels
