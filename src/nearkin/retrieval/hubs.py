"""Hubs: images that are everybody's neighbours, images that are nobody's, and the few that are farthest from all.

The k-occurrence N_k(x) is the number of lists of k neighbours that image x stands in. Its mean is k. In many dimensions its
distribution leans: a few hubs fill the lists, many anti-hubs never appear. The usual measure is its skewness
S = E[(N_k - k)^3] / std^3 (Radovanovic, Nanopoulos, Ivanovic: "Hubs in Space", JMLR 11, 2010); above about 1.4 hubs are
strong. The same count over lists of the k farthest images tells whether every query has the same few farthest images; its
correlation with the distance from the mean tells whether they are merely the outermost ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from nearkin.embeddings import Embeddings, as_embeddings
from nearkin.errors import ConfigError, DataError
from nearkin.evaluate.stats import spearman
from nearkin.fileio import LEFT_OUT
from nearkin.report.sheet import Row, Section, Thumbnail, write_sheet
from nearkin.retrieval.hub_remedies import K_LOCAL, REMEDIES, distance_moments, rescale
from nearkin.retrieval.precision import Precision, precision_at_k
from nearkin.search.exact import Neighbors, farthest, knn, unit_rows
from nearkin.vectors import all_equal

K = 10
CANDIDATES = 200
STRONG = 1.4  # skewness above which hubs are called strong
HUB_SIZE = 2  # a hub stands in more than twice as many lists as the mean, as in scikit-hubness
STEPS = (0.0, 0.5, 1.0, 2.0, 5.0)  # times k: where the steps of a distribution end
_SHOWN = 20  # extreme images of each kind in a result
_PRINTED = 5  # of these on the terminal


@dataclass(frozen=True)
class Occurrence:
    """How N lists of k images spread over the N images.

    Attributes:
        skewness: third standardised moment of the counts; 0 when all are equal.
        hubs, hub_slots: number of images in more than 2 k lists, and the share of all N k places they take.
        antihubs: share of images that stand in no list.
        top_slots: share of all places taken by the 1 % of images that appear most (even spread: 0.01).
        distinct: number of images that appear at all. largest: the highest count.
        distribution: share of the images in no list, in up to k / 2, k, 2 k, 5 k lists (each without those before), and in more.
    """

    skewness: float
    hubs: int
    hub_slots: float
    antihubs: float
    top_slots: float
    distinct: int
    largest: int
    distribution: tuple[float, ...]


@dataclass(frozen=True)
class ExtremeImage:
    """An image that stands in very many lists, or in none.

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
class RemedyResult:
    """What a rescaled distance changes; ``precision`` is None without labels."""

    nearest: Occurrence
    precision: Precision | None


