"""One embedding against sets of foreign vectors, and its own classes against each other: no images needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.anomalies.image_scores import has_unseen, inside_rows, train_rows
from nearkin.anomalies.one_class import (
    KNN_SCORES,
    class_distances,
    class_neighbors,
    held_out_scores,
    one_class_scores,
    per_class,
)
from nearkin.anomalies.ood_metrics import detect
from nearkin.anomalies.scores import score_sets
from nearkin.anomalies.train_lists import OWN, TrainLists
from nearkin.embeddings import Embeddings
from nearkin.errors import DataError
from nearkin.search.exact import Search, knn

_INSIDE = "inside"


def against(
    embeddings: Embeddings,
    ood: Mapping[str, tuple[NDArray[np.float32], NDArray[np.str_]]],
    *,
    train_split: str = "train",
    scores: Sequence[str] = ("knn2",),
    k: int | None = None,
    seed: int = 0,
    curves: bool = True,
    find: Search = knn,
) -> dict[str, Any]:
    """Set -> score -> the numbers of :class:`nearkin.anomalies.ood_metrics.OOD`, JSON-able; extremes carry ids.

    Args:
        ood: set name -> (vectors float32 (M, D), ids str (M,)). find: what finds the neighbours.
    Raises:
        ConfigError: a split without rows, unknown score, k out of range.
        DataError: other widths, values that are not finite, an empty set.
    """
    mask = train_rows(embeddings, train_split)
    rows, _ = inside_rows(embeddings, train_split)
    only_train = not has_unseen(embeddings, train_split)
    sets = {name: Z for name, (Z, _) in ood.items()}
    if not only_train:
        sets[_INSIDE] = embeddings.Z[rows]
    train = embeddings.Z[mask]
    found = score_sets(train, sets, scores, own=only_train, k=k, seed=seed, lists=TrainLists(train, find))
    out: dict[str, Any] = {}
    for name, (_, ids) in ood.items():
        out[name] = {}
        for score, values in found.items():
            item = detect(values[OWN if only_train else _INSIDE], values[name]).to_dict(curves=curves)
            for extreme in item["most"] + item["least"]:
                extreme["id"] = str((embeddings.ids[rows] if extreme["set"] == "in" else ids)[extreme["row"]])
            out[name][score] = item
    return out


def class_tables(
    embeddings: Embeddings, *, train_split: str = "train", scores: Sequence[str] = ("knn2",)
) -> dict[str, Any]:
    """One-class and held-out-class AUROC of an embedding's own classes: {"one_class", "near": score -> per class}.

    Scores without neighbours (Mahalanobis, forest, LOF) have no such table; "knn-norm" stands in if no other is asked for.

    Raises:
        DataError: no labels, fewer than 2 classes, a class without training or test images, or nothing but training rows.
    """
    mask = train_rows(embeddings, train_split)
    rows, _ = inside_rows(embeddings, train_split)
    if embeddings.labels is None or not embeddings.labelled:
        raise DataError("classes as anomalies need labels; this embedding has none.")
    if not has_unseen(embeddings, train_split):
        raise DataError(f"classes as anomalies need rows outside '{train_split}' to test on; this embedding has none.")
    out: dict[str, Any] = {"one_class": {}, "near": {}}
    labels, classes = embeddings.labels, embeddings.classes
    for score in [name for name in scores if name in KNN_SCORES] or ["knn-norm"]:
        lists = class_neighbors(embeddings.Z[mask], labels[mask], embeddings.Z[rows], len(classes), score=score)
        near = class_distances(lists, score=score)
        for kind, key, values in (
            ("one-class", "one_class", one_class_scores(near, score=score)),
            ("held-out", "near", held_out_scores(near, score=score)),
        ):
            out[key][score] = per_class(values, labels[rows], classes, kind).to_dict()
    return out
