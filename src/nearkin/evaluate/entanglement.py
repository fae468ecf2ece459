"""Which classes are entangled: how the k nearest neighbours of one class mix with the others."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.evaluate.mixing import mixing_matrix
from nearkin.search.exact import Neighbors

K = 10
_PAIRS, _EXAMPLES = 5, 6


@dataclass(frozen=True)
class Pair:
    """Two classes and how much they mix: the mean of the two shares of foreign neighbours, in [0, 1]."""

    a: str
    b: str
    mixing: float
    examples: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Entanglement:
    """Attributes:
    matrix: (classes, classes); row a: shares of the classes among a's neighbours, summing to 1.
    purity: mean share of neighbours of the image's own class, in [0, 1].
    pairs: the most entangled class pairs, with the closest cross-class neighbours as examples.
    """

    k: int
    purity: float
    matrix: NDArray[np.float64]
    pairs: tuple[Pair, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self) | {"matrix": self.matrix.tolist()}


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
        Pair(classes[a], classes[b], mixing, _examples(neighbors, labels, near, a, b, ids))
        for mixing, a, b in order[:_PAIRS]
        if mixing > 0
    )
    return Entanglement(k, float((near == labels[:, None]).mean()), matrix, pairs)


def _examples(
    neighbors: Neighbors, labels: NDArray[np.int64], near: NDArray[np.int64], a: int, b: int, ids: NDArray[np.str_]
) -> tuple[dict[str, Any], ...]:
    """The closest pairs of one image of class a and one of b, each unordered pair once."""
    cross = ((labels[:, None] == a) & (near == b)) | ((labels[:, None] == b) & (near == a))
    rows, columns = np.nonzero(cross)
    out: list[dict[str, Any]] = []
    seen: set[frozenset[int]] = set()
    for j in np.argsort(neighbors.distances[rows, columns], kind="stable"):
        i, other = int(rows[j]), int(neighbors.indices[rows[j], columns[j]])
        if frozenset((i, other)) in seen:
            continue
        seen.add(frozenset((i, other)))
        distance = float(neighbors.distances[rows[j], columns[j]])
        out.append({"query": str(ids[i]), "neighbor": str(ids[other]), "distance": distance})
        if len(out) == _EXAMPLES:
            break
    return tuple(out)
