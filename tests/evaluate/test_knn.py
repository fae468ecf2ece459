"""The kNN probe against scikit-learn with the same weights."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from nearkin.evaluate.knn import KS, knn_accuracy, knn_predict, knn_probe
from nearkin.search.exact import knn

RNG = np.random.default_rng(0)


def blobs(n: int) -> tuple[np.ndarray, np.ndarray]:
    y = RNG.integers(0, 5, n)
    return (np.random.default_rng(1).normal(size=(5, 8))[y] + RNG.normal(size=(n, 8))).astype(np.float32), y


@pytest.mark.parametrize("k", [1, 10, 50])
def test_against_scikit_learn(k: int) -> None:
    train, test = blobs(500), blobs(200)
    theirs = KNeighborsClassifier(k, metric="cosine", weights=lambda d: np.exp((1 - d) / 0.07)).fit(*train)
    ours = knn_predict(knn(test[0], train[0], k), train[1], 5)
    assert (ours == theirs.predict(test[0])).mean() > 0.99


def test_weights_do_not_overflow() -> None:
    train, test = blobs(100), blobs(20)
    assert (knn_predict(knn(test[0], train[0], 5), train[1], 5, temperature=1e-4) < 5).all()


def test_k_is_chosen_on_validation() -> None:
    train, val, test = blobs(600), blobs(200), blobs(300)
    found = knn_probe(train, val, test, 5)
    scores = {k: (knn_predict(knn(val[0], train[0], k), train[1], 5) == val[1]).mean() for k in KS}
    assert found.chosen["k"] in KS and found.chosen["val_accuracy"] == pytest.approx(max(scores.values()))
    expected = (knn_predict(knn(test[0], train[0], int(found.chosen["k"])), train[1], 5) == test[1]).mean()
    assert found.accuracy == pytest.approx(expected)


def test_unlabelled_rows_do_not_vote() -> None:
    x = np.array([[1, 0], [0, 1], [1, 0.1]], dtype=np.float32)
    assert knn_accuracy(x, np.array([0, 1, -1]), x[2:], np.array([0]), k=1) == 1
    assert np.isnan(knn_accuracy(x, np.full(3, -1), x, np.array([0, 1, 0])))
