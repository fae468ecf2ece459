"""t-SNE by openTSNE, with exact neighbours and the cheaper of its two gradients at each step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.search.exact import knn
from nearkin.system import available_cores

COMPONENTS = 50  # principal components that the map is made from, as is usual
# Barnes and Hut's angle: on a grown map about as exact as interpolation, which openTSNE would take from 10,000 points on, in
# a fraction of its time (benchmarks/gradients.py).
THETA = 0.7
PERPLEXITY = 30.0
_LEAST_SIDE = 50  # intervals that the interpolation's grid has on a small map, too


def perplexity_of(n: int) -> float:
    """The perplexity for a map of n images: 30, but at most (n - 1) / 4."""
    return min(PERPLEXITY, (n - 1) / 4)


def tsne(
    Z: NDArray[np.float32], *, seed: int, perplexity: float, n_jobs: int = -1, initialization: str = "pca"
) -> NDArray[np.float32]:
    """t-SNE of Z (N, D), N >= 8, on at most 50 principal components (van der Maaten and Hinton 2008): float32 (N, 2).

    ``initialization`` is "pca" (seeds then share the coarse layout) or "random". The neighbours are exact.
    """
    model, _ = _fitted(Z, seed=seed, perplexity=perplexity, n_jobs=n_jobs, initialization=initialization)
    return np.asarray(model, dtype=np.float32)


def tsne_and_rest(
    Z: NDArray[np.float32], rest: NDArray[np.float32], *, seed: int, perplexity: float, n_jobs: int = -1
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """:func:`tsne` of Z (N, D), and ``rest`` (M, D) placed on that map, which stays: float32 (N, 2), (M, 2).

    Each of the rest starts at the median of its 25 nearest in Z and is moved by t-SNE's forces between it and Z alone
    (Policar, Strazar, Zupan: "Embedding to reference t-SNE space", 2021; openTSNE's ``transform``), so it cannot tear
    the map, nor form a group that Z does not have.
    """
    model, reduced = _fitted(Z, seed=seed, perplexity=perplexity, n_jobs=n_jobs, initialization="pca")
    coords = np.array(model, dtype=np.float32)
    if not len(rest):
        return coords, np.zeros((0, 2), dtype=np.float32)
    model.prepare_interpolation_grid()
    placed = np.asarray(model.transform(reduced(rest).astype(np.float64)))
    moved = coords[0] - np.asarray(model[0])  # both calls centre the map at 0
    return coords, np.asarray(placed + moved, dtype=np.float32)


def tsne_of_rows(
    Z: NDArray[np.float32], rows: NDArray[np.int64], *, seed: int, perplexity: float
) -> NDArray[np.float32]:
    """:func:`tsne_and_rest` of the ``rows`` (n,), ascending, of Z (N, D) and of all others, in the order of Z: float32 (N, 2)."""
    others = np.setdiff1d(np.arange(len(Z)), rows)
    coords = np.empty((len(Z), 2), dtype=np.float32)
    coords[rows], coords[others] = tsne_and_rest(Z[rows], Z[others], seed=seed, perplexity=perplexity)
    return coords


def _fitted(
    Z: NDArray[np.float32], *, seed: int, perplexity: float, n_jobs: int, initialization: str
) -> tuple[Any, Callable[[NDArray[np.float32]], NDArray[np.float32]]]:
    """openTSNE's embedding of Z, and its preprocessing as a function of vectors (M, D)."""
    import openTSNE
    from openTSNE.affinity import PerplexityBasedNN
    from openTSNE.nearest_neighbors import PrecomputedNeighbors
    from sklearn.decomposition import PCA

    scale, axes = Z.std(), None
    scaled = np.asarray(Z / scale, dtype=np.float32)
    if Z.shape[1] > COMPONENTS and len(Z) > COMPONENTS:
        axes = PCA(COMPONENTS, svd_solver="randomized", random_state=seed)
        scaled = axes.fit_transform(scaled)

    def reduced(more: NDArray[np.float32]) -> NDArray[np.float32]:
        of_scale = np.asarray(more / scale, dtype=np.float32)
        return of_scale if axes is None else np.asarray(axes.transform(of_scale), dtype=np.float32)

    class Exact(PrecomputedNeighbors):  # type: ignore[misc]
        """Neighbours computed before, and a search for the neighbours of new points."""

        def query(self, query: NDArray[np.float64], k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
            neighbors = knn(query.astype(np.float32), scaled, k, metric="l2")
            return neighbors.indices, neighbors.distances.astype(np.float64)

    # openTSNE counts the machine's cores; with more threads than usable cores, threads wait for each other.
    jobs = available_cores() if n_jobs < 0 else n_jobs
    near = knn(scaled, scaled, min(len(Z) - 1, int(3 * perplexity)), metric="l2", exclude_self=True)
    index = Exact(near.indices, near.distances.astype(np.float64))
    affinities = PerplexityBasedNN(knn_index=index, perplexity=perplexity, n_jobs=jobs)
    model = openTSNE.TSNE(
        initialization=initialization,
        random_state=seed,
        n_jobs=jobs,
        theta=THETA,
        negative_gradient_method=_gradient,
        verbose=False,
    )
    return model.fit(np.asarray(scaled, dtype=np.float64), affinities=affinities), reduced


def _gradient(embedding: NDArray[np.float64], *args: Any, **given: Any) -> Any:
    """openTSNE's gradient: interpolated while the map (N, 2) is small for its N, by Barnes and Hut after that.

    Interpolation costs the map's area, whatever N (and its FFT runs on one core); Barnes and Hut cost N log N. Beside a
    map that stays, interpolation is done once.
    """
    from openTSNE.tsne import kl_divergence_bh, kl_divergence_fft

    if given.get("reference_embedding") is not None:
        return kl_divergence_fft(embedding, *args, **given)
    side = max(_LEAST_SIDE, float(np.ptp(embedding, axis=0).max()))
    chosen = kl_divergence_fft if 2 * side * side < len(embedding) else kl_divergence_bh
    return chosen(embedding, *args, **given)
