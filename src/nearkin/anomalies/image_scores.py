"""Anomaly scores for every image of one embedding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nearkin.anomalies.scores import score_sets
from nearkin.anomalies.train_lists import OWN, TrainLists
from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, DataError
from nearkin.search.exact import Search, knn

_OTHERS = "others"


def train_rows(embeddings: Embeddings, train_split: str) -> NDArray[np.bool_]:
    """Which rows count as normal: those of a split, or all ("all"). Raises ConfigError for a split without rows."""
    if train_split == "all":
        return np.ones(len(embeddings), dtype=bool)
    mask: NDArray[np.bool_] = embeddings.split == train_split
    if not mask.any():
        there = ", ".join(sorted(set(embeddings.split.tolist())))
        raise ConfigError(f"--train-split {train_split}: no such rows. Legal: {there}, all.")
    return mask


def rank(
    embeddings: Embeddings,
    *,
    train_split: str = "train",
    scores: Sequence[str] = ("knn2",),
    k: int | None = None,
    seed: int = 0,
    find: Search = knn,
) -> dict[str, NDArray[np.float64]]:
    """Score every row: score name -> float64 (N,), higher = more anomalous.

    Rows of ``train_split`` are what the others are compared with, and are scored without themselves.
    ``find`` finds the neighbours.

    Raises:
        ConfigError: a split without rows, unknown score, k out of range. DataError: fewer than 2 rows, values not finite.
    """
    if len(embeddings) < 2:
        raise DataError(f"the embedding holds {len(embeddings)} image; an anomaly score compares at least 2.")
    mask = train_rows(embeddings, train_split)
    sets = {} if mask.all() else {_OTHERS: embeddings.Z[~mask]}
    train = embeddings.Z[mask]
    found = score_sets(train, sets, scores, own=True, k=k, seed=seed, lists=TrainLists(train, find))
    out = {}
    for name, values in found.items():
        out[name] = np.empty(len(embeddings))
        out[name][mask] = values[OWN]
        if sets:
            out[name][~mask] = values[_OTHERS]
    return out


def has_unseen(embeddings: Embeddings, train_split: str) -> bool:
    """Whether there are in-distribution rows that scores do not learn from."""
    return not bool((inside_rows(embeddings, train_split)[0] & train_rows(embeddings, train_split)).any())


def inside_rows(embeddings: Embeddings, train_split: str) -> tuple[NDArray[np.bool_], str]:
    """In-distribution rows that OOD images are told from, and a line that says which.

    The test split if it is not what scores learn from; else all rows outside the training split; else the training rows.
    """
    mask = train_rows(embeddings, train_split)
    test = (embeddings.split == "test") & ~mask
    if test.any():
        return test, "in-distribution: the test split, which scores have not seen"
    if not mask.all():
        return ~mask, f"in-distribution: all rows outside '{train_split}'"
    return mask, "in-distribution: the training rows, each scored without itself (there are no others)"
