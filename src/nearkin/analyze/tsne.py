"""t-SNE by openTSNE, with exact neighbours and the cheaper of its two gradients at each step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.cores import available_cores
from nearkin.neighbors import knn

COMPONENTS = 50  # principal components that the map is made from, as is usual
# Barnes and Hut's angle: on a grown map about as exact as interpolation, which openTSNE would take from 10,000 points on, in
# a fraction of its time (benchmarks/gradients.py).
THETA = 0.7
_LEAST_SIDE = 50  # intervals that the interpolation's grid has on a small map, too


def tsne(
    Z: NDArray[np.float32], *, seed: int, perplexity: float, n_jobs: int = -1, initialization: str = "pca"
) -> NDArray[np.float32]:
    """t-SNE of Z (N, D), N >= 8, on at most 50 principal components (van der Maaten and Hinton 2008): float32 (N, 2).

    ``initialization`` is "pca" (seeds then share the coarse layout) or "random". The neighbours are exact.
    """
    import openTSNE
    from openTSNE.affinity import PerplexityBasedNN
    from openTSNE.nearest_neighbors import PrecomputedNeighbors
    from sklearn.decomposition import PCA

    scaled = np.asarray(Z / Z.std(), dtype=np.float32)
    if Z.shape[1] > COMPONENTS and len(Z) > COMPONENTS:
        scaled = PCA(COMPONENTS, svd_solver="randomized", random_state=seed).fit_transform(scaled)
    # openTSNE would count the machine's cores, and more threads than cores wait for each other.
    jobs = available_cores() if n_jobs < 0 else n_jobs
    near = knn(scaled, scaled, min(len(Z) - 1, int(3 * perplexity)), metric="l2", exclude_self=True)
    index = PrecomputedNeighbors(near.indices, near.distances.astype(np.float64))
    affinities = PerplexityBasedNN(knn_index=index, perplexity=perplexity, n_jobs=jobs)
    model = openTSNE.TSNE(
        initialization=initialization,
        random_state=seed,
        n_jobs=jobs,
        theta=THETA,
        negative_gradient_method=_gradient,
        verbose=False,
    )
    return np.asarray(model.fit(np.asarray(scaled, dtype=np.float64), affinities=affinities), dtype=np.float32)


def _gradient(embedding: NDArray[np.float64], *args: Any, **given: Any) -> Any:
    """openTSNE's gradient: interpolated while the map (N, 2) is small for its N, by Barnes and Hut after that.

    Interpolation costs the map's area, whatever N (and its FFT runs on one core); Barnes and Hut cost N log N.
    """
    from openTSNE.tsne import kl_divergence_bh, kl_divergence_fft

    side = max(_LEAST_SIDE, float(np.ptp(embedding, axis=0).max()))
    chosen = kl_divergence_fft if 2 * side * side < len(embedding) else kl_divergence_bh
    return chosen(embedding, *args, **given)
