"""Clusters of an embedding: found by k-means or HDBSCAN, judged alone and against classes, described, printed, drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nearkin.clusters.hdbscan import hdbscan
from nearkin.clusters.kmeans import ChosenK, checked, choose_k, kmeans, raw_kmeans
from nearkin.embeddings import Embeddings, as_embeddings
from nearkin.errors import ConfigError, DataError, unknown
from nearkin.evaluate.evaluation import ClusterScores
from nearkin.fileio import LEFT_OUT, MERGED
from nearkin.report.sheet import Row, Section, Thumbnail, write_sheet
from nearkin.vectors import sample_rows

if TYPE_CHECKING:
    from nearkin.data import ImageSet
    from nearkin.maps.maps import Map

ALGORITHMS = ("kmeans", "hdbscan")
DEFAULT_CLUSTERS = 10
AUTO = "auto"
# Kaufman and Rousseeuw (1990), table 4: below this, "no substantial structure has been found".
NO_STRUCTURE = 0.25
_SILHOUETTE_IMAGES = 5000
_CHUNK = 4096
_SHOWN_CLASSES = 3
_FLAT = 0.005  # silhouettes this close to the best one count as equal


@dataclass(frozen=True)
class Cluster:
    """One cluster and its members.

    Attributes:
        cluster: its number. size: its images. share: of all images, noise included, in [0, 1].
        margin: mean over its images of (b - a) / max(a, b), where a is the distance to its own centre and b to the nearest
            other one: the simplified silhouette (Hruschka et al. 2004), in [-1, 1]; None with one cluster.
        central: rows closest to the centre, closest first. borderline: rows with the smallest margin, smallest first.
        central_ids, borderline_ids: the same as ids.
        composition: images per class, most frequent first, classes that are absent left out; empty without labels.
        majority: the most frequent class; None without labels. majority_share: its share of the labelled images.
    """

    cluster: int
    size: int
    share: float
    margin: float | None
    central: tuple[int, ...]
    borderline: tuple[int, ...]
    central_ids: tuple[str, ...]
    borderline_ids: tuple[str, ...]
    composition: dict[str, int]
    majority: str | None
    majority_share: float | None


@dataclass(frozen=True)
class Clustering:
    """Clusters of an embedding, and how good they are.

    Attributes:
        algorithm: "kmeans" or "hdbscan". metric: "l2" or "cosine".
        n: images. noise: share of images in no cluster (HDBSCAN), in [0, 1].
        scores: silhouette of the clustered images; NMI and ARI with noise as one more cluster; accuracy with noise wrong.
        purity: share of clustered, labelled images that are of their cluster's largest class; None without labels.
        chosen: how k was chosen, or None where it was given.
        clusters: each cluster, the largest first.
        assigned: int64 (N,), the cluster of each row, -1 for noise; left out of JSON.
    """

    algorithm: str
    metric: str
    n: int
    noise: float
    scores: ClusterScores = field(metadata=MERGED)
    purity: float | None
    chosen: ChosenK | None
    clusters: tuple[Cluster, ...]
    assigned: NDArray[np.int64] = field(metadata=LEFT_OUT)


def cluster(
    embeddings: Embeddings | NDArray[Any],
    n_clusters: int | str = DEFAULT_CLUSTERS,
    *,
    algorithm: str = "kmeans",
    metric: str = "l2",
    min_cluster_size: int | None = None,
    examples: int = 10,
    random_state: int = 0,
) -> Clustering:
    """Cluster an embedding and describe every cluster.

    Args:
        embeddings: N vectors, as Embeddings or as an array (N, D).
        n_clusters: k, for k-means: a number in 2..N, or "auto": chosen by the silhouette. HDBSCAN finds its own.
        algorithm: "kmeans" or "hdbscan".
        metric: "l2": as given. "cosine": rows scaled to length 1 first (everything below is then measured on them).
        min_cluster_size: for HDBSCAN, the smallest group that is a cluster. Default: 0.5 % of the images, at least 5.
        examples: most central and most borderline images listed per cluster.
        random_state: seed of k-means and of the samples that silhouettes are measured on.
    Raises:
        ConfigError: unknown algorithm or metric; ``n_clusters`` or ``min_cluster_size`` out of range.
        DataError: values that are not finite, all vectors the same, or zero vectors with "cosine".
    """
    embeddings, k = as_embeddings(embeddings), n_clusters
    if algorithm not in ALGORITHMS:
        raise unknown("algorithm", algorithm, ALGORITHMS)
    Z = checked(embeddings.Z, metric)
    chosen = None
    if algorithm == "hdbscan":
        assigned = hdbscan(Z, min_size=min_cluster_size, seed=random_state)
    else:
        if isinstance(k, str):
            if k != AUTO:
                raise ConfigError(f"k is '{k}'; expected a whole number of at least 2, or 'auto'.")
            chosen = choose_k(Z, seed=random_state)
            k = chosen.k
        assigned = kmeans(Z, k, seed=random_state)
    labels, classes = embeddings.labels, embeddings.classes
    clusters = describe(Z, assigned, embeddings.ids, labels, classes, examples=examples)
    known = [item.composition for item in clusters if item.composition]
    labelled = sum(sum(composition.values()) for composition in known)
    return Clustering(
        algorithm=algorithm,
        metric=metric,
        n=len(Z),
        noise=float((assigned < 0).mean()),
        scores=judge(Z, assigned, labels, k=len(clusters), seed=random_state),
        purity=sum(max(composition.values()) for composition in known) / labelled if labelled else None,
        chosen=chosen,
        clusters=clusters,
        assigned=assigned,
    )


def kmeans_scores(
    Z: NDArray[np.float32], labels: NDArray[np.int64] | None, *, k: int = DEFAULT_CLUSTERS, seed: int = 0
) -> ClusterScores:
    """Scores of k-means (L2, 4 starts) of Z (N, D), for the evaluation of anything.

    k is at most N, and a collapsed embedding has no silhouette instead of an error.
    """
    k = min(k, len(Z))
    return judge(Z, raw_kmeans(Z, k, seed=seed), labels, k=k, seed=seed)


def judge(
    Z: NDArray[np.float32], assigned: NDArray[np.int64], labels: NDArray[np.int64] | None, *, k: int, seed: int = 0
) -> ClusterScores:
    """Silhouette of an assignment int64 (N,) (-1: noise) of Z (N, D), and its agreement with labels (-1: unknown)."""
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    silhouettes = _Silhouettes(Z, seed)
    silhouette = silhouettes.of(assigned, assigned >= 0)
    known = labels >= 0 if labels is not None else np.zeros(len(Z), dtype=bool)
    if labels is None or known.sum() < 2:
        return ClusterScores(k, silhouette, None, None, None, None)
    a, b = assigned[known], labels[known]
    return ClusterScores(
        k,
        silhouette,
        class_silhouette=silhouettes.of(labels, known),
        nmi=float(normalized_mutual_info_score(b, a)),
        ari=float(adjusted_rand_score(b, a)),
        accuracy=matched_accuracy(a, b),
    )


class _Silhouettes:
    """Silhouettes of several groupings of the same rows; the distances, which cost most, are computed once."""

    def __init__(self, Z: NDArray[np.float32], seed: int) -> None:
        self._Z, self._seed = Z, seed
        self._rows, self._distances = np.zeros(0, dtype=np.int64), np.zeros((0, 0), dtype=np.float32)

    def of(self, groups: NDArray[np.int64], some: NDArray[np.bool_]) -> float | None:
        """The silhouette of ``groups`` (N,) among the rows ``some`` (N,), at most 5,000 of them; None where undefined."""
        from sklearn.metrics import pairwise_distances, silhouette_score

        known = np.flatnonzero(some)
        rows = sample_rows(known, _SILHOUETTE_IMAGES, self._seed, shuffled=True)
        if not 2 <= len(np.unique(groups[rows])) < len(rows):
            return None
        if not np.array_equal(rows, self._rows):
            self._rows, self._distances = rows, pairwise_distances(self._Z[rows])
        return float(silhouette_score(self._distances, groups[rows], metric="precomputed"))


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


def centres(values: NDArray[np.float32], assigned: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mean of each cluster's rows, float32 (K, D), K = largest number + 1; a number without rows has NaN.

    On a map (N, 2) this is the mean position of the members. On a PCA map that is also where the centre itself falls,
    as PCA is linear; on a t-SNE map it is only a place for a sign, which may lie off every member.
    """
    k = int(assigned.max(initial=-1)) + 1
    sums, some = np.zeros((k, values.shape[1])), assigned >= 0
    np.add.at(sums, assigned[some], values[some])
    counts = np.bincount(assigned[some], minlength=k)[:, None]
    out: NDArray[np.float32] = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).astype(np.float32)
    return out


