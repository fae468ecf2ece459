"""How classes mix among neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nearkin.search.exact import Neighbors


def mixing_matrix(neighbors: Neighbors, labels: NDArray[np.int64], n_classes: int) -> NDArray[np.float64]:
    """Shares of the classes among each class's neighbours, float64 (classes, classes).

    Rows sum to 1; a class without images has a row of 0.

    Args:
        neighbors: of N labelled images among themselves, self left out, (N, k). labels: int64 (N,), all >= 0.
    """
    near = labels[neighbors.indices]
    counts = np.zeros((n_classes, n_classes))
    np.add.at(counts, (np.repeat(labels, near.shape[1]), near.ravel()), 1)
    out: NDArray[np.float64] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return out
