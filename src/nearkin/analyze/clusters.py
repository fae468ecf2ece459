"""k-means clusters of an embedding, and how well they agree with classes."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

_SILHOUETTE_IMAGES = 5000
DEFAULT_CLUSTERS = 10


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


def matched_accuracy(assigned: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    """Share of images right under the best one-to-one matching of clusters to classes (Hungarian method)."""
    from scipy.optimize import linear_sum_assignment

    size = int(max(assigned.max(), labels.max())) + 1
    counts = np.zeros((size, size), dtype=np.int64)
    np.add.at(counts, (assigned, labels), 1)
    rows, columns = linear_sum_assignment(-counts)
    return float(counts[rows, columns].sum() / len(labels))


def _silhouette(Z: NDArray[np.float32], groups: NDArray[np.int64], seed: int) -> float | None:
    from sklearn.metrics import silhouette_score

    pick = np.random.default_rng(seed).permutation(len(Z))[:_SILHOUETTE_IMAGES]
    n_groups = len(np.unique(groups[pick]))
    if not 2 <= n_groups < len(pick):
        return None
    return float(silhouette_score(Z[pick], groups[pick]))


def cluster(
    Z: NDArray[np.float32], labels: NDArray[np.int64] | None, *, k: int = DEFAULT_CLUSTERS, seed: int = 0
) -> tuple[Clusters, NDArray[np.int64]]:
    """k-means (scikit-learn, 4 starts) of Z (N, D); returns the numbers and the assignment int64 (N,)."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    k = min(k, len(Z))
    with warnings.catch_warnings():
        # A collapsed embedding has fewer distinct points than clusters; the silhouette then says None.
        warnings.simplefilter("ignore", ConvergenceWarning)
        assigned = KMeans(k, n_init=4, random_state=seed).fit_predict(Z).astype(np.int64)
    silhouette = _silhouette(Z, assigned, seed)
    known = labels >= 0 if labels is not None else np.zeros(len(Z), dtype=bool)
    if labels is None or known.sum() < 2:
        return Clusters(k, silhouette, None, None, None, None), assigned
    a, b = assigned[known], labels[known]
    against = Clusters(
        k,
        silhouette,
        _silhouette(Z[known], b, seed),
        float(normalized_mutual_info_score(b, a)),
        float(adjusted_rand_score(b, a)),
        matched_accuracy(a, b),
    )
    return against, assigned
