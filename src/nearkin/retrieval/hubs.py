"""Hubs: images that are everybody's neighbours, images that are nobody's, and the few that are farthest from all.

In many dimensions some images (hubs) stand in very many lists of nearest neighbours and many (anti-hubs) in none; see
occurrence.py for the measures. The same count over lists of the k farthest images tells whether every query has the same
few farthest images; its correlation with the distance from the mean tells whether they are merely the outermost ones.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, DataError
from nearkin.retrieval.hub_remedies import K_LOCAL, REMEDIES, distance_moments, rescale
from nearkin.retrieval.occurrence import HUB_SIZE, Occurrence, occurrence, summarise
from nearkin.retrieval.precision import Precision, precision_at_k
from nearkin.retrieval.retrieval import label_of
from nearkin.search.exact import Neighbors, farthest, knn, unit_rows

K = 10
CANDIDATES = 200
LISTED = 20


@dataclass(frozen=True)
class Listed:
    """An image among the most extreme.

    Attributes:
        count: number of lists it stands in.
        percentile: of its distance from the mean of the vectors, in [0, 1]; 1 = farthest out.
        pixel_percentile: the same for pixels and the mean image; None without pixels.
    """

    id: str
    row: int
    label: str | None
    count: int
    percentile: float
    pixel_percentile: float | None


@dataclass(frozen=True)
class Remedy:
    """What a rescaled distance changes; ``precision`` is None without labels."""

    nearest: Occurrence
    precision: Precision | None


@dataclass(frozen=True)
class Hubness:
    """Attributes:
    nearest, farthest: of the lists of k nearest and k farthest. distances as in :class:`nearkin.search.exact.Neighbors`.
    correlations: Spearman's rank correlation of "nearest" and "farthest" counts with the distance from the "mean" of the
        vectors and from the "pixel mean", e.g. "farthest/mean", in [-1, 1]; None where a side is constant.
    percentiles: mean percentile of those distances over all places of the lists, same keys, in [0, 1]: 0.5 where the lists
        do not care, near 1 where they hold the outermost images. Unlike a rank correlation it is not weakened by the many
        images that appear never.
    composition: share of each class among "all" images, "hubs", "anti-hubs" and the places of the "farthest" lists;
        empty without labels.
    hubs, antihubs, farthest_images: the most extreme, at most 20 each; anti-hubs by distance from the mean.
    remedies: "none" first, then each remedy on ``candidates`` nearest neighbours.
    k_occurrence, farthest_occurrence: int64 (N,), the counts.
    note: why the numbers mean nothing (identical vectors), or None.
    """

    n: int
    k: int
    metric: str
    candidates: int
    nearest: Occurrence
    farthest: Occurrence
    correlations: dict[str, float | None]
    percentiles: dict[str, float]
    composition: dict[str, dict[str, float]]
    hubs: tuple[Listed, ...]
    antihubs: tuple[Listed, ...]
    farthest_images: tuple[Listed, ...]
    remedies: dict[str, Remedy]
    k_occurrence: NDArray[np.int64]
    farthest_occurrence: NDArray[np.int64]
    note: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, without the counts of every image."""
        out = asdict(self)
        del out["k_occurrence"], out["farthest_occurrence"]
        return out


