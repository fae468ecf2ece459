"""Which training images do foreign images resemble? A neighbour score is blind to whatever has look-alikes in training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

K, QUERIES, TOP, SHOWN = 50, 2000, 100, 7


@dataclass(frozen=True)
class Resembled:
    """Attributes:
    k: neighbours per image. n: foreign images asked (at most 2,000).
    distinct: training images that are a neighbour of any of them.
    top_share: share of the n k places that the 100 most frequent training images take, in [0, 1]; near 1 means that a few
        training images alone make the foreign ones look familiar.
    rows: the 7 most frequent, most frequent first. counts: in how many of the n lists each stands.
    """

    k: int
    n: int
    distinct: int
    top_share: float
    rows: tuple[int, ...]
    counts: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self) | {"rows": list(self.rows), "counts": list(self.counts)}


def asked_rows(n: int, seed: int = 0) -> NDArray[np.int64]:
    """Which of n foreign images are asked: at most 2,000, a seeded choice, ascending."""
    return np.sort(np.random.default_rng(seed).permutation(n)[:QUERIES])


def resembled(lists: NDArray[np.int64], n: int) -> Resembled:
    """Count the training images in lists of nearest ones (cosine, as in "knn-norm").

    Args:
        lists: int64 (M, k), rows of the n training images, of the foreign images at :func:`asked_rows`.
    """
    counts = np.bincount(lists.ravel(), minlength=n)
    order = np.argsort(-counts, kind="stable")
    first = order[: min(SHOWN, int((counts > 0).sum()))]
    return Resembled(
        lists.shape[1],
        len(lists),
        int((counts > 0).sum()),
        float(counts[order[:TOP]].sum() / max(1, counts.sum())),
        tuple(int(i) for i in first),
        tuple(int(n) for n in counts[first]),
    )
