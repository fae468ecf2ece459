"""The evaluation protocol: everything chosen on validation, test read once, the same for every embedding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.clusters.clusters import DEFAULT_CLUSTERS, kmeans_scores
from nearkin.embeddings import Embeddings, as_embeddings
from nearkin.errors import DataError
from nearkin.evaluate.entanglement import K as ENTANGLEMENT_K
from nearkin.evaluate.entanglement import entanglement
from nearkin.evaluate.evaluation import PROBES, LayerEvaluation, Score
from nearkin.evaluate.health import health
from nearkin.evaluate.knn import knn_probe
from nearkin.evaluate.linear import linear_probe, linear_sgd
from nearkin.maps.maps import Map, draw_maps
from nearkin.search.exact import KnnSearch, knn
from nearkin.vectors import sample_rows

MAP_IMAGES = 10_000


def _labelled(part: Embeddings) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    labels = part.labels if part.labels is not None else np.full(len(part), -1)
    known = labels >= 0
    if known.all():
        return part.Z, labels  # a mask would copy
    return part.Z[known], labels[known]


@dataclass(frozen=True)
class DrawnMaps:
    """Maps of the test images, or of a seeded choice of them.

    Attributes:
        ids: (N,). labels: int64 (N,), -1 for unknown. maps: by kind, "pca" and "tsne", each with coordinates (N, 2).
    """

    ids: NDArray[np.str_]
    labels: NDArray[np.int64]
    maps: dict[str, Map]


def evaluate(
    embeddings: Embeddings,
    *,
    seed: int = 0,
    maps: bool = True,
    max_map_images: int = MAP_IMAGES,
    on_step: Callable[[str], None] = lambda step: None,
    find: KnnSearch = knn,
) -> tuple[LayerEvaluation, DrawnMaps | None]:
    """Evaluate one layer's embeddings, which hold the splits train, val and test.

    Args:
        maps: also draw PCA and t-SNE of (at most ``max_map_images``) test images.
        on_step: told the name of each step, for progress. find: what finds the neighbours.
    Returns:
        The evaluation, and the maps it judged, None without ``maps``.
    Raises:
        DataError: no test rows, or non-finite vectors.
    """
    train, val, test = (embeddings.part(name, copy=False) for name in ("train", "val", "test"))
    if len(test) < 2:
        raise DataError("embeddings hold fewer than 2 rows with split 'test'; nothing can be evaluated.")
    if not np.isfinite(embeddings.Z).all():
        raise DataError("embeddings hold non-finite values; the run that made them has diverged.")
    on_step("health")
    healthy = health(test.Z)
    scores: dict[str, Score] = {}
    mixed = None
    a, b, c = _labelled(train), _labelled(val), _labelled(test)
    n_classes = len(embeddings.classes)
    if n_classes >= 2 and min(len(a[1]), len(b[1]), len(c[1])) > 0:
        on_step("linear probe")
        scores["linear"] = linear_probe(a, b, c, n_classes)
        scores["linear_sgd"] = linear_sgd(a, c, n_classes, seed=seed)
        scores["linear_sgd_standardised"] = linear_sgd(a, c, n_classes, seed=seed, standardized=True)
        on_step("kNN probe")
        scores["knn"] = knn_probe(a, b, c, n_classes, find=find)
        on_step("entanglement")
        rows = np.flatnonzero(test.labels >= 0) if test.labels is not None else np.arange(0)
        if len(rows) > ENTANGLEMENT_K:
            near = find(test.Z[rows], test.Z[rows], ENTANGLEMENT_K, exclude_self=True)
            mixed = entanglement(near, c[1], embeddings.classes, test.ids[rows])
    on_step("clusters")
    clusters = kmeans_scores(test.Z, test.labels, k=n_classes or DEFAULT_CLUSTERS, seed=seed)
    drawn = None
    if maps:
        on_step("maps")
        part = test.take(sample_rows(len(test), max_map_images, seed))
        labels = part.labels if part.labels is not None else np.full(len(part), -1)
        drawn = DrawnMaps(part.ids, labels, draw_maps(part.Z, part.labels, seed=seed))
    evaluation = LayerEvaluation(
        dim=embeddings.Z.shape[1],
        health=healthy,
        **{name: scores.get(name) for name in PROBES},
        entanglement=mixed,
        clusters=clusters,
        maps={kind: item.scores for kind, item in drawn.maps.items()} if drawn else {},
    )
    return evaluation, drawn


def evaluate_embeddings(vectors: Embeddings | NDArray[Any], *, random_state: int = 0) -> LayerEvaluation:
    """Evaluate an embedding: its health and clusters and, with labels, probes and entanglement.

    Everything is chosen on validation rows, and test rows are read once. Splits that are missing are held out of train, see
    :meth:`nearkin.Embeddings.with_splits`.

    Args:
        vectors: an embedding, or an array (N, D) of finite numbers.
        random_state: seed of the splits, of the SGD probe and of k-means.
    Raises:
        DataError: too few rows, or values that are not finite.
    """
    embeddings, _ = as_embeddings(vectors).with_splits(random_state)
    return evaluate(embeddings, seed=random_state, maps=False)[0]
