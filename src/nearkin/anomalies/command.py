"""The work of ``nearkin anomalies``: rank the images of one embedding, and say how well foreign ones are told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.anomalies.detectors import SCORES, possible_scores
from nearkin.anomalies.image_scores import NormalRows, normal_rows, score_rows
from nearkin.anomalies.ood_eval import ClassTables, against, class_tables
from nearkin.anomalies.ood_metrics import OodMetrics
from nearkin.anomalies.ood_sets import OodSet, foreign_sets
from nearkin.anomalies.table import AnomalyTable, table_of
from nearkin.data import ImageSet
from nearkin.embeddings import Embeddings
from nearkin.errors import DataError
from nearkin.fileio import IF_KNOWN, LEFT_OUT
from nearkin.runs.run import open_run
from nearkin.search.exact import KnnSearch, knn

_LISTED = 28  # extremes that are kept of every score
_QUANTILES = (0, 0.05, 0.5, 0.95, 1)


@dataclass(frozen=True)
class Foreign:
    """Images that do not belong, as they are named, and what embeds them.

    Attributes:
        sources: files of vectors; with ``run``, data sets by name or path. split: of data sets: test, train or all.
        run: the run folder that made the vectors. layer: None: that which the vectors' provenance names.
        variants: also padded, inverted and recoloured versions of gray digits.
    """

    sources: Sequence[str]
    split: str = "test"
    run: Path | None = None
    layer: str | None = None
    variants: bool = False
    device: str = "auto"
    progress: bool = False


@dataclass(frozen=True)
class ScoredImage:
    """A row of the embedding and its score; ``label`` is a class name."""

    row: int
    id: str
    split: str
    label: str | None
    score: float


@dataclass(frozen=True)
class ScoreSummary:
    """One score of all images. quantiles: by their order, as text. most, least: the 28 most and least anomalous."""

    quantiles: dict[str, float]
    most: tuple[ScoredImage, ...]
    least: tuple[ScoredImage, ...]


@dataclass(frozen=True)
class AnomalyReport:
    """Attributes:
    train_split, scores, k, seed: what was computed. skipped: score -> why it cannot be.
    ranked: score -> the extremes of all images, where these were ranked.
    inside: which rows foreign images are told from, one line. ood: set -> score -> figures.
    table: with the scores that need no learning, where there are images of both kinds.
    classes: one class alone, and held out.
    values: score -> float64 (N,), of all images. sets: the foreign images. JSON has neither.
    """

    train_split: str
    scores: list[str]
    k: int | None
    seed: int
    skipped: dict[str, str] | None = field(default=None, metadata=IF_KNOWN)
    ranked: dict[str, ScoreSummary] | None = field(default=None, metadata=IF_KNOWN)
    inside: str | None = field(default=None, metadata=IF_KNOWN)
    ood: dict[str, dict[str, OodMetrics]] | None = field(default=None, metadata=IF_KNOWN)
    table: AnomalyTable | None = field(default=None, metadata=IF_KNOWN)
    classes: ClassTables | None = field(default=None, metadata=IF_KNOWN)
    values: dict[str, NDArray[np.float64]] = field(default_factory=dict, metadata=LEFT_OUT)
    sets: tuple[OodSet, ...] = field(default=(), metadata=LEFT_OUT)


def find_anomalies(
    embeddings: Embeddings,
    *,
    scores: Sequence[str] | None = ("knn2",),
    k: int | None = None,
    train_split: str = "train",
    rank: bool = True,
    foreign: Foreign | None = None,
    images: ImageSet | None = None,
    one_class: bool = False,
    seed: int = 0,
    find: KnnSearch = knn,
) -> AnomalyReport:
    """Run ``nearkin anomalies``: the scores, rankings and figures asked for.

    Args:
        scores: of :data:`nearkin.anomalies.detectors.SCORES`; None: all, but those that need more training vectors than there are.
        rank: score every image of the embedding. images: its images, in its order.
        one_class: each class as the only normal one, and each held out. find: what finds the neighbours.
    Raises:
        ConfigError, DataError: what :func:`score_rows`, :func:`against`, :func:`table_of` and :func:`class_tables` raise.
    """
    rows = normal_rows(embeddings, train_split)
    names, skipped = list(scores or SCORES), dict[str, str]()
    if scores is None and k is None:
        names, skipped = possible_scores(int(rows.train.sum()), own=rank or not rows.unseen)
    common: dict[str, Any] = {"train_split": train_split, "scores": names, "k": k, "seed": seed, "find": find}
    report = AnomalyReport(train_split, names, k, seed, skipped or None)
    if rank:
        values = score_rows(embeddings, **common)
        ranked = {name: summarize(scored, embeddings) for name, scored in values.items()}
        report = replace(report, values=values, ranked=ranked)
    if foreign is not None:
        report = replace(report, inside=rows.note)
        if foreign.run is None:
            report = replace(report, ood=against(embeddings, _vectors(foreign.sources), **common))
        else:
            report = _with_images(report, embeddings, images, rows, foreign, foreign.run, common)
    if one_class:
        report = replace(report, classes=class_tables(embeddings, train_split=train_split, scores=names))
    return report


def summarize(scores: NDArray[np.float64], embeddings: Embeddings) -> ScoreSummary:
    """The most and least anomalous rows, and quantiles of the scores (N,)."""
    order = np.argsort(-scores, kind="stable").tolist()
    names = embeddings.names()

    def image(row: int) -> ScoredImage:
        return ScoredImage(row, str(embeddings.ids[row]), str(embeddings.split[row]), names[row], float(scores[row]))

    return ScoreSummary(
        {str(q): float(np.quantile(scores, q)) for q in _QUANTILES},
        tuple(image(row) for row in order[:_LISTED]),
        tuple(image(row) for row in order[::-1][:_LISTED]),
    )


def _vectors(sources: Sequence[str]) -> Mapping[str, tuple[NDArray[np.float32], NDArray[np.str_]]]:
    """Files of vectors by name; of two of one name, the second has its path."""
    sets: dict[str, tuple[NDArray[np.float32], NDArray[np.str_]]] = {}
    for path in map(Path, sources):
        loaded = Embeddings.load(path)
        sets[path.stem if path.stem not in sets else str(path)] = (loaded.Z, loaded.ids)
    return sets


def _with_images(
    report: AnomalyReport,
    embeddings: Embeddings,
    images: ImageSet | None,
    rows: NormalRows,
    foreign: Foreign,
    run: Path,
    common: dict[str, Any],
) -> AnomalyReport:
    """Figures against foreign images: the whole table where there are images of both kinds, else the scores alone."""
    backgrounds = unseen = None
    if foreign.variants and images is not None:
        rest = ~rows.train & ~rows.inside
        backgrounds, unseen = images.images[rows.train], images.images[rest] if rest.any() else None
    sets = foreign_sets(
        foreign.sources,
        open_run(run).image_size(),
        split=foreign.split,
        backgrounds=backgrounds,
        unseen=unseen,
        seed=report.seed,
        progress=foreign.progress,
    )
    if foreign.variants and all(item.name == item.of for item in sets):
        raise DataError(f"--variants are made of gray images; those of {', '.join(foreign.sources)} have colours.")
    embed = open_run(run).open(foreign.layer or embeddings.provenance.get("layer"), device=foreign.device)
    vectors = {item.name: embed(item.items.images) for item in sets}
    report = replace(report, sets=tuple(sets))
    if images is not None and rows.unseen:
        table = table_of(embeddings, images, vectors, sets, name=run.name, **common)
        return replace(report, table=table, ood=table.details[run.name].ood)
    ood = {item.name: (vectors[item.name], item.items.ids) for item in sets}
    return replace(report, ood=against(embeddings, ood, **common))
