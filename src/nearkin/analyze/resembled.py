"""Which training images do foreign images resemble? A neighbour score is blind to whatever has look-alikes in training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.neighbors import Index

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


def resembled(train: Index, outside: NDArray[np.float32], *, k: int = K, seed: int = 0) -> Resembled:
    """Count the k nearest training vectors (cosine, as in "knn-norm") of at most 2,000 foreign ones, a seeded choice.

    Args:
        train: cosine index of N vectors. outside: float32 (M, D), none of them in ``train``.
    Raises:
        ConfigError: k outside 1..N. DataError: other widths, values that are not finite.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(outside))[:QUERIES])
    counts = np.bincount(train.search(outside[rows], k).indices.ravel(), minlength=len(train))
    order = np.argsort(-counts, kind="stable")
    first = order[: min(SHOWN, int((counts > 0).sum()))]
    return Resembled(
        k,
        len(rows),
        int((counts > 0).sum()),
        float(counts[order[:TOP]].sum() / max(1, counts.sum())),
        tuple(int(i) for i in first),
        tuple(int(n) for n in counts[first]),
    )
