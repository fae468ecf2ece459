"""The kNN probe: cosine neighbours, weights exp(similarity / T) (Wu et al. 2018, section 3.4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nearkin.evaluate.evaluation import Score, score
from nearkin.search.exact import KnnSearch, Neighbors, knn

Labelled = tuple[NDArray[np.float32], NDArray[np.int64]]  # Z (N, D) and labels (N,)
KS = (1, 5, 10, 20, 50, 100, 200)
TEMPERATURE = 0.07


def knn_predict(
    neighbors: Neighbors, labels: NDArray[np.int64], n_classes: int, temperature: float = TEMPERATURE
) -> NDArray[np.int64]:
    """Weighted vote of cosine neighbours (M, k) whose rows have ``labels`` (N,) -> int64 (M,)."""
    # Subtracting the nearest neighbour's distance rescales all weights of a query alike and avoids overflow.
    weights = np.exp(-(neighbors.distances - neighbors.distances[:, :1]) / temperature)
    votes = np.zeros((len(weights), n_classes))
    rows = np.arange(len(weights))
    for j in range(weights.shape[1]):
        np.add.at(votes, (rows, labels[neighbors.indices[:, j]]), weights[:, j])
    winner: NDArray[np.int64] = votes.argmax(axis=1)
    return winner


def knn_accuracy(
    base: NDArray[np.float32],
    base_labels: NDArray[np.int64],
    queries: NDArray[np.float32],
    query_labels: NDArray[np.int64],
    k: int = 20,
) -> float:
    """Accuracy of one k, for monitoring; images without label (-1) are left out."""
    base, base_labels = base[base_labels >= 0], base_labels[base_labels >= 0]
    queries, query_labels = queries[query_labels >= 0], query_labels[query_labels >= 0]
    if not len(base) or not len(queries):
        return float("nan")
    neighbors = knn(queries, base, min(k, len(base)))
    return float((knn_predict(neighbors, base_labels, int(base_labels.max()) + 1) == query_labels).mean())


def knn_probe(
    train: Labelled,
    val: Labelled,
    test: Labelled,
    n_classes: int,
    *,
    find: KnnSearch = knn,
) -> Score:
    """kNN probe with k chosen on validation; all images are labelled. ``find`` finds the neighbours."""
    predicted, protocol, chosen = knn_predictions(train, val, test[0], n_classes, find=find)
    return score(predicted, test[1], protocol, **chosen)


def knn_predictions(
    train: Labelled,
    val: Labelled,
    test: NDArray[np.float32],
    n_classes: int,
    *,
    find: KnnSearch = knn,
) -> tuple[NDArray[np.int64], str, dict[str, float]]:
    """:func:`knn_probe`'s predictions for ``test`` (N, D): classes int64 (N,), the protocol in words, what was chosen."""
    legal = [k for k in KS if k <= len(train[0])]
    neighbors = find(val[0], train[0], legal[-1])
    accuracy = {k: float((knn_predict(neighbors.first(k), train[1], n_classes) == val[1]).mean()) for k in legal}
    best = max(legal, key=lambda k: accuracy[k])
    predicted = knn_predict(find(test, train[0], best), train[1], n_classes)
    protocol = f"cosine kNN, weights exp(s/{TEMPERATURE}), k of {legal} chosen on val, train as memory, single view"
    return predicted, protocol, {"k": best, "val_accuracy": accuracy[best]}
