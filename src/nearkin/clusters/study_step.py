"""A study's step: clusters of the test images by k-means, by the number of clusters that the silhouette prefers, by HDBSCAN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.clusters.clusters import AUTO, Clustering, centres, cluster
from nearkin.embeddings import Embeddings
from nearkin.errors import DataError
from nearkin.fileio import read_object, to_json, write_json
from nearkin.runs.run import FinishedRun, first_seed

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


def cluster_uses(study: Path, runs: list[FinishedRun], say: Callable[[str], None]) -> list[dict[str, Any]]:
    """One JSON-able dictionary for each of VICReg, NGN and raw pixels. Saved in uses/clusters.

    "kmeans", and "assigned", the cluster of each test image; "auto" and "hdbscan" as a whole, without each cluster; "map": the
    cluster of every point of the run's t-SNE map and the clusters' centres there; or "note", why there are none (a collapsed
    embedding).
    """
    out = []
    for run in first_seed(runs):
        if run.method not in _METHODS:
            continue
        path, key = study / "uses" / "clusters" / f"{run.folder.name}.json", f"{_VERSION} {run.digest}"
        saved = read_object(path) if path.exists() else {}
        if saved.get("key") != key:
            part = run.embeddings().part("test")
            if len(part) < _LEAST:
                continue
            say(f"  clusters of {run.title}")
            names = {"key": key, "run": run.folder.name, "method": run.method, "title": run.title, "layer": run.layer}
            saved = names | _clusters_json(part, run)
            write_json(path, saved)
        out.append(saved)
    return out


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
    path = run.folder / "maps.npz"
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as arrays:
        if f"{run.layer}/tsne" not in arrays.files:
            return None
        coords, drawn = arrays[f"{run.layer}/tsne"], arrays[f"{run.layer}/ids"]
    if not np.ptp(coords):  # none was drawn
        return None
    where = {str(name): k for k, name in enumerate(ids)}
    on_map = assigned[[where[str(name)] for name in drawn]]
    middle = centres(coords, on_map)
    return {
        "assigned": on_map.tolist(),
        "centres": [row.astype(float).tolist() if np.isfinite(row).all() else None for row in middle],
    }
