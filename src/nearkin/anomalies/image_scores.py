"""Anomaly scores for every image of one embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.anomalies.detectors import OWN, TrainNeighbors, score_sets
from nearkin.embeddings import Embeddings, as_embeddings
from nearkin.errors import ConfigError, DataError
from nearkin.search.exact import KnnSearch, knn

_OTHERS = "others"


def anomaly_scores(
    vectors: Embeddings | NDArray[Any],
    train: Embeddings | NDArray[Any] | None = None,
    *,
    score: str = "knn2",
    n_neighbors: int | None = None,
    train_split: str = "train",
    random_state: int = 0,
) -> NDArray[np.float64]:
    """Score how unlike the training vectors each vector is: higher = more anomalous.

    scikit-learn's detectors have the opposite sign (``score_samples``: lower = more abnormal).

    Args:
        vectors: an embedding, or an array (N, D) of finite numbers, N >= 2 without ``train``.
        train: what counts as normal, (M, D), M >= 2; all of ``vectors`` are then new. Without it, the rows of
            ``train_split`` count as normal, and each of them is scored without itself; an array's rows all do.
        score: "knn2" (mean L2 distance to the 2 nearest), "knn-norm" (distance of unit vectors to the 50th nearest),
            "mahalanobis", "iforest" (isolation forest) or "lof" (local outlier factor, 20 neighbours).
        n_neighbors: instead of the score's own number; of "knn2", "knn-norm" and "lof".
        train_split: "train", "val", "test" or "all"; not read where ``train`` is given.
        random_state: seed of the isolation forest.
    Returns:
        float64 (N,), in the order of ``vectors``; not comparable between scores.
    Raises:
        ConfigError: unknown score; no rows of that split; more neighbours than there are training vectors.
        DataError: too few vectors, other widths, values that are not finite.
    """
    asked = as_embeddings(vectors)
    if train is None:
        return score_rows(asked, train_split=train_split, scores=[score], k=n_neighbors, seed=random_state)[score]
    sets = {_OTHERS: asked.Z}
    return score_sets(as_embeddings(train).Z, sets, [score], k=n_neighbors, seed=random_state)[score][_OTHERS]


def score_rows(
    embeddings: Embeddings,
    *,
    train_split: str = "train",
    scores: Sequence[str] = ("knn2",),
    k: int | None = None,
    seed: int = 0,
    find: KnnSearch = knn,
) -> dict[str, NDArray[np.float64]]:
    """Score every row: score name -> float64 (N,), higher = more anomalous.

    Rows of ``train_split`` are what the others are compared with, and are scored without themselves.
    ``find`` finds the neighbours.

    Raises:
        ConfigError: a split without rows, unknown score, k out of range. DataError: fewer than 2 rows, values not finite.
    """
    if len(embeddings) < 2:
        raise DataError(f"the embedding holds {len(embeddings)} image; an anomaly score compares at least 2.")
    normal = normal_rows(embeddings, train_split).train
    sets = {} if normal.all() else {_OTHERS: embeddings.Z[~normal]}
    train = embeddings.Z[normal]
    scored = score_sets(train, sets, scores, own=True, k=k, seed=seed, neighbors=TrainNeighbors(train, find))
    out = {}
    for name, values in scored.items():
        out[name] = np.empty(len(embeddings))
        out[name][normal] = values[OWN]
        if sets:
            out[name][~normal] = values[_OTHERS]
    return out


@dataclass(frozen=True)
class NormalRows:
    """Attributes:
    train: bool (N,), rows that scores learn from.
    inside: bool (N,), in-distribution rows that foreign images are told from. note: which these are, one line.
    """

    train: NDArray[np.bool_]
    inside: NDArray[np.bool_]
    note: str

    @property
    def unseen(self) -> bool:
        """Whether scores learn from none of the rows ``inside``."""
        return not bool((self.inside & self.train).any())


def normal_rows(embeddings: Embeddings, train_split: str) -> NormalRows:
    """The training rows: those of a split, or all ("all"); and the in-distribution rows.

    These are the test split if it is not what scores learn from; else all rows outside the training split; else the
    training rows.

    Raises:
        ConfigError: a split without rows.
    """
    everything = np.ones(len(embeddings), dtype=bool)
    train: NDArray[np.bool_] = everything if train_split == "all" else embeddings.split == train_split
    if not train.any():
        there = ", ".join(sorted(set(embeddings.split.tolist())))
        raise ConfigError(f"--train-split {train_split}: no such rows. Legal: {there}, all.")
    test = (embeddings.split == "test") & ~train
    if test.any():
        return NormalRows(train, test, "in-distribution: the test split, which scores have not seen")
    if not train.all():
        return NormalRows(train, ~train, f"in-distribution: all rows outside '{train_split}'")
    return NormalRows(
        train, train, "in-distribution: the training rows, each scored without itself (there are no others)"
    )
