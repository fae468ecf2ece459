"""All that is asked about factors of one embedding: what neighbours share, beside raw pixels, and what can be read from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from nearkin.data import ImageSet
from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, DataError
from nearkin.factors.agreement import Dominance, FactorAgreement, dominance, neighbor_agreement, telling_rows
from nearkin.factors.factor_probe import MAX_TRAIN, FactorProbe, factor_probe
from nearkin.factors.factors import PIXEL_METRIC, class_factor, known_factors, pixel_factors, pixel_vectors
from nearkin.fileio import LEFT_OUT
from nearkin.report.sheet import Row, Section, Thumbnail, write_sheet
from nearkin.search.exact import Neighbors, knn
from nearkin.vectors import sample_rows

K = 10
MAX_IMAGES = 10_000
ALL = "all"


@dataclass(frozen=True)
class FactorStudy:
    """The agreement of neighbours, and the factors read from an embedding.

    Attributes:
        split, metric: whose neighbours, and by what. rows: int64 (M,), the rows whose neighbours were compared.
        neighbors: (M, k), indices into ``rows``. Both are left out of JSON.
        agreement, raw_pixels: of the embedding and of the pixels (None where not asked for). dominance: both in words.
        pixel_metric: by what neighbours of raw pixels were found.
        probe: None where not asked for.
    """

    split: str
    metric: str
    rows: NDArray[np.int64] = field(metadata=LEFT_OUT)
    neighbors: Neighbors = field(metadata=LEFT_OUT)
    agreement: FactorAgreement
    raw_pixels: FactorAgreement | None
    pixel_metric: str
    dominance: Dominance
    probe: FactorProbe | None


def compared_rows(split: NDArray[np.str_], wanted: str, *, max_images: int, seed: int) -> NDArray[np.int64]:
    """Rows of one split (or "all"), ascending, at most ``max_images``, a seeded choice. Raises ConfigError below 2."""
    rows = np.arange(len(split)) if wanted == ALL else np.flatnonzero(split == wanted)
    if max_images < 2 or len(rows) < 2:
        legal = ", ".join([ALL, *sorted(set(split.tolist()))])
        raise ConfigError(
            f"{min(max_images, len(rows))} images of split '{wanted}' have no neighbours to compare; "
            f"at least 2 are needed, and the split can be: {legal}."
        )
    return sample_rows(rows, max_images, seed)


def probed_rows(split: NDArray[np.str_], *, max_train: int = MAX_TRAIN, seed: int = 0) -> NDArray[np.int64]:
    """Rows that the factor probe uses: val and test, and a seeded choice of at most ``max_train`` of train; ascending."""
    train = sample_rows(np.flatnonzero(split == "train"), max_train, seed)
    return np.union1d(train, np.flatnonzero((split == "val") | (split == "test")))


def study_factors(
    embeddings: Embeddings,
    images: NDArray[np.uint8],
    known: dict[str, NDArray[Any]] | None = None,
    *,
    split: str = "test",
    k: int = K,
    metric: str = "cosine",
    max_images: int = MAX_IMAGES,
    raw_pixels: bool | FactorAgreement = True,
    pixel_metric: str = PIXEL_METRIC,
    probe: bool = True,
    seed: int = 0,
) -> FactorStudy:
    """Compare what neighbours of one split share, and read every factor from the embedding.

    Args:
        embeddings: N rows. images: uint8 (N, 3, H, W), the same images in the same order.
        known: a data set's own factors, (N,) each, see :func:`known_factors`.
        raw_pixels: compare with the pixels' neighbours; those of an earlier call with the same images, split, k and seed
            can be given instead of computed again.
        pixel_metric: "l2", whose neighbours agree in colour and brightness above all, or "cosine", which divides
            brightness out: what an embedding gains or loses in background and colour depends on it, so say which.
        probe: needs rows of train, val and test.
    Raises:
        ConfigError: too few rows in the split, an unknown metric, or k out of range.
        DataError: another number of images, vectors that are not finite, or, with ``probe``, a split without rows.
    """
    if len(images) != len(embeddings):
        raise DataError(f"{len(images)} images for {len(embeddings)} vectors; factors need one image per vector.")
    rows = compared_rows(embeddings.split, split, max_images=max_images, seed=seed)
    part = embeddings.take(rows)
    near = knn(part.Z, part.Z, k, metric=metric, exclude_self=True)
    every = (*known_factors(known or {}), *pixel_factors(images))
    shared, labels = [item.take(rows) for item in every], part.labels
    agreement = neighbor_agreement(near, labels, shared, seed=seed)
    pixels = raw_pixels if isinstance(raw_pixels, FactorAgreement) else None
    if raw_pixels is True:
        flat = pixel_vectors(images[rows])
        by_pixels = knn(flat, flat, k, metric=pixel_metric, exclude_self=True)
        pixels = neighbor_agreement(by_pixels, labels, shared, seed=seed)
    readings = None
    if probe:
        read_from = probed_rows(embeddings.split, seed=seed)
        classes = [] if embeddings.labels is None or not embeddings.labelled else [class_factor(embeddings.labels)]
        wanted = [item.take(read_from) for item in (*classes, *every)]
        readings = factor_probe(embeddings.Z[read_from], embeddings.split[read_from], wanted, k=k)
    summary = dominance(agreement, pixels, name=f"raw pixels ({pixel_metric})")
    return FactorStudy(split, metric, rows, near, agreement, pixels, pixel_metric, summary, readings)


def print_factors(study: FactorStudy) -> None:
    """One line per factor, then the statement."""
    agreement, baseline, probe = study.agreement, study.raw_pixels, study.probe
    by_baseline = {} if baseline is None else {row.factor: row.value for row in baseline.rows}
    readings = {} if probe is None else {row.factor: row for row in probe.rows}
    table = Table(
        title=f"{agreement.k} nearest of {agreement.n:,} images: 0 like random, 1 the same, ± half the 95 % interval",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1),
    )
    table.add_column("factor", no_wrap=True)
    table.add_column("agreement", justify="right", no_wrap=True)
    table.add_column("given class", justify="right")
    if baseline is not None:
        table.add_column(f"pixels, {study.pixel_metric}", justify="right")
    if probe is not None:
        table.add_column("linear", justify="right")
        table.add_column("kNN", justify="right")
    for row in agreement.rows:
        interval = "" if row.interval is None else f" ±{(row.interval[1] - row.interval[0]) / 2:.3f}"
        cells = [row.factor.replace("_", " "), _number(row.value) + interval, _number(row.given_class)]
        if baseline is not None:
            cells.append(_number(by_baseline.get(row.factor)))
        if probe is not None:
            reading = readings.get(row.factor)
            cells += ["-", "-"] if reading is None else [_number(reading.linear), _number(reading.knn)]
        table.add_row(*cells)
    Console().print(table)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    if probe is not None:
        console.print(
            "linear, kNN: how well test images' factors can be read: R^2, for categories skill over the largest class."
        )
    console.print(study.dominance.text)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def factor_sheet(path: Path, title: str, study: FactorStudy, pictures: ImageSet) -> None:
    """Write a picture sheet: images that show the conflict of class and background, each before its neighbours.

    pictures: of the rows whose neighbours were compared.
    """
    labels = pictures.known_labels()

    def name(row: int) -> str:
        return pictures.classes[labels[row]] if labels[row] >= 0 else ""

    def cell(row: int, mark: bool = False) -> Thumbnail:
        return Thumbnail(pictures.images[row], name(row), str(pictures.ids[row]), mark)

    def lines(rows: NDArray[np.int64]) -> list[Row]:
        near = study.neighbors.indices
        return [Row(name(row), [cell(row, mark=True), *map(cell, near[row].tolist())]) for row in rows.tolist()]

    sections = []
    background, kind = telling_rows(study.agreement)
    if len(background):
        text = "The framed image and its nearest neighbours, most of them of other classes, where backgrounds are most alike."
        sections.append(Section("Alike in background, not in class", lines(background), text))
    if len(kind):
        text = "The framed image and its nearest neighbours, most of its class, where backgrounds differ most."
        sections.append(Section("Alike in class, not in background", lines(kind), text))
    if not sections:
        sections.append(Section("Images and their neighbours", lines(np.arange(min(8, study.agreement.n)))))
    write_sheet(path, title, sections, text=study.dominance.text)