def hubness(
    embeddings: Embeddings,
    *,
    k: int = K,
    metric: str = "cosine",
    candidates: int = CANDIDATES,
    k_local: int = K_LOCAL,
    pixels: NDArray[Any] | None = None,
    near: Neighbors | None = None,
    seed: int = 0,
) -> Hubness:
    """Measure hubs among all images of ``embeddings``, and what each remedy does about them.

    Args:
        candidates: neighbours per image that the remedies sort again (at most N - 1 are used).
        k_local: K of the local remedies (at most as many as candidates). pixels: (N, ...), any numbers, for distances from the mean image.
        near: the nearest of every image, itself left out, where they are known already: at least as many as candidates.
        seed: of the sample that estimates mutual proximity's means and variances.
    Raises:
        ConfigError: unknown metric, k outside 1..N-1, fewer candidates than k.
        DataError: fewer than 2 images, values that are not finite, pixels of another number of images.
    """
    n = len(embeddings)
    if pixels is not None and len(pixels) != n:
        raise DataError(f"hubness: pixels of {len(pixels)} images for {n} vectors.")
    if candidates < k:
        raise ConfigError(f"candidates is {candidates}; it must be at least k = {k}.")
    Z = embeddings.Z
    wanted = max(k, min(candidates, n - 1))
    found = knn(Z, Z, wanted, metric=metric, exclude_self=True) if near is None else near.first(wanted)
    far = farthest(Z, Z, k, metric=metric, exclude_self=True)
    near_counts, far_counts = occurrence(found.first(k).indices, n), occurrence(far.indices, n)
    # For cosine the vectors live on the sphere: the mean that matters is that of the directions.
    out = distance_from_mean(unit_rows(Z) if metric == "cosine" else Z)
    places = {"mean": out} | ({} if pixels is None else {"pixel mean": distance_from_mean(pixels)})
    sides = {
        f"{name}/{place}": (counts, values)
        for name, counts in (("nearest", near_counts), ("farthest", far_counts))
        for place, values in places.items()
    }

    def listed(rows: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[Listed, ...]:
        return _listed(embeddings, rows[:LISTED], counts, {name: _percentiles(v) for name, v in places.items()})

    most, antihubs = _by(-near_counts), np.flatnonzero(near_counts == 0)
    identical = not np.ptp(Z, axis=0).any()
    return Hubness(
        n=n,
        k=k,
        metric=metric,
        candidates=found.indices.shape[1],
        nearest=summarise(near_counts, k),
        farthest=summarise(far_counts, k),
        correlations={name: _spearman(*side) for name, side in sides.items()},
        percentiles={
            name: float(np.average(_percentiles(values), weights=counts)) for name, (counts, values) in sides.items()
        },
        composition=_composition(embeddings, near_counts, far_counts, k),
        hubs=listed(most[near_counts[most] > HUB_SIZE * k], near_counts),
        antihubs=listed(antihubs[_by(-out[antihubs])], near_counts),
        farthest_images=listed(_by(-far_counts)[: int((far_counts > 0).sum())], far_counts),
        remedies=_remedies(embeddings, found, k, metric, k_local, seed),
        k_occurrence=near_counts,
        farthest_occurrence=far_counts,
        note=f"all {n} vectors are identical: the order of neighbours is arbitrary" if identical else None,
    )


def distance_from_mean(values: NDArray[Any], *, chunk: int = 4096) -> NDArray[np.float64]:
    """Euclidean distance of each of N arrays (N, ...) from their mean: float64 (N,)."""
    flat = values.reshape(len(values), -1)
    mean = flat.mean(axis=0, dtype=np.float64)
    parts = [np.linalg.norm(flat[i : i + chunk] - mean, axis=1) for i in range(0, len(flat), chunk)]
    return np.concatenate(parts)


def _by(key: NDArray[Any]) -> NDArray[np.int64]:
    return np.argsort(key, kind="stable")


def _spearman(a: NDArray[Any], b: NDArray[Any]) -> float | None:
    from nearkin.evaluate.stats import spearman  # imports scipy, which is slow to load

    # Distances that differ by rounding only have no order worth a correlation.
    return None if np.ptp(b) <= 1e-6 * np.abs(b).max() else spearman(a, b)


def _percentiles(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of images with a smaller value, equal ones counting half: (N,), in [0, 1]."""
    from scipy.stats import rankdata

    ranks: NDArray[np.float64] = rankdata(values)
    return (ranks - 0.5) / len(values)


def _listed(
    embeddings: Embeddings,
    rows: NDArray[np.int64],
    counts: NDArray[np.int64],
    percentiles: dict[str, NDArray[np.float64]],
) -> tuple[Listed, ...]:
    pixels = percentiles.get("pixel mean")
    return tuple(
        Listed(
            str(embeddings.ids[row]),
            int(row),
            label_of(embeddings, int(row)),
            int(counts[row]),
            float(percentiles["mean"][row]),
            None if pixels is None else float(pixels[row]),
        )
        for row in rows
    )


def _composition(
    embeddings: Embeddings, near: NDArray[np.int64], far: NDArray[np.int64], k: int
) -> dict[str, dict[str, float]]:
    labels = embeddings.labels
    if labels is None or not (labels >= 0).any():
        return {}
    known = labels >= 0
    weights = {"all": np.ones(len(near)), "hubs": near > HUB_SIZE * k, "anti-hubs": near == 0, "farthest": far}
    out: dict[str, dict[str, float]] = {}
    for name, weight in weights.items():
        sums = np.bincount(labels[known], weights=weight[known], minlength=len(embeddings.classes))
        if sums.sum() > 0:
            out[name] = {c: float(s / sums.sum()) for c, s in zip(embeddings.classes, sums, strict=True)}
    return out


def _remedies(
    embeddings: Embeddings, found: Neighbors, k: int, metric: str, k_local: int, seed: int
) -> dict[str, Remedy]:
    n = len(embeddings)
    k_local = min(k_local, found.indices.shape[1])
    moments = distance_moments(embeddings.Z, metric=metric, seed=seed)

    def measured(lists: Neighbors) -> Remedy:
        first = lists.first(k)
        precision = None
        if embeddings.labels is not None:
            precision = precision_at_k(first, embeddings.labels, embeddings.labels, embeddings.classes, True)
        return Remedy(summarise(occurrence(first.indices, n), k), precision)

    out = {"none": measured(found)}
    for remedy in REMEDIES:
        out[remedy] = measured(rescale(found, remedy, k_local=k_local, moments=moments))
    return out
