"""Two-dimensional maps of an embedding, each with a measure of its honesty."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from nearkin.evaluate.evaluation import MapScores
from nearkin.fileio import LEFT_OUT
from nearkin.maps.tsne import perplexity_of, tsne, tsne_of_rows
from nearkin.search.exact import Neighbors, knn

KINDS = ("pca", "tsne")
K = 15  # neighbours compared between the embedding and the map
_PURITY_K = 10


@dataclass(frozen=True)
class Map(MapScores):
    """A map and what it keeps. coords: float32 (N, 2), all 0 where there is none (``skipped`` says why)."""

    coords: NDArray[np.float32] = field(kw_only=True, metadata=LEFT_OUT)

    @property
    def scores(self) -> MapScores:
        """The scores of the map, without the coordinates."""
        return MapScores(self.explained, self.trustworthiness, self.preservation, self.purity, self.skipped)


def trustworthiness(Z: NDArray[np.float32], *maps: Neighbors, chunk: int = 500) -> list[float]:
    """1 - penalty for map neighbours that are far away in Z (N, D), weighted by their rank there; one value per map.

    ``maps`` are the self-excluded neighbours (N, k) on each map. Exact, by chunks of rows, so that no N x N matrix exists;
    the distances (L2 in Z), which cost most where D is large, serve all maps. Needs k < N / 2.
    """
    n = len(Z)
    # Centred, because |b|^2 - 2ab in float32 would lose the order inside a tiny cloud far from zero.
    Z = Z - Z.mean(axis=0, dtype=np.float64).astype(np.float32)
    squared = np.square(Z).sum(axis=1)
    penalties = [0.0] * len(maps)
    for start in range(0, n, chunk):
        rows = slice(start, min(start + chunk, n))
        distance = squared[None] - 2 * Z[rows] @ Z.T  # plus |z_i|^2, which changes no rank
        own = np.arange(rows.start, rows.stop)
        distance[np.arange(len(own)), own] = -np.inf
        to_map = [np.take_along_axis(distance, near.indices[rows], axis=1) for near in maps]
        distance.sort(axis=1)
        for m, wanted in enumerate(to_map):
            k = wanted.shape[1]
            for row, values in zip(distance, wanted, strict=True):  # the point itself counts as rank 0
                penalties[m] += float(np.maximum(np.searchsorted(row, values) - k, 0).sum())
    sizes = [near.indices.shape[1] for near in maps]
    return [1 - p * 2 / (n * k * (2 * n - 3 * k - 1)) for p, k in zip(penalties, sizes, strict=True)]


def preservation(high: Neighbors, low: Neighbors) -> float:
    """Mean overlap of two lists of neighbours (N, k)."""
    shared = (high.indices[:, :, None] == low.indices[:, None, :]).any(axis=2)  # a list names no image twice
    return float(shared.mean())


def _judge(
    Z: NDArray[np.float32],
    high: Neighbors,
    drawn: dict[str, tuple[NDArray[np.float32], tuple[float, ...] | None]],
    labels: NDArray[np.int64] | None,
) -> dict[str, Map]:
    """Maps by kind, from their coordinates and explained variance."""
    k = high.indices.shape[1]
    wide = max(k, min(_PURITY_K, len(Z) - 1))
    low = {name: knn(xy, xy, wide, metric="l2", exclude_self=True) for name, (xy, _) in drawn.items()}
    trust: list[float] | list[None] = [None] * len(low)
    if 2 * k < len(Z):
        trust = trustworthiness(Z, *(near.first(k) for near in low.values()))
    out = {}
    for (name, (coords, explained)), trusted in zip(drawn.items(), trust, strict=True):
        near, purity = low[name], None
        if labels is not None and (labels >= 0).any():
            known = labels >= 0
            same = labels[near.indices[:, :_PURITY_K]][known] == labels[known][:, None]
            purity = float(same.mean())
        out[name] = Map(explained, trusted, preservation(high, near.first(k)), purity, coords=coords)
    return out


def _skipped(n: int, reason: str) -> Map:
    return Map(None, None, None, None, reason, coords=np.zeros((n, 2), dtype=np.float32))


def why_no_map(Z: NDArray[np.float32]) -> str | None:
    """Why Z (N, D) has no map, or None: fewer than 8 images or 2 dimensions, or constant up to rounding."""
    n, d = Z.shape
    if n < 8 or d < 2:
        return f"a map needs at least 8 images and 2 dimensions; got {n} x {d}"
    if not float(Z.std(axis=0, dtype=np.float64).max()) > 1e-6 * max(1e-12, float(np.abs(Z).max())):
        return "all vectors are the same"
    return None


def pca(Z: NDArray[np.float32], *, seed: int) -> tuple[NDArray[np.float32], tuple[float, ...]]:
    """Two principal components by scikit-learn, signs fixed: coordinates float32 (N, 2), shares of variance."""
    from sklearn.decomposition import PCA

    model = PCA(2, svd_solver="covariance_eigh" if Z.shape[1] <= 1000 else "randomized", random_state=seed)
    flat = model.fit_transform(Z - Z.mean(axis=0)).astype(np.float32)
    flat *= np.where(np.abs(model.components_).max(axis=1) == model.components_.max(axis=1), 1, -1).astype(np.float32)
    return flat, tuple(float(share) for share in model.explained_variance_ratio_)


def draw_maps(
    Z: NDArray[np.float32],
    labels: NDArray[np.int64] | None,
    *,
    seed: int = 0,
    n_jobs: int = -1,
    kinds: tuple[str, ...] = KINDS,
) -> dict[str, Map]:
    """PCA and t-SNE of Z (N, D), or the ``kinds`` of them asked for, each judged by the neighbours it keeps.

    PCA: scikit-learn, signs fixed. t-SNE: openTSNE (PCA initialisation, L2, perplexity at most N / 4, exact neighbours).
    An embedding that is constant up to rounding, or with fewer than 8 images, has no map: ``skipped`` says so.
    """
    n = len(Z)
    if reason := why_no_map(Z):
        return {name: _skipped(n, reason) for name in kinds}
    high = knn(Z, Z, min(K, n - 1), metric="l2", exclude_self=True)
    drawn: dict[str, tuple[NDArray[np.float32], tuple[float, ...] | None]] = {}
    if "pca" in kinds:
        drawn["pca"] = pca(Z, seed=seed)
    if "tsne" in kinds:
        drawn["tsne"] = tsne(Z, seed=seed, perplexity=perplexity_of(n), n_jobs=n_jobs), None
    return _judge(Z, high, drawn, labels)


def draw_of_part(
    Z: NDArray[np.float32],
    labels: NDArray[np.int64] | None,
    rows: NDArray[np.int64],
    *,
    kind: str,
    seed: int = 0,
) -> Map:
    """One map of all Z (N, D), of which t-SNE is fitted on ``rows`` (n,), ascending, and the others are placed on that map.

    The map is judged by those rows among themselves. PCA is fitted on all. Labels and what has no map: as in :func:`draw_maps`.
    """
    part = Z[rows]
    if reason := why_no_map(part):
        return _skipped(len(Z), reason)
    explained = None
    if kind == "pca":
        coords, explained = pca(Z, seed=seed)
    else:
        coords = tsne_of_rows(Z, rows, seed=seed, perplexity=perplexity_of(len(rows)))
    high = knn(part, part, min(K, len(rows) - 1), metric="l2", exclude_self=True)
    known = None if labels is None else labels[rows]
    return replace(_judge(part, high, {kind: (coords[rows], explained)}, known)[kind], coords=coords)
