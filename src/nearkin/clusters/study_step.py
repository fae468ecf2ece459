"""Clusters of the test images: k-means, the number of clusters that the silhouette prefers, HDBSCAN."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nearkin.clusters.clusters import AUTO, Clustering, centres, cluster
from nearkin.embeddings import Embeddings
from nearkin.errors import DataError
from nearkin.fileio import read_json, to_json, write_json
from nearkin.runs.run import FinishedRun, first_seed

_METHODS = ("vicreg", "ngn", "raw-pixels")
_VERSION = 2  # of what is saved
_EXAMPLES = 6
_LEAST = 12  # test images


def cluster_uses(study: Path, runs: list[FinishedRun], say: Callable[[str], None]) -> list[dict[str, Any]]:
    """One JSON-able dictionary for each of VICReg, NGN and raw pixels. Saved in uses/clusters.

    "kmeans": as many clusters as classes (10 without labels), and "assigned", the cluster of each test image; "auto": k by
    silhouette, "hdbscan"; "map": the cluster of every point of the run's t-SNE map and the clusters' centres there; or
    "note", why there are none (a collapsed embedding).
    """
    out = []
    for run in first_seed(runs):
        if run.method not in _METHODS:
            continue
        path, key = study / "uses" / "clusters" / f"{run.folder.name}.json", f"{_VERSION} {run.digest}"
        found: dict[str, Any] = read_json(path) if path.exists() else {}
        if found.get("key") != key:
            part = run.embeddings().part("test")
            if len(part) < _LEAST:
                continue
            say(f"  clusters of {run.title}")
            names = {"key": key, "run": run.folder.name, "method": run.method, "title": run.title, "layer": run.layer}
            found = names | _found(part, run)
            write_json(path, found)
        out.append(found)
    return out


def _found(part: Embeddings, run: FinishedRun) -> dict[str, Any]:
    try:
        kmeans = cluster(part, max(2, min(len(part.classes) or 10, len(part))), examples=_EXAMPLES)
        auto = cluster(part, AUTO, examples=1)
        dense = cluster(part, algorithm="hdbscan", examples=1)
    except DataError as error:
        return {"note": str(error)}
    drop = {"clusters"}
    return {
        "kmeans": to_json(kmeans),
        "assigned": kmeans.assigned.tolist(),
        "auto": {name: value for name, value in to_json(auto).items() if name not in drop},
        "hdbscan": {name: value for name, value in to_json(dense).items() if name not in drop},
        "map": _on_map(part, kmeans, run),
    }


def _on_map(part: Embeddings, found: Clustering, run: FinishedRun) -> dict[str, Any] | None:
    """Clusters of the points of the t-SNE map that the evaluation drew, and the clusters' mean places; None without one."""
    path = run.folder / "maps.npz"
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as arrays:
        if f"{run.layer}/tsne" not in arrays.files:
            return None
        coords, ids = arrays[f"{run.layer}/tsne"], arrays[f"{run.layer}/ids"]
    if not np.ptp(coords):  # none was drawn
        return None
    where = {str(name): k for k, name in enumerate(part.ids)}
    assigned = found.assigned[[where[str(name)] for name in ids]]
    middle = centres(coords, assigned)
    return {
        "assigned": assigned.tolist(),
        "centres": [row.astype(float).tolist() if np.isfinite(row).all() else None for row in middle],
    }