@dataclass(frozen=True)
class Hubness:
    """How unevenly neighbours are spread over images, and what each remedy does about it.

    Attributes:
        n: images. k: length of the lists. metric: "cosine" or "l2". candidates: neighbours per image that remedies sort again.
        nearest, farthest: of the lists of k nearest and k farthest.
        correlations: Spearman's rank correlation of "nearest" and "farthest" counts with the distance from the "mean" of the
            vectors and from the "pixel mean", e.g. "farthest/mean", in [-1, 1]; None where a side is constant.
        percentiles: mean percentile of those distances over all places of the lists, same keys, in [0, 1]: 0.5 where the lists
            do not care, near 1 where they hold the outermost images. Unlike a rank correlation it is not weakened by the many
            images that never appear.
        composition: share of each class among "all" images, "hubs", "anti-hubs" and the places of the "farthest" lists;
            empty without labels.
        hubs, antihubs, farthest_images: the most extreme, at most 20 each; anti-hubs by distance from the mean.
        remedies: "none" first, then each remedy (see :mod:`nearkin.retrieval.hub_remedies`).
        k_occurrence, farthest_occurrence: int64 (N,), the counts; left out of JSON.
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
    hubs: tuple[ExtremeImage, ...]
    antihubs: tuple[ExtremeImage, ...]
    farthest_images: tuple[ExtremeImage, ...]
    remedies: dict[str, RemedyResult]
    k_occurrence: NDArray[np.int64] = field(metadata=LEFT_OUT)
    farthest_occurrence: NDArray[np.int64] = field(metadata=LEFT_OUT)
    note: str | None = None


def hubs(
    embeddings: Embeddings | NDArray[Any],
    *,
    n_neighbors: int = K,
    metric: str = "cosine",
    candidates: int = CANDIDATES,
    k_local: int = K_LOCAL,
    pixels: NDArray[Any] | None = None,
    neighbors: Neighbors | None = None,
    random_state: int = 0,
) -> Hubness:
    """Measure hubs among all images, and what each remedy does about them.

    Args:
        embeddings: N vectors, as Embeddings or as an array (N, D).
        n_neighbors: k, the length of the lists, in 1..N-1.
        metric: "cosine" or "l2".
        candidates: neighbours per image that the remedies sort again (at most N - 1 are used).
        k_local: K of the local remedies (at most as many as candidates).
        pixels: (N, ...), any numbers, for distances from the mean image.
        neighbors: the nearest of every image, itself left out, where they are known already: at least as many as candidates.
        random_state: seed of the sample that estimates mutual proximity's means and variances.
    Raises:
        ConfigError: unknown metric, ``n_neighbors`` outside 1..N-1, fewer candidates than that.
        DataError: fewer than 2 images, values that are not finite, pixels of another number of images.
    """
    embeddings = as_embeddings(embeddings)
    n, k = len(embeddings), n_neighbors
    if pixels is not None and len(pixels) != n:
        raise DataError(f"hubness: pixels of {len(pixels)} images for {n} vectors.")
    if candidates < k:
        raise ConfigError(f"candidates is {candidates}; it must be at least k = {k}.")
    Z = embeddings.Z
    wanted = max(k, min(candidates, n - 1))
    near = knn(Z, Z, wanted, metric=metric, exclude_self=True) if neighbors is None else neighbors.first(wanted)
    far = farthest(Z, Z, k, metric=metric, exclude_self=True)
    near_counts, far_counts = occurrence(near.first(k).indices, n), occurrence(far.indices, n)
    # For cosine the vectors live on the sphere: the mean that matters is that of the directions.
    outward = distance_from_mean(unit_rows(Z) if metric == "cosine" else Z)
    places = {"mean": outward} | ({} if pixels is None else {"pixel mean": distance_from_mean(pixels)})
    compared = {
        f"{name}/{place}": (counts, values)
        for name, counts in (("nearest", near_counts), ("farthest", far_counts))
        for place, values in places.items()
    }
    percentiles = {name: _percentiles(values) for name, values in places.items()}
    labels, in_pixels = embeddings.names(), percentiles.get("pixel mean")

    def extremes(rows: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[ExtremeImage, ...]:
        return tuple(
            ExtremeImage(
                str(embeddings.ids[row]),
                row,
                labels[row],
                int(counts[row]),
                float(percentiles["mean"][row]),
                None if in_pixels is None else float(in_pixels[row]),
            )
            for row in rows[:_SHOWN].tolist()
        )

    most, antihubs = _order(-near_counts), np.flatnonzero(near_counts == 0)
    return Hubness(
        n=n,
        k=k,
        metric=metric,
        candidates=near.indices.shape[1],
        nearest=summarise(near_counts, k),
        farthest=summarise(far_counts, k),
        correlations={name: _rank_correlation(*pair) for name, pair in compared.items()},
        percentiles={
            name: float(np.average(_percentiles(values), weights=counts)) for name, (counts, values) in compared.items()
        },
        composition=_composition(embeddings, near_counts, far_counts, k),
        hubs=extremes(most[near_counts[most] > HUB_SIZE * k], near_counts),
        antihubs=extremes(antihubs[_order(-outward[antihubs])], near_counts),
        farthest_images=extremes(_order(-far_counts)[: int((far_counts > 0).sum())], far_counts),
        remedies=_remedies(embeddings, near, k, metric, k_local, random_state),
        k_occurrence=near_counts,
        farthest_occurrence=far_counts,
        note=f"all {n} vectors are identical: the order of neighbours is arbitrary" if all_equal(Z) else None,
    )


def occurrence(lists: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """In how many of the lists (M, k) of rows each of n images stands: int64 (n,)."""
    return np.bincount(lists.ravel(), minlength=n).astype(np.int64)


def summarise(counts: NDArray[np.int64], k: int) -> Occurrence:
    """Summary of occurrence counts (N,) of N lists of k."""
    centred = counts - counts.mean()
    variance = float(np.mean(centred**2))
    hub = counts > HUB_SIZE * k
    total = max(1, int(counts.sum()))
    top = np.sort(counts)[::-1][: math.ceil(len(counts) / 100)]
    images_per_step = np.histogram(counts, [0, *(1e-9 + k * step for step in STEPS), np.inf])[0]
    return Occurrence(
        skewness=float(np.mean(centred**3)) / variance**1.5 if variance > 0 else 0.0,
        hubs=int(hub.sum()),
        hub_slots=float(counts[hub].sum() / total),
        antihubs=float((counts == 0).mean()),
        top_slots=float(top.sum() / total),
        distinct=int((counts > 0).sum()),
        largest=int(counts.max()),
        distribution=tuple((images_per_step / len(counts)).tolist()),
    )


def distance_from_mean(values: NDArray[Any], *, chunk: int = 4096) -> NDArray[np.float64]:
    """Euclidean distance of each of N arrays (N, ...) from their mean: float64 (N,)."""
    flat = values.reshape(len(values), -1)
    mean = flat.mean(axis=0, dtype=np.float64)
    parts = [np.linalg.norm(flat[i : i + chunk] - mean, axis=1) for i in range(0, len(flat), chunk)]
    return np.concatenate(parts)


def _order(key: NDArray[Any]) -> NDArray[np.int64]:
    return np.argsort(key, kind="stable")


def _rank_correlation(counts: NDArray[np.int64], distances: NDArray[np.float64]) -> float | None:
    # Distances that differ by rounding only have no order worth a correlation.
    return None if all_equal(distances, tolerance=1e-6) else spearman(counts, distances)


def _percentiles(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of images with a smaller value, equal ones counting half: (N,), in [0, 1]."""
    from scipy.stats import rankdata

    ranks: NDArray[np.float64] = rankdata(values)
    return (ranks - 0.5) / len(values)


