"""Computations on one space: maps (a study's own, PCA at once, t-SNE on request), neighbours, and scores."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.anomalies.detectors import mean_distance
from nearkin.clusters.kmeans import checked, kmeans
from nearkin.errors import DataError
from nearkin.explore.columns import Column
from nearkin.explore.spaces import Say, Space
from nearkin.fileio import as_object, read_object
from nearkin.maps.maps import draw_maps, pca, why_no_map
from nearkin.maps.tsne import tsne_of_rows
from nearkin.retrieval.hubs import occurrence
from nearkin.search.exact import Neighbors, farthest, knn, unit_rows
from nearkin.vectors import sample_rows

MOST_TSNE = 10_000  # as 'nearkin map' does
_JUDGED = 4000  # images up to which the quality of a map is measured at once
NAMES = {"tsne": "t-SNE", "pca": "PCA", "table": "from the table"}


@dataclass(frozen=True)
class PointMap:
    """Attributes:
    coords: float32 (N, 2) within [-1, 1], NaN for images that are not on the map.
    note: what it is and how far to trust it, in words.
    """

    coords: NDArray[np.float32]
    note: str


def fitted(coords: NDArray[np.float32]) -> NDArray[np.float32]:
    """Both axes by one scale into [-1, 1], the middle at 0; rows with a value that is not finite become NaN."""
    out = coords.astype(np.float64)
    bad = ~np.isfinite(out).all(axis=1)
    out[bad] = np.nan
    if bad.all():
        return out.astype(np.float32)
    low, high = np.nanmin(out, axis=0), np.nanmax(out, axis=0)
    span = float((high - low).max()) or 1.0
    return np.asarray(1.9 * (out - (low + high) / 2) / span, dtype=np.float32)


def _quality(trust: Any, kept: Any) -> str:
    if not isinstance(trust, int | float) or not isinstance(kept, int | float):
        return ""
    return f"trustworthiness {trust:.2f}, {100 * kept:.0f} % of the nearest neighbours kept"


def stored_maps(space: Space) -> dict[str, PointMap]:
    """The maps that a study saved with the run (of test images), by kind. Raises DataError when they are damaged."""
    run = space.run
    if run is None:
        return {}
    layer = space.layer or space.file.stem
    evaluation = read_object(run.evaluation_file) if run.evaluation_file.exists() else {}
    judged = as_object(as_object(as_object(evaluation.get("layers")).get(layer)).get("maps"))
    out = {}
    for kind in ("tsne", "pca"):
        numbers = as_object(judged.get(kind))
        drawn = None if numbers.get("skipped") else run.map(layer, kind)
        if drawn is None:
            continue
        where = {str(name): k for k, name in enumerate(drawn[0].tolist())}
        rows = np.array([where.get(name, -1) for name in space.embeddings.ids.tolist()], dtype=np.int64)
        if (rows < 0).all():
            continue
        coords = np.where((rows < 0)[:, None], np.nan, drawn[1][np.maximum(rows, 0)])
        words = _quality(numbers.get("trustworthiness"), numbers.get("preservation"))
        shown = int((rows >= 0).sum())
        part = "" if shown == len(rows) else f"{shown:,} of {len(rows):,} images"
        out[kind] = PointMap(fitted(coords.astype(np.float32)), "; ".join(text for text in (part, words) if text))
    return out


def pca_map(space: Space, *, seed: int = 0) -> PointMap:
    """PCA of all images; an embedding without one (collapsed, too few images) gets a line of points and a note."""
    Z = space.embeddings.Z
    if len(Z) <= _JUDGED:
        pca_map = draw_maps(Z, None, seed=seed, kinds=("pca",))["pca"]
        if pca_map.skipped:
            return _no_map(len(Z), pca_map.skipped)
        share = 100 * sum(pca_map.explained or ())
        words = _quality(pca_map.trustworthiness, pca_map.preservation)
        return PointMap(fitted(pca_map.coords), f"{share:.0f} % of the variance; {words}".rstrip("; "))
    if reason := why_no_map(Z):
        return _no_map(len(Z), reason)
    coords, explained = pca(Z, seed=seed)
    return PointMap(fitted(coords), f"{100 * sum(explained):.0f} % of the variance")


def tsne_map(space: Space, *, seed: int, say: Say) -> PointMap:
    """t-SNE as 'nearkin map' draws it: of at most 10,000 images (a seeded choice), others placed on it; says how long it took."""
    Z = space.embeddings.Z
    rows = sample_rows(len(Z), MOST_TSNE, seed)
    say(f"t-SNE of {len(rows):,} images by {space.title}; this takes a while")
    start = time.monotonic()
    if len(rows) <= _JUDGED:
        drawing = draw_maps(Z[rows], None, seed=seed, kinds=("tsne",))["tsne"]
        if drawing.skipped:
            return _no_map(len(Z), drawing.skipped)
        drawn, words = drawing.coords, _quality(drawing.trustworthiness, drawing.preservation)
    elif reason := why_no_map(Z[rows]):
        return _no_map(len(Z), reason)
    else:
        drawn, words = tsne_of_rows(Z, rows, seed=seed, perplexity=30.0), ""
    say(f"t-SNE of {space.title}: {time.monotonic() - start:.0f} s")
    part = "" if len(rows) == len(Z) else f"{len(rows):,} of {len(Z):,} images, the others placed among them"
    return PointMap(fitted(drawn), "; ".join(text for text in (part, words) if text))


def _no_map(n: int, reason: str) -> PointMap:
    return PointMap(np.stack([np.linspace(-0.9, 0.9, n), np.zeros(n)], axis=1).astype(np.float32), f"no map: {reason}")


_CHUNK = 2048  # rows whose differences fit into a core's cache


@dataclass(frozen=True)
class Nearest:
    """Nearest and farthest images of one query: rows int64 (k,) and cosine distances float32 (k,), best first."""

    near: NDArray[np.int64]
    near_distance: NDArray[np.float32]
    far: NDArray[np.int64]
    far_distance: NDArray[np.float32]

    def to_dict(self) -> dict[str, list[list[float]]]:
        """JSON-able: {"near": [[row, distance], ...], "far": ...}."""

        def pairs(rows: NDArray[np.int64], distance: NDArray[np.float32]) -> list[list[float]]:
            return [[int(row), round(float(value), 6)] for row, value in zip(rows, distance, strict=True)]

        return {"near": pairs(self.near, self.near_distance), "far": pairs(self.far, self.far_distance)}


class Finder:
    """Search among the vectors Z, float32 (N, D), by cosine distance. Zero vectors have no direction: distance 1 / 2."""

    def __init__(self, Z: NDArray[np.float32]) -> None:
        self.unit = unit_rows(Z)

    def of_row(self, row: int, near: int, far: int) -> Nearest:
        """Of image ``row``, itself left out."""
        return self._find(self.unit[row], row, near, far)

    def of_vector(self, z: NDArray[np.float32], near: int, far: int) -> Nearest:
        """Of a new vector (D,). Raises DataError when its width differs or it is not finite."""
        if z.shape != self.unit.shape[1:] or not np.isfinite(z).all():
            raise DataError(
                f"a query of shape {z.shape} cannot be compared with vectors of {self.unit.shape[1]} numbers."
            )
        return self._find(unit_rows(z[None])[0], -1, near, far)

    def _find(self, query: NDArray[np.float32], own: int, near: int, far: int) -> Nearest:
        # Differences, not dot products: in a nearly collapsed space all cosines round to the same float32.
        distance = np.empty(len(self.unit), dtype=np.float32)
        for start in range(0, len(self.unit), _CHUNK):
            gap = self.unit[start : start + _CHUNK] - query
            distance[start : start + _CHUNK] = np.einsum("nd,nd->n", gap, gap) / 2
        rows = np.delete(np.arange(len(distance)), own) if own >= 0 else np.arange(len(distance))
        order = rows[np.argsort(distance[rows], kind="stable")]
        first, last = order[:near], order[::-1][:far]
        return Nearest(first, distance[first], last, distance[last])


def all_neighbours(Z: NDArray[np.float32], near: int, far: int) -> tuple[Neighbors, Neighbors]:
    """Nearest and farthest images of every row, by cosine distance; fewer where there are fewer images."""
    most = len(Z) - 1
    nearest = knn(Z, Z, min(near, most), exclude_self=True)
    return nearest, farthest(Z, Z, min(far, most), exclude_self=True)


K = 10
_LONG = 2e10  # products of vectors, about a second of work
SCORES = {
    "hubness": f"hubness (lists of {K} nearest)",
    "anomaly": "anomaly score (2 nearest)",
    "cluster": "cluster (k-means)",
}


def compute_score(name: str, space: Space, say: Say) -> Column:
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
    neighbors = knn(Z, Z, 2, metric="l2", exclude_self=True)
    return Column(name, mean_distance(neighbors, 2).astype(np.float32))


def _cluster(space: Space) -> Column:
    made = space.embeddings
    k = min(max(2, len(made.classes) or 10), 40, len(made))
    assigned = kmeans(checked(made.Z, "l2"), k, starts=1)
    names = tuple(f"cluster {number}" for number in range(int(assigned.max()) + 1))
    return Column("cluster", assigned.astype(np.float32), names)
