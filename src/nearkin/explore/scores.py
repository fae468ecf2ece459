"""Scores of a space that are computed on request: hubness, anomaly score, clusters."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from nearkin.anomalies.detectors import mean_distance
from nearkin.clusters.kmeans import checked, kmeans
from nearkin.errors import DataError
from nearkin.explore.columns import Column
from nearkin.explore.sources import Say, Space
from nearkin.retrieval.hubs import occurrence
from nearkin.search.exact import knn

K = 10
_LONG = 2e10  # products of vectors, about a second of work
SCORES = {
    "hubness": f"hubness (lists of {K} nearest)",
    "anomaly": "anomaly score (2 nearest)",
    "cluster": "cluster (k-means)",
}


def compute(name: str, space: Space, say: Say) -> Column:
    """One of :data:`SCORES` for all images of a space. Raises DataError where the vectors allow none."""
    Z = space.embeddings.Z
    long = len(Z) ** 2 * Z.shape[1] > _LONG
    if long:
        say(f"{name} of {len(Z):,} images by {space.title}; this takes a while")
    start = time.monotonic()
    column = _cluster(space) if name == "cluster" else _neighbour_score(name, Z)
    if long:
        say(f"{name} of {space.title}: {time.monotonic() - start:.0f} s")
    return column


def _neighbour_score(name: str, Z: NDArray[np.float32]) -> Column:
    if len(Z) < 3:
        raise DataError(f"{len(Z)} images are too few for neighbours.")
    if name == "hubness":
        lists = knn(Z, Z, min(K, len(Z) - 1), exclude_self=True).indices
        return Column(name, occurrence(lists, len(Z)).astype(np.float32))
    found = knn(Z, Z, 2, metric="l2", exclude_self=True)
    return Column(name, mean_distance(found, 2).astype(np.float32))


def _cluster(space: Space) -> Column:
    made = space.embeddings
    k = min(max(2, len(made.classes) or 10), 40, len(made))
    assigned = kmeans(checked(made.Z, "l2"), k, starts=1)
    names = tuple(f"cluster {number}" for number in range(int(assigned.max()) + 1))
    return Column("cluster", assigned.astype(np.float32), names)
