"""A study's step: clusters of the test images by k-means, by the number of clusters that the silhouette prefers, by HDBSCAN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.clusters.clusters import AUTO, Clustering, centres, cluster
from nearkin.embeddings import Embeddings
from nearkin.errors import DataError
from nearkin.fileio import to_json
from nearkin.folders import StudyFolder
from nearkin.runs.run import FinishedRun, saved_result

_METHODS = ("vicreg", "ngn", "raw-pixels")
_VERSION = 2  # of what is saved
_EXAMPLES = 6
_LEAST = 12  # test images


@dataclass(frozen=True)
class ThreeClusterings:
    """One embedding clustered in three ways.

    kmeans: as many clusters as classes (10 without labels). auto: as many as the silhouette prefers. hdbscan: by density.
    """

    kmeans: Clustering
    auto: Clustering
    hdbscan: Clustering


def cluster_three_ways(part: Embeddings) -> ThreeClusterings:
    """Cluster an embedding by k-means, by k-means with k chosen, and by HDBSCAN. Raises DataError as :func:`cluster` does."""
    return ThreeClusterings(
        kmeans=cluster(part, max(2, min(len(part.classes) or 10, len(part))), examples=_EXAMPLES),
        auto=cluster(part, AUTO, examples=1),
        hdbscan=cluster(part, algorithm="hdbscan", examples=1),
    )


def cluster_use(
    study: StudyFolder, run: FinishedRun, load: Callable[[], Embeddings], say: Callable[[str], None]
) -> dict[str, Any] | None:
    """JSON-able, for VICReg, NGN and raw pixels; None for other runs and few images. Saved in uses/clusters.

    "kmeans", and "assigned", the cluster of each test image; "auto" and "hdbscan" as a whole, without each cluster; "map": the
    cluster of every point of the run's t-SNE map and the clusters' centres there; or "note", why there are none (a collapsed
    embedding).

    Args:
        load: returns the run's embedding.
    """
    if run.method not in _METHODS:
        return None

    def make() -> dict[str, Any] | None:
        part = load().part("test")
        if len(part) < _LEAST:
            return None
        say(f"  clusters of {run.title}")
        return run.named() | _clusters_json(part, run)

    return saved_result(study.use_file("clusters", run.name), f"{_VERSION} {run.digest}", make)


def _clusters_json(part: Embeddings, run: FinishedRun) -> dict[str, Any]:
    try:
        ways = cluster_three_ways(part)
    except DataError as error:
        return {"note": str(error)}
    auto, dense = to_json(ways.auto), to_json(ways.hdbscan)
    del auto["clusters"], dense["clusters"]
    return {
        "kmeans": to_json(ways.kmeans),
        "assigned": ways.kmeans.assigned.tolist(),
        "auto": auto,
        "hdbscan": dense,
        "map": _on_map(part.ids, ways.kmeans.assigned, run),
    }


def _on_map(ids: NDArray[np.str_], assigned: NDArray[np.int64], run: FinishedRun) -> dict[str, Any] | None:
    """Clusters of the points of the t-SNE map that the evaluation drew, and the clusters' mean places; None without one."""
    on_tsne = run.map(run.layer, "tsne")
    if on_tsne is None or not np.ptp(on_tsne[1]):  # no map was drawn
        return None
    drawn, coords = on_tsne
    where = {str(name): k for k, name in enumerate(ids)}
    on_map = assigned[[where[str(name)] for name in drawn]]
    middle = centres(coords, on_map)
    return {
        "assigned": on_map.tolist(),
        "centres": [row.astype(float).tolist() if np.isfinite(row).all() else None for row in middle],
    }
