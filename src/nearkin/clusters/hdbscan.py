"""Density clusters of any shape, with noise: HDBSCAN."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nearkin.clusters.kmeans import by_size
from nearkin.errors import ConfigError

NOISE = -1
COMPONENTS = 50
MIN_SAMPLES = 5


def default_size(n: int) -> int:
    """The smallest group that counts as a cluster among n images: 0.5 % of them, at least 5."""
    return max(5, round(0.005 * n))


def hdbscan(
    Z: NDArray[np.float32], *, min_size: int | None = None, min_samples: int = MIN_SAMPLES, seed: int = 0
) -> NDArray[np.int64]:
    """HDBSCAN (Campello et al. 2013; scikit-learn) of Z (N, D) -> int64 (N,), -1 for noise.

    More than 50 dimensions are first brought to 50 by PCA: densities mean little in many dimensions. Clusters are
    numbered from the largest to the smallest. There may be none at all: then everything is noise.

    Args:
        min_size: smallest group that is a cluster, in 2..N. Default: 0.5 % of the images, at least 5.
        min_samples: neighbours (the image itself counts) that define density; more of them give more noise.
    Raises:
        ConfigError: ``min_size`` outside 2..N, or ``min_samples`` outside 1..N.
    """
    from sklearn.cluster import HDBSCAN
    from sklearn.decomposition import PCA

    n, d = Z.shape
    size = min(default_size(n), n) if min_size is None else min_size
    if not 2 <= size <= n:
        raise ConfigError(f"the smallest cluster size is {size}; with {n} images it must be between 2 and {n}.")
    samples = min(min_samples, n) if min_samples == MIN_SAMPLES else min_samples
    if not 1 <= samples <= n:
        raise ConfigError(f"min_samples is {samples}; with {n} images it must be between 1 and {n}.")
    points = (Z - Z.mean(axis=0)).astype(np.float64)
    if min(n, d) > COMPONENTS:
        points = PCA(COMPONENTS, svd_solver="randomized", random_state=seed).fit_transform(points)
    # A tree, not "brute": that one holds all N x N distances at once.
    model = HDBSCAN(min_cluster_size=size, min_samples=samples, algorithm="kd_tree", copy=True)
    return by_size(np.maximum(model.fit_predict(points).astype(np.int64), NOISE))
