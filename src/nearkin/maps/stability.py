"""Is a t-SNE map honest? Whether its neighbourhoods survive another seed, and whether it shows the real entanglement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import ConfigError, DataError
from nearkin.evaluate.entanglement import mixing_matrix
from nearkin.maps.maps import K, preservation, why_no_map
from nearkin.maps.tsne import perplexity_of, tsne
from nearkin.search.exact import knn
from nearkin.vectors import sample_rows

STARTS = ("pca", "random")
MAX_IMAGES = 2000
_FEWEST = 8


@dataclass(frozen=True)
class MapsCompared:
    """Several maps of the same images, compared with each other and with the embedding.

    Attributes:
        start: how the maps began ("pca" or "random"), or another name for them.
        overlap: mean share of an image's k neighbours on one map that are so on another, over all pairs of maps, in [0, 1].
        lowest_overlap: of the two maps that agree least.
        preservation: mean share of the k neighbours in the embedding that stay so on a map, in [0, 1].
        mixing_correlation: Pearson correlation of the class-by-class mixing (shares of class b among the k neighbours of
            class a, a != b) in the embedding with that on a map, mean over maps: 1 means that the map shows which
            classes are entangled as it is. None without labels, with fewer than 3 classes, or where nothing mixes.
        purity: share of map neighbours of the image's own class, mean over maps; None without labels.
    """

    start: str
    overlap: float
    lowest_overlap: float
    preservation: float
    mixing_correlation: float | None
    purity: float | None


@dataclass(frozen=True)
class MapStability:
    """Attributes:
    n: images. k: neighbours compared. seeds: of the maps. chance: overlap of two unrelated maps, k / (n - 1).
    purity: share of neighbours in the embedding of the image's own class; None without labels.
    starts: maps that start from the PCA layout, as is usual, and maps that start at random.
    """

    n: int
    k: int
    seeds: tuple[int, ...]
    chance: float
    purity: float | None
    starts: tuple[MapsCompared, ...]


def map_stability(
    Z: NDArray[np.float32],
    labels: NDArray[np.int64] | None,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    k: int = K,
    starts: Sequence[str] = STARTS,
    max_images: int = MAX_IMAGES,
    n_jobs: int = -1,
) -> MapStability:
    """Draw t-SNE maps of at most ``max_images`` rows (a choice fixed by the first seed) of Z (N, D) and compare them.

    Neighbours in the embedding are by L2, as t-SNE's are.

    Args:
        labels: int64 (N,), -1 for unknown; None without labels.
    Raises:
        ConfigError: fewer than 2 different seeds, an unknown start, or k outside 1..n - 1.
        DataError: fewer than 8 rows or 2 dimensions, values that are not finite, or all rows the same.
    """
    if len(set(seeds)) < 2:
        raise ConfigError(f"stability needs at least 2 different seeds; got {list(seeds)}.")
    if not starts or not set(starts) <= set(STARTS):
        raise ConfigError(f"starts are {list(starts)}; legal: {', '.join(STARTS)}.")
    if len(Z) < _FEWEST or Z.shape[1] < 2:
        raise DataError(f"a map needs at least {_FEWEST} images and 2 dimensions; got {len(Z)} x {Z.shape[1]}.")
    pick = sample_rows(len(Z), max_images, seeds[0])
    part, some = Z[pick], None if labels is None else labels[pick]
    if not np.isfinite(part).all():
        raise DataError("the vectors hold values that are not finite; the run that made them diverged.")
    if reason := why_no_map(part):
        raise DataError(f"{reason}; there is no map.")
    shown = perplexity_of(len(part))
    compared = []
    for start in starts:
        maps = [tsne(part, seed=seed, perplexity=shown, n_jobs=n_jobs, initialization=start) for seed in seeds]
        compared.append(compare_maps(part, maps, some, k=k, start=start))
    near = knn(part, part, k, metric="l2", exclude_self=True)
    return MapStability(len(part), k, tuple(seeds), k / (len(part) - 1), _purity(near.indices, some), tuple(compared))


def compare_maps(
    Z: NDArray[np.float32],
    maps: Sequence[NDArray[np.float32]],
    labels: NDArray[np.int64] | None,
    *,
    k: int = K,
    start: str = "given",
) -> MapsCompared:
    """Compare at least 2 maps (N, 2) with each other and with Z (N, D). Raises ConfigError for k outside 1..N - 1."""
    high = knn(Z, Z, k, metric="l2", exclude_self=True)
    low = [knn(coords, coords, k, metric="l2", exclude_self=True) for coords in maps]
    overlaps = [preservation(a, b) for a, b in combinations(low, 2)]
    correlations, purities = [], []
    if labels is not None and (labels >= 0).any():
        known = np.flatnonzero(labels >= 0)
        if len(known) > k:
            real = _mixing(Z[known], labels[known], k)
            correlations = [_correlation(real, _mixing(coords[known], labels[known], k)) for coords in maps]
        purities = [_purity(item.indices, labels) for item in low]
    found = [value for value in correlations if value is not None]
    return MapsCompared(
        start,
        float(np.mean(overlaps)),
        float(np.min(overlaps)),
        float(np.mean([preservation(high, item) for item in low])),
        float(np.mean(found)) if found else None,
        float(np.mean([value for value in purities if value is not None])) if purities else None,
    )


def _mixing(points: NDArray[np.float32], labels: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    near = knn(points, points, k, metric="l2", exclude_self=True)
    return mixing_matrix(near, labels, int(labels.max()) + 1)


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    """Pearson correlation of the entries off the diagonal: with it, mere purity would count as likeness."""
    off = ~np.eye(len(a), dtype=bool)
    present = a.sum(axis=1) > 0  # classes without images have no entry
    off &= np.outer(present, present)
    x, y = a[off], b[off]
    if len(x) < 3 or x.std() < 1e-12 or y.std() < 1e-12:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def _purity(near: NDArray[np.int64], labels: NDArray[np.int64] | None) -> float | None:
    if labels is None or not (labels >= 0).any():
        return None
    known = labels >= 0
    return float((labels[near[known]] == labels[known][:, None]).mean())
