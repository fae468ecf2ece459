"""Which classes are entangled: how the k nearest neighbours of one class mix with the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearkin.search.exact import Neighbors

K = 10
_PAIRS, _EXAMPLES = 5, 6


@dataclass(frozen=True)
class CrossPair:
    """An image and a near neighbour of another class, by their ids, and their distance."""

    query: str
    neighbor: str
    distance: float


@dataclass(frozen=True)
class ClassPair:
    """Two classes and how much they mix: the mean of the two shares of foreign neighbours, in [0, 1]."""

    a: str
    b: str
    mixing: float
    examples: tuple[CrossPair, ...]


@dataclass(frozen=True)
class Entanglement:
    """How classes mix among neighbours.

    Attributes:
        k: neighbours. purity: mean share of neighbours of the image's own class, in [0, 1].
        matrix: float64 (classes, classes); row a: shares of the classes among a's neighbours, summing to 1.
        pairs: the most entangled class pairs, with the closest cross-class neighbours as examples.
    """

    k: int
    purity: float
    matrix: NDArray[np.float64]
    pairs: tuple[ClassPair, ...]


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


def entanglement(
    neighbors: Neighbors, labels: NDArray[np.int64], classes: tuple[str, ...], ids: NDArray[np.str_]
) -> Entanglement:
    """Measure mixing from self-excluded neighbours (N, k) of N labelled images among themselves."""
    n_classes, k = len(classes), neighbors.indices.shape[1]
    near = labels[neighbors.indices]
    matrix = mixing_matrix(neighbors, labels, n_classes)
    order = sorted(
        ((float(matrix[a, b] + matrix[b, a]) / 2, a, b) for a in range(n_classes) for b in range(a + 1, n_classes)),
        key=lambda item: (-item[0], item[1], item[2]),
    )
    pairs = tuple(
        ClassPair(classes[a], classes[b], mixing, _examples(neighbors, labels, near, a, b, ids))
        for mixing, a, b in order[:_PAIRS]
        if mixing > 0
    )
    return Entanglement(k, float((near == labels[:, None]).mean()), matrix, pairs)


def _examples(
    neighbors: Neighbors, labels: NDArray[np.int64], near: NDArray[np.int64], a: int, b: int, ids: NDArray[np.str_]
) -> tuple[CrossPair, ...]:
    """The closest pairs of one image of class a and one of b, each unordered pair once."""
    cross = ((labels[:, None] == a) & (near == b)) | ((labels[:, None] == b) & (near == a))
    rows, columns = np.nonzero(cross)
    out: list[CrossPair] = []
    seen: set[frozenset[int]] = set()
    for j in np.argsort(neighbors.distances[rows, columns], kind="stable"):
        i, other = int(rows[j]), int(neighbors.indices[rows[j], columns[j]])
        if frozenset((i, other)) in seen:
            continue
        seen.add(frozenset((i, other)))
        out.append(CrossPair(str(ids[i]), str(ids[other]), float(neighbors.distances[rows[j], columns[j]])))
        if len(out) == _EXAMPLES:
            break
    return tuple(out)
