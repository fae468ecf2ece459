"""Classes as anomalies: one class is normal and the rest are not (one-class), or one class is left out (near-OOD)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.anomalies.knn import K_MEAN, K_NORM
from nearkin.errors import DataError, unknown
from nearkin.evaluate.stats import Auroc, auroc
from nearkin.search.exact import Index, Neighbors

KNN_SCORES = {"knn2": ("l2", K_MEAN), "knn-norm": ("cosine", K_NORM)}


@dataclass(frozen=True)
class PerClass:
    """Attributes:
    kind: "one-class" or "held-out". classes: the names. aurocs: one per class.
    mean: mean AUROC over the classes, in [0, 1].
    """

    kind: str
    classes: tuple[str, ...]
    aurocs: tuple[Auroc, ...]

    @property
    def mean(self) -> float:
        """Mean over classes."""
        return float(np.mean([item.value for item in self.aurocs]))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: {"kind", "mean", "classes": [{"class", "AUROC", "interval", "interval_kind", "n_in", "n_out"}]}."""
        rows = [{"class": name} | item.to_dict() for name, item in zip(self.classes, self.aurocs, strict=True)]
        return {"kind": self.kind, "mean": self.mean, "classes": rows}


def class_neighbors(
    train: NDArray[np.float32] | Index,
    train_labels: NDArray[np.int64],
    queries: NDArray[np.float32],
    classes: int,
    *,
    score: str = "knn-norm",
) -> list[Neighbors]:
    """Each query's k nearest training vectors of each class: one search serves every table here.

    Args:
        train: float32 (N, D), or their index in the score's metric; labels int64 (N,), -1 = left out.
        queries: float32 (M, D), none of them in ``train``.
        score: "knn2" (L2, k = 2) or "knn-norm" (unit length, L2, k = 50).
    Returns:
        one per class, rows counted in ``train``; shorter where a class has fewer than k images.
    Raises:
        ConfigError: unknown score. DataError: a class without training images.
    """
    if score not in KNN_SCORES:
        raise unknown("score", score, KNN_SCORES)
    metric, k = KNN_SCORES[score]
    missing = np.setdiff1d(np.arange(classes), train_labels)
    if len(missing):
        raise DataError(f"class {missing[0]} has no training images; every class needs some to be scored.")
    index = train if isinstance(train, Index) else Index(train, metric=metric)
    out = []
    for c in range(classes):
        rows = np.flatnonzero(train_labels == c)
        found = index.take(rows).search(queries, min(k, len(rows)))
        out.append(Neighbors(found.distances, rows[found.indices]))
    return out


def class_distances(found: Sequence[Neighbors], *, score: str = "knn-norm") -> NDArray[np.float32]:
    """The distances of :func:`class_neighbors`, of unit vectors for "knn-norm".

    float32 (classes, M, k), ascending; infinite where a class has fewer than k images.
    """
    metric, k = KNN_SCORES[score]
    out = np.full((len(found), len(found[0].distances), k), np.inf, dtype=np.float32)
    for c, item in enumerate(found):
        near = item.distances
        out[c, :, : near.shape[1]] = np.sqrt(2 * near) if metric == "cosine" else near
    return out


def one_class_scores(distances: NDArray[np.float32], *, score: str = "knn-norm") -> NDArray[np.float64]:
    """Anomaly of each query when only class c is normal: (classes, M, k) -> float64 (classes, M).

    A class with fewer than k images uses all of them.
    """
    return np.stack([_combine(item, score) for item in distances])


def held_out_scores(distances: NDArray[np.float32], *, score: str = "knn-norm") -> NDArray[np.float64]:
    """Anomaly of each query when the training set lacks class c: (classes, M, k) -> float64 (classes, M)."""
    n, _, k = distances.shape
    out = []
    for c in range(n):
        rest = np.concatenate([distances[other] for other in range(n) if other != c], axis=1)
        out.append(_combine(np.sort(np.partition(rest, k - 1, axis=1)[:, :k], axis=1), score))
    return np.stack(out)


def _combine(nearest: NDArray[np.float32], score: str) -> NDArray[np.float64]:
    """Distances (M, k), ascending, infinite where missing -> the score, float64 (M,)."""
    there = int(np.isfinite(nearest[0]).sum()) if len(nearest) else 0
    used = nearest[:, : max(there, 1)].astype(np.float64)
    out: NDArray[np.float64] = used.mean(axis=1) if score == "knn2" else used[:, -1]
    return out


def per_class(scores: NDArray[np.float64], labels: NDArray[np.int64], classes: tuple[str, ...], kind: str) -> PerClass:
    """AUROC for each class from scores (classes, M) of M test images with labels int64 (M,), -1 = left out.

    kind "one-class": scores[c] treats class c as normal, all others are anomalies (the mean over classes is what the
    one-class literature reports). kind "held-out": scores[c] was made without class c, which is the anomaly.

    Raises:
        ConfigError: unknown kind. DataError: fewer than 2 classes, or a class without test images.
    """
    if kind not in ("one-class", "held-out"):
        raise unknown("kind", kind, ("one-class", "held-out"))
    if len(classes) < 2:
        raise DataError(f"classes as anomalies need at least 2 classes; got {len(classes)}.")
    known = labels >= 0
    aurocs = []
    for c, name in enumerate(classes):
        own, others = scores[c][known & (labels == c)], scores[c][known & (labels != c)]
        if not len(own) or not len(others):
            raise DataError(f"class '{name}' has no test images, or is the only one that has.")
        aurocs.append(auroc(own, others) if kind == "one-class" else auroc(others, own))
    return PerClass(kind, tuple(classes), tuple(aurocs))