def to_centres(Z: NDArray[np.float32], assigned: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Distance of each row of Z (N, D) to its own cluster's centre, and its margin (see :class:`Cluster`).

    Both float32 (N,); NaN for noise. With one cluster all margins are NaN; a row that sits on both centres has 0.
    """
    own = np.full(len(Z), np.nan, dtype=np.float32)
    margin = own.copy()
    rows = np.flatnonzero(assigned >= 0)
    if not len(rows):
        return own, margin
    offset = Z.mean(axis=0)
    middle = centres(Z - offset, assigned)
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        points = Z[part] - offset
        squared = np.square(points).sum(axis=1)[:, None] - 2 * points @ middle.T + np.square(middle).sum(axis=1)
        distance = np.sqrt(np.maximum(squared, 0))
        at = np.arange(len(part)), assigned[part]
        own[part] = a = distance[at]
        if len(middle) > 1:
            distance[at] = np.inf
            b = distance.min(axis=1)
            margin[part] = (b - a) / np.maximum(np.maximum(a, b), np.finfo(np.float32).tiny)
    return own, margin


def describe(
    Z: NDArray[np.float32],
    assigned: NDArray[np.int64],
    ids: NDArray[np.str_],
    labels: NDArray[np.int64] | None,
    classes: tuple[str, ...],
    *,
    examples: int = 10,
) -> tuple[Cluster, ...]:
    """Describe each cluster 0, 1, ... of Z (N, D); rows with a negative number (noise) belong to none.

    Args:
        assigned: int64 (N,), every number up to the largest in use. labels: int64 (N,), -1 for unknown.
        examples: how many central and borderline rows to list.
    """
    own, margin = to_centres(Z, assigned)
    out = []
    for c in range(int(assigned.max(initial=-1)) + 1):
        rows = np.flatnonzero(assigned == c)
        central = rows[np.argsort(own[rows], kind="stable")[:examples]]
        several = not np.isnan(margin[rows]).any()
        borderline = rows[np.argsort(margin[rows], kind="stable")[:examples]] if several else rows[:0]
        composition = _composition(labels, rows, classes)
        total = sum(composition.values())
        out.append(
            Cluster(
                cluster=c,
                size=len(rows),
                share=len(rows) / len(Z),
                margin=float(margin[rows].mean(dtype=np.float64)) if several else None,
                central=tuple(central.tolist()),
                borderline=tuple(borderline.tolist()),
                central_ids=tuple(ids[central].tolist()),
                borderline_ids=tuple(ids[borderline].tolist()),
                composition=composition,
                majority=next(iter(composition), None),
                majority_share=max(composition.values()) / total if total else None,
            )
        )
    return tuple(out)


def _composition(labels: NDArray[np.int64] | None, rows: NDArray[np.int64], classes: tuple[str, ...]) -> dict[str, int]:
    if labels is None:
        return {}
    counts = np.bincount(labels[rows][labels[rows] >= 0], minlength=len(classes))
    order = np.lexsort((np.arange(len(counts)), -counts))
    return {classes[c]: int(counts[c]) for c in order if counts[c]}


@dataclass(frozen=True)
class ClusterMap:
    """Clusters on a two-dimensional map. kind: "pca" or "tsne". centres: float32 (K, 2), mean places of the members."""

    kind: str
    map: Map = field(metadata=MERGED)
    centres: NDArray[np.float32]

    def save_png(self, path: Path, clustering: Clustering) -> None:
        """Write a picture with numbered centres. Raises OutputError when the disk refuses."""
        from nearkin.maps.draw import save_clusters

        title = f"{clustering.algorithm} clusters, {self.kind}"
        save_clusters(self.map.coords, clustering.assigned, self.centres, path, title=title)


def cluster_map(embeddings: Embeddings, clustering: Clustering, kind: str, *, seed: int = 0) -> ClusterMap:
    """Draw a map of the vectors as they were clustered. Raises DataError where they have none."""
    from nearkin.maps.maps import draw_maps  # slow to import, and most callers draw no map

    drawn = draw_maps(checked(embeddings.Z, clustering.metric), embeddings.labels, seed=seed, kinds=(kind,))[kind]
    if drawn.skipped:
        raise DataError(f"no map: {drawn.skipped}. Leave --map out.")
    return ClusterMap(kind, drawn, centres(drawn.coords, clustering.assigned))


def headline(clustering: Clustering) -> list[str]:
    """Describe the clustering as a whole, in sentences."""
    scores = clustering.scores
    text = [f"{clustering.n:,} images, {clustering.algorithm}, {clustering.metric}: {scores.k} clusters."]
    if clustering.algorithm == "hdbscan":
        text.append(f"{100 * clustering.noise:.1f} % of the images are noise, in no cluster.")
        if scores.k < 2:
            text.append("Fewer than 2 clusters: a smaller --min-size may find some, or there are none.")
    if clustering.chosen is not None:
        text.append(_choice(clustering.chosen))
    if scores.silhouette is not None:
        weak = scores.silhouette < NO_STRUCTURE
        text.append(
            f"Silhouette {scores.silhouette:.3f}"
            + (f": below {NO_STRUCTURE}, no substantial structure (Kaufman and Rousseeuw 1990)." if weak else ".")
        )
    if scores.nmi is not None and scores.ari is not None and scores.accuracy is not None:
        own = scores.class_silhouette
        text.append(
            f"Against classes: NMI {scores.nmi:.3f}, ARI {scores.ari:.3f}, Hungarian accuracy "
            f"{100 * scores.accuracy:.1f} %, purity {100 * (clustering.purity or 0):.1f} %."
            + ("" if own is None else f" The classes themselves have silhouette {own:.3f}.")
        )
    return text


def _choice(chosen: ChosenK) -> str:
    scores = {k: value for k, value in chosen.silhouettes.items() if value is not None}
    if chosen.k not in scores:
        return f"No k has a silhouette; the smallest, {chosen.k}, was taken."
    alike = [str(k) for k, value in scores.items() if k != chosen.k and value > scores[chosen.k] - _FLAT]
    text = f"k = {chosen.k} has the largest silhouette ({scores[chosen.k]:.3f}) of k = {min(scores)} to {max(scores)}"
    return text + (f"; k = {', '.join(alike)} are as good, so the number is weakly supported." if alike else ".")


def print_clustering(clustering: Clustering) -> None:
    """Print the clustering as a whole, then every cluster."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for line in headline(clustering):
        console.print(line)
    if not clustering.clusters:
        return
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    for name in ("cluster", "images", "margin", "classes", "most central"):
        table.add_column(name, justify="left" if name in ("classes", "most central") else "right")
    for item in clustering.clusters:
        margin = "-" if item.margin is None else f"{item.margin:.3f}"
        table.add_row(str(item.cluster), f"{item.size:,}", margin, escape(_classes(item)), escape(item.central_ids[0]))
    Console().print(table)


def _classes(item: Cluster) -> str:
    total = sum(item.composition.values())
    first = list(item.composition.items())[:_SHOWN_CLASSES]
    return ", ".join(f"{name} {100 * count / total:.0f} %" for name, count in first) or "-"


def cluster_sheet(path: Path, title: str, clustering: Clustering, pictures: ImageSet) -> None:
    """Write a picture sheet: central and borderline images of each cluster. pictures: of the clustered images, in order."""
    labels = pictures.known_labels()

    def cells(rows: tuple[int, ...]) -> list[Thumbnail]:
        names = [pictures.classes[labels[row]] if labels[row] >= 0 else "" for row in rows]
        return [
            Thumbnail(pictures.images[row], name, str(pictures.ids[row])) for row, name in zip(rows, names, strict=True)
        ]

    sections = []
    for item in clustering.clusters:
        lines = [Row("central", cells(item.central), "nearest to the centre")]
        if item.borderline:
            lines.append(Row("borderline", cells(item.borderline), "between two centres"))
        heading = f"Cluster {item.cluster}: {item.size:,} images, {100 * item.share:.1f} %"
        sections.append(Section(heading, lines, f"{_classes(item)}." if item.composition else ""))
    write_sheet(path, title, sections, text=" ".join(headline(clustering)))
