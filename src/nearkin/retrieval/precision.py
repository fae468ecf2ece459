"""How good retrieval is by class labels: precision@k and mean average precision@k (Manning et al. 2008, section 8.4)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nearkin.embeddings import Embeddings
from nearkin.errors import DataError
from nearkin.search.exact import KnnSearch, Neighbors, knn
from nearkin.vectors import sample_rows

N_QUERIES = 5000  # a mean over that many has a 95 % interval of about one point
_NORMAL_95 = 1.959964


@dataclass(frozen=True)
class PrecisionScores:
    """Means over n queries, each in [0, 1]; ``chance`` is the expected precision of a random order."""

    n: int
    precision: float
    map: float
    chance: float


@dataclass(frozen=True)
class Precision:
    """Precision of the first k places.

    With rel_i = 1 where the i-th place has the query's class, and R images of that class to be found:

        P@k  = (rel_1 + ... + rel_k) / k
        AP@k = (rel_1 P@1 + ... + rel_k P@k) / min(k, R)          mAP@k: its mean over queries

    With k neighbours of every image among all others, P@k is the neighbour purity; with k = N - 1, AP@k is the usual
    average precision (scikit-learn's ``average_precision_score``).

    Attributes:
        overall: over all queries. per_class: by class name, classes without a query left out.
        precision_interval, map_interval: 95 %, normal approximation over queries; None for one query.
        unmatched: labelled queries left out because no other image has their class.
    """

    k: int
    overall: PrecisionScores
    precision_interval: tuple[float, float] | None
    map_interval: tuple[float, float] | None
    per_class: dict[str, PrecisionScores]
    unmatched: int


def precision_at_k(
    neighbors: Neighbors,
    query_labels: NDArray[np.int64],
    base_labels: NDArray[np.int64],
    classes: tuple[str, ...],
    own: NDArray[np.bool_] | bool,
) -> Precision | None:
    """Judge lists (M, k) by labels.

    Args:
        neighbors: of M queries in a base of N, own rows dropped, best first (or farthest first: then precision
            far below chance is good).
        query_labels: int64 (M,), base_labels: int64 (N,), indices into ``classes``; queries with -1 are left out, a place
            with -1 counts as wrong, so leave unlabelled images out of the base.
        own: which queries are rows of the base themselves; bool (M,) or one for all.
    Returns:
        None when no query has a label and an image to be found.
    """
    k = neighbors.indices.shape[1]
    counts = np.bincount(base_labels[base_labels >= 0], minlength=len(classes))
    known = query_labels >= 0
    relevant = np.where(known, counts[query_labels] - np.broadcast_to(own, known.shape), 0)
    use = relevant > 0
    if not use.any():
        return None
    labels, relevant = query_labels[use], relevant[use]
    right = base_labels[neighbors.indices[use]] == labels[:, None]
    precision = right.mean(axis=1)
    at = np.cumsum(right, axis=1) / np.arange(1, k + 1)
    average = (at * right).sum(axis=1) / np.minimum(k, relevant)
    others = len(base_labels) - np.broadcast_to(own, known.shape)[use]
    chance = relevant / others
    per_class = {
        name: _scores(precision, average, chance, labels == c) for c, name in enumerate(classes) if (labels == c).any()
    }
    return Precision(
        k,
        _scores(precision, average, chance, np.ones(len(labels), dtype=bool)),
        _interval(precision),
        _interval(average),
        per_class,
        int(known.sum() - use.sum()),
    )


def _scores(
    precision: NDArray[np.float64], average: NDArray[np.float64], chance: NDArray[np.float64], rows: NDArray[np.bool_]
) -> PrecisionScores:
    return PrecisionScores(
        int(rows.sum()), float(precision[rows].mean()), float(average[rows].mean()), float(chance[rows].mean())
    )


def _interval(values: NDArray[np.float64]) -> tuple[float, float] | None:
    if len(values) < 2:
        return None
    half = _NORMAL_95 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return max(0.0, float(values.mean()) - half), min(1.0, float(values.mean()) + half)


def retrieval_precision(
    base: Embeddings,
    queries: Embeddings | None = None,
    *,
    k: int = 10,
    metric: str = "cosine",
    n_queries: int = N_QUERIES,
    seed: int = 0,
    search: KnnSearch = knn,
) -> Precision | None:
    """Precision of searching the labelled images of ``base``; None where labels are missing.

    Args:
        queries: images to ask with, not in ``base`` (for instance test images against train images), with the same
            classes. Default: the base's own, each without itself.
        n_queries: at most this many queries, a seeded choice. search: what finds the neighbours.
    Raises:
        DataError: queries with other classes or another width. ConfigError: k does not fit, unknown metric.
    """
    asked = queries or base
    if asked.labels is None or base.labels is None:
        return None
    if asked.classes != base.classes:
        raise DataError("precision: queries and base have different classes; they must come from one data set.")
    rows = np.flatnonzero(base.labels >= 0)
    pick = np.flatnonzero(asked.labels >= 0)
    pick = sample_rows(pick, n_queries, seed)
    if not len(rows) or not len(pick) or (queries is None and len(rows) < 2):
        return None
    own = np.searchsorted(rows, pick) if queries is None else None
    neighbors = search(asked.Z[pick], base.Z[rows], k, metric=metric, own=own)
    return precision_at_k(neighbors, asked.labels[pick], base.labels[rows], base.classes, queries is None)


def print_precision(precision: Precision | None) -> None:
    """Precision by class, with chance beside it."""
    console = Console(highlight=False)
    if precision is None:
        console.print("no labels: precision cannot be measured")
        return
    k = precision.k
    table = Table(title=f"precision in % of {precision.overall.n:,} queries", title_justify="left", box=SIMPLE_HEAD)
    for name in ("class", f"precision@{k}", f"mAP@{k}", "chance", "queries"):
        table.add_column(name, justify="left" if name == "class" else "right")
    for name, scores in (*precision.per_class.items(), ("all", precision.overall)):
        shares = (scores.precision, scores.map, scores.chance)
        table.add_row(escape(name), *(f"{100 * share:.1f}" for share in shares), f"{scores.n:,}")
    console.print(table)
    if precision.precision_interval:
        low, high = precision.precision_interval
        console.print(f"95 % interval of all, over queries: {100 * low:.1f} to {100 * high:.1f}")