def _composition(
    embeddings: Embeddings, near: NDArray[np.int64], far: NDArray[np.int64], k: int
) -> dict[str, dict[str, float]]:
    labels = embeddings.labels
    if labels is None or not embeddings.labelled:
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
    embeddings: Embeddings, candidates: Neighbors, k: int, metric: str, k_local: int, seed: int
) -> dict[str, RemedyResult]:
    n = len(embeddings)
    k_local = min(k_local, candidates.indices.shape[1])
    moments = distance_moments(embeddings.Z, metric=metric, seed=seed)

    def result(lists: Neighbors) -> RemedyResult:
        first = lists.first(k)
        precision = None
        if embeddings.labels is not None:
            precision = precision_at_k(first, embeddings.labels, embeddings.labels, embeddings.classes, own=True)
        return RemedyResult(summarise(occurrence(first.indices, n), k), precision)

    out = {"none": result(candidates)}
    for remedy in REMEDIES:
        out[remedy] = result(rescale(candidates, remedy, k_local=k_local, moments=moments))
    return out


def print_hubness(hubness: Hubness) -> None:
    """Hubs before and after each remedy, and the farthest images."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    k, near, far = hubness.k, hubness.nearest, hubness.farthest
    if hubness.note:
        console.print(f"note: {hubness.note}")
    console.print(
        f"{hubness.n:,} images, lists of the {k} nearest ({hubness.metric}): skewness {near.skewness:.2f} "
        f"({'' if near.skewness > STRONG else 'no '}strong hubs)"
    )
    console.print(
        f"{near.hubs:,} hubs take {100 * near.hub_slots:.1f} % of the places; {100 * near.antihubs:.1f} % of the images "
        "are in no list"
    )
    shares = ", ".join(f"{100 * share:.1f}" for share in near.distribution)
    console.print(f"images in no list, in up to {k}/2, {k}, {2 * k}, {5 * k} lists, in more: {shares} %")
    console.print(
        f"farthest {k}: 1 % of the images take {100 * far.top_slots:.1f} % of the places; {far.distinct:,} images "
        "ever appear"
    )
    for name, value in hubness.correlations.items():
        lists, place = name.split("/")
        console.print(
            f"{lists}, distance from the {place}: rank correlation with the count "
            f"{'-' if value is None else f'{value:+.2f}'}, mean percentile {100 * hubness.percentiles[name]:.0f}"
        )
    for name, composition in hubness.composition.items():
        top = sorted(composition.items(), key=lambda item: -item[1])[:4]
        console.print(f"classes of {name}: " + ", ".join(f"{c} {100 * share:.0f} %" for c, share in top))
    for kind, images in (("hub", hubness.hubs), ("farthest", hubness.farthest_images)):
        for image in images[:_PRINTED]:
            console.print(f"  {kind:9s}in {image.count:,} lists  {image.label or '-':12s} {image.id}")
    table = Table(
        title=f"remedies, on {hubness.candidates} candidates per image", title_justify="left", box=SIMPLE_HEAD
    )
    for name in ("remedy", "skewness", "anti-hubs %", f"precision@{k} %", f"mAP@{k} %"):
        table.add_column(name, justify="left" if name == "remedy" else "right")
    for name, remedy in hubness.remedies.items():
        scores = None if remedy.precision is None else remedy.precision.overall
        table.add_row(
            name,
            f"{remedy.nearest.skewness:.2f}",
            f"{100 * remedy.nearest.antihubs:.1f}",
            "-" if scores is None else f"{100 * scores.precision:.1f}",
            "-" if scores is None else f"{100 * scores.map:.1f}",
        )
    console.print(table)


def hubness_sheet(path: Path, title: str, hubness: Hubness, pictures: NDArray[np.uint8]) -> None:
    """Write a picture sheet: hubs, anti-hubs and farthest images. pictures: uint8 (N, 3, H, W), as the embeddings."""

    def section(title: str, text: str, images: Sequence[ExtremeImage]) -> Section:
        cells = [
            Thumbnail(pictures[i.row], f"{i.label or ''} {i.count}".strip(), f"{i.id}, {_where(i)}") for i in images
        ]
        return Section(title, [Row("", cells)] if cells else [], text if cells else "None.")

    n, k = hubness.n, hubness.k
    sections = [
        section("Hubs", f"In how many of {n:,} lists of the {k} nearest each stands; the mean is {k}.", hubness.hubs),
        section("Anti-hubs", "In no list; those farthest from the mean.", hubness.antihubs),
        section(
            "Farthest",
            f"In how many of {n:,} lists of the {k} farthest each stands. The top 1 % of images take "
            f"{100 * hubness.farthest.top_slots:.1f} % of the places.",
            hubness.farthest_images,
        ),
    ]
    write_sheet(path, title, sections)


def _where(image: ExtremeImage) -> str:
    text = f"farther from the mean than {100 * image.percentile:.0f} % of the images"
    if image.pixel_percentile is not None:
        text += f", in pixels than {100 * image.pixel_percentile:.0f} %"
    return text
