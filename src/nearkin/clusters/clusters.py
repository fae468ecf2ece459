"""Clusters of an embedding: found by k-means or HDBSCAN, judged alone and against classes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.clusters.cluster_summary import Cluster, describe
from nearkin.clusters.density import hdbscan
from nearkin.clusters.kmeans import ChosenK, checked, choose_k, kmeans, raw_kmeans
from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, unknown

ALGORITHMS = ("kmeans", "hdbscan")
DEFAULT_CLUSTERS = 10
AUTO = "auto"
# Kaufman and Rousseeuw (1990), table 4: below this, "no substantial structure has been found".
NO_STRUCTURE = 0.25
_SILHOUETTE_IMAGES = 5000


@dataclass(frozen=True)
class Clusters:
    """Attributes:
    k: number of clusters. silhouette: of the clusters, in [-1, 1] (at most 5,000 images, L2).
    class_silhouette, nmi, ari, accuracy (best one-to-one matching): against classes; None without labels.
    """

    k: int
    silhouette: float | None
    class_silhouette: float | None
    nmi: float | None
    ari: float | None
    accuracy: float | None

    def to_dict(self) -> dict[str, float | int | None]:
        """JSON-able."""
        return asdict(self)


@dataclass(frozen=True)
class Clustering:
    """Attributes:
    algorithm: "kmeans" or "hdbscan". metric: "l2" or "cosine".
    n: images. noise: share of images in no cluster (HDBSCAN), in [0, 1].
    numbers: silhouette of the clustered images; NMI and ARI with noise as one more cluster; accuracy with noise wrong.
    purity: share of clustered, labelled images that are of their cluster's largest class; None without labels.
    chosen: how k was chosen, or None where it was given.
    clusters: each cluster, the largest first.
    assigned: int64 (N,), the cluster of each row, -1 for noise.
    """

    algorithm: str
    metric: str
    n: int
    noise: float
    numbers: Clusters
    purity: float | None
    chosen: ChosenK | None
    clusters: tuple[Cluster, ...]
    assigned: NDArray[np.int64]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, without the assignment."""
        return {
            "algorithm": self.algorithm,
            "metric": self.metric,
            "n": self.n,
            "noise": self.noise,
            **self.numbers.to_dict(),
            "purity": self.purity,
            "chosen": self.chosen.to_dict() if self.chosen else None,
            "clusters": [item.to_dict() for item in self.clusters],
        }


def matched_accuracy(assigned: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    """Share of images right under the best one-to-one matching of clusters to classes (Hungarian method).

    Both int64 (N,), labels >= 0. Negative clusters (noise) count as wrong; so do clusters beyond the number of classes.
    """
    from scipy.optimize import linear_sum_assignment

    some = assigned >= 0
    size = int(max(assigned.max(), labels.max())) + 1
    counts = np.zeros((size, size), dtype=np.int64)
    np.add.at(counts, (assigned[some], labels[some]), 1)
    rows, columns = linear_sum_assignment(-counts)
    return float(counts[rows, columns].sum() / len(labels))


class _Silhouettes:
    """Silhouettes of several groupings of the same rows; the distances, which cost most, are computed once."""

    def __init__(self, Z: NDArray[np.float32], seed: int) -> None:
        self._Z, self._seed = Z, seed
        self._rows, self._distances = np.zeros(0, dtype=np.int64), np.zeros((0, 0), dtype=np.float32)

    def of(self, groups: NDArray[np.int64], some: NDArray[np.bool_]) -> float | None:
        """The silhouette of ``groups`` (N,) among the rows ``some`` (N,), at most 5,000 of them; None where undefined."""
        from sklearn.metrics import pairwise_distances, silhouette_score

        known = np.flatnonzero(some)
        rows = known[np.random.default_rng(self._seed).permutation(len(known))[:_SILHOUETTE_IMAGES]]
        if not 2 <= len(np.unique(groups[rows])) < len(rows):
            return None
        if not np.array_equal(rows, self._rows):
            self._rows, self._distances = rows, pairwise_distances(self._Z[rows])
        return float(silhouette_score(self._distances, groups[rows], metric="precomputed"))


def judge(
    Z: NDArray[np.float32], assigned: NDArray[np.int64], labels: NDArray[np.int64] | None, *, k: int, seed: int = 0
) -> Clusters:
    """Silhouette of an assignment int64 (N,) (-1: noise) of Z (N, D), and its agreement with labels (-1: unknown)."""
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    silhouettes = _Silhouettes(Z, seed)
    silhouette = silhouettes.of(assigned, assigned >= 0)
    known = labels >= 0 if labels is not None else np.zeros(len(Z), dtype=bool)
    if labels is None or known.sum() < 2:
        return Clusters(k, silhouette, None, None, None, None)
    a, b = assigned[known], labels[known]
    return Clusters(
        k,
        silhouette,
        silhouettes.of(labels, known),
        float(normalized_mutual_info_score(b, a)),
        float(adjusted_rand_score(b, a)),
        matched_accuracy(a, b),
    )


def cluster(
    Z: NDArray[np.float32], labels: NDArray[np.int64] | None, *, k: int = DEFAULT_CLUSTERS, seed: int = 0
) -> tuple[Clusters, NDArray[np.int64]]:
    """k-means (L2, 4 starts) of Z (N, D); returns the numbers and the assignment int64 (N,).

    For the evaluation of anything: k is at most N, and a collapsed embedding has no silhouette instead of an error.
    """
    k = min(k, len(Z))
    assigned = raw_kmeans(Z, k, seed=seed)
    return judge(Z, assigned, labels, k=k, seed=seed), assigned


def find_clusters(
    embeddings: Embeddings,
    *,
    algorithm: str = "kmeans",
    k: int | str = DEFAULT_CLUSTERS,
    metric: str = "l2",
    min_size: int | None = None,
    seed: int = 0,
    examples: int = 10,
) -> Clustering:
    """Cluster an embedding and describe every cluster.

    Args:
        k: for k-means, the number of clusters, or "auto": chosen by the silhouette. HDBSCAN finds its own.
        metric: "l2": as given. "cosine": rows scaled to length 1 first (everything below is then measured on them).
        min_size: for HDBSCAN, the smallest group that is a cluster.
        examples: most central and most borderline images listed per cluster.
    Raises:
        ConfigError: unknown algorithm or metric; k or min_size out of range.
        DataError: values that are not finite, all vectors the same, or zero vectors with "cosine".
    """
    if algorithm not in ALGORITHMS:
        raise unknown("algorithm", algorithm, ALGORITHMS)
    Z = checked(embeddings.Z, metric)
    chosen = None
    if algorithm == "hdbscan":
        assigned = hdbscan(Z, min_size=min_size, seed=seed)
    else:
        if isinstance(k, str):
            if k != AUTO:
                raise ConfigError(f"k is '{k}'; expected a whole number of at least 2, or 'auto'.")
            chosen = choose_k(Z, seed=seed)
            k = chosen.k
        assigned = kmeans(Z, k, seed=seed)
    found = int(assigned.max()) + 1
    labels, classes = embeddings.labels, embeddings.classes
    clusters = describe(Z, assigned, embeddings.ids, labels, classes, examples=examples)
    known = [item for item in clusters if item.majority is not None]
    labelled = sum(sum(item.composition.values()) for item in known)
    purity = sum(max(item.composition.values()) for item in known) / labelled if labelled else None
    return Clustering(
        algorithm,
        metric,
        len(Z),
        float((assigned < 0).mean()),
        judge(Z, assigned, labels, k=found, seed=seed),
        purity,
        chosen,
        clusters,
        assigned,
    )
