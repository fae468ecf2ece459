"""How well anomaly scores tell what does not belong: foreign sets, and the set's own classes as anomalies.

Names and definitions of the figures are OpenOOD's (Zhang et al. 2023): out is the positive class of AUROC, AUPR_OUT and
FPR@95.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nearkin.anomalies.detectors import SCORES
from nearkin.errors import DataError, unknown
from nearkin.evaluate.stats import Auroc, auroc
from nearkin.fileio import IF_KNOWN, MERGED, named
from nearkin.search.exact import Index, Neighbors

_POINTS, _BINS = 101, 40
EXTREMES = 7
CLASS_SCORES = ("knn2", "knn-norm")  # those that have a table over classes


# Foreign sets


@dataclass(frozen=True)
class ExtremeScore:
    """One of the highest or lowest scores of two sets. set: "in" or "out". row: within that set. id: of the image."""

    set: str
    row: int
    score: float
    id: str | None = field(default=None, metadata=IF_KNOWN)


@dataclass(frozen=True)
class ScoreHistograms:
    """Attributes:
    edges: float64 (41,), of the bins (0.5th to 99.5th percentile; outer values in the outer bins).
    inside, outside: int64 (40,), images per bin.
    """

    edges: NDArray[np.float64]
    inside: NDArray[np.int64] = field(metadata=named("in"))
    outside: NDArray[np.int64] = field(metadata=named("out"))


@dataclass(frozen=True)
class OodMetrics:
    """Attributes:
    auroc: with its interval over images.
    aupr_in, aupr_out: average precision with in (low scores) or out (high scores) as the positive class, in [0, 1]. They
        depend on n_in / n_out; chance is the positive class's share.
    fpr95: FPR@95: share of in-distribution images at or above the threshold at which at least 95 % of the OOD images are,
        in [0, 1]; lower is better.
    most, least: the 7 highest and 7 lowest scores over both sets.
    roc: float64 (P, 2), false and true positive rate. pr_in, pr_out: float64 (P, 2), recall and precision. Thinned to at
        most 101 points; area under them agrees with the numbers to about .01. None where they were not asked for.
    """

    auroc: Auroc = field(metadata=MERGED)
    aupr_in: float = field(metadata=named("AUPR_IN"))
    aupr_out: float = field(metadata=named("AUPR_OUT"))
    fpr95: float = field(metadata=named("FPR@95"))
    most: tuple[ExtremeScore, ...]
    least: tuple[ExtremeScore, ...]
    roc: NDArray[np.float64] | None = field(default=None, metadata=IF_KNOWN)
    pr_in: NDArray[np.float64] | None = field(default=None, metadata=IF_KNOWN)
    pr_out: NDArray[np.float64] | None = field(default=None, metadata=IF_KNOWN)
    histogram: ScoreHistograms | None = field(default=None, metadata=IF_KNOWN)


def ood_metrics(
    inside: NDArray[np.float64],
    outside: NDArray[np.float64],
    *,
    ids: tuple[NDArray[np.str_], NDArray[np.str_]] | None = None,
    curves: bool = True,
) -> OodMetrics:
    """Judge anomaly scores, higher = more anomalous.

    Args:
        inside: float64 (n_in,), of in-distribution images that are not in the training set. outside: float64 (n_out,).
        ids: of both, for the extremes. curves: also ROC and PR curves and histograms.
    Raises:
        DataError: an empty set, or scores that are not finite.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

    area = auroc(inside, outside)
    scores = np.concatenate([inside, outside])
    is_out = np.repeat([0, 1], [len(inside), len(outside)])
    fpr, tpr, _ = roc_curve(is_out, scores, drop_intermediate=False)

    def extreme(at: int) -> ExtremeScore:
        out = at >= len(inside)
        row = at - len(inside) if out else at
        return ExtremeScore("out" if out else "in", row, float(scores[at]), None if ids is None else str(ids[out][row]))

    order = np.argsort(-scores, kind="stable").tolist()
    drawn: dict[str, NDArray[np.float64]] = {}
    if curves:
        precision_in, recall_in, _ = precision_recall_curve(1 - is_out, -scores)
        precision_out, recall_out, _ = precision_recall_curve(is_out, scores)
        pairs = {"roc": (fpr, tpr), "pr_in": (recall_in, precision_in), "pr_out": (recall_out, precision_out)}
        drawn = {name: np.round(thin(x, y), 5) for name, (x, y) in pairs.items()}
    return OodMetrics(
        auroc=area,
        aupr_in=float(average_precision_score(1 - is_out, -scores)),
        aupr_out=float(average_precision_score(is_out, scores)),
        fpr95=float(fpr[np.argmax(tpr >= 0.95)]),
        most=tuple(extreme(at) for at in order[:EXTREMES]),
        least=tuple(extreme(at) for at in order[::-1][:EXTREMES]),
        histogram=_histograms(inside, outside) if curves else None,
        **drawn,
    )


def _histograms(inside: NDArray[np.float64], outside: NDArray[np.float64]) -> ScoreHistograms:
    low, high = np.percentile(np.concatenate([inside, outside]), [0.5, 99.5])
    if not high > low:
        # One value throughout (or nearly): one bin's width around it.
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    counts = [np.histogram(np.clip(scores, low, high), edges)[0].astype(np.int64) for scores in (inside, outside)]
    return ScoreHistograms(edges, *counts)


def thin(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most 101 of a curve's points, evenly spaced along it, ends kept: float64 (P, 2)."""
    curve = np.stack([x, y], axis=1).astype(np.float64)
    if len(curve) <= _POINTS:
        return curve
    walked = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(curve, axis=0)).sum(axis=1))])
    keep = np.searchsorted(walked, np.linspace(0, walked[-1], _POINTS - 1))
    kept: NDArray[np.float64] = curve[np.unique(np.concatenate([keep, [0, len(curve) - 1]]))]
    return kept


# Classes as anomalies: one class is normal and the rest are not (one-class), or one class is left out (near-OOD)


@dataclass(frozen=True)
class ClassAuroc:
    """AUROC of one class."""

    name: str = field(metadata=named("class"))
    auroc: Auroc = field(metadata=MERGED)


@dataclass(frozen=True)
class ClassAurocs:
    """Attributes:
    kind: "one-class" or "held-out". mean: mean AUROC over the classes, in [0, 1].
    """

    kind: str
    mean: float
    classes: tuple[ClassAuroc, ...]


@dataclass(frozen=True)
class ClassScores:
    """Anomaly of M queries, float64 (classes, M). one_class: when only class c is normal. held_out: when training lacks class c."""

    one_class: NDArray[np.float64]
    held_out: NDArray[np.float64]


def class_neighbors(
    train: NDArray[np.float32] | Index,
    train_labels: NDArray[np.int64],
    queries: NDArray[np.float32],
    classes: int,
    *,
    score: str = "knn-norm",
) -> list[Neighbors]:
    """Each query's k nearest training vectors of each class: one search serves every table here.

    Args:
        train: float32 (N, D), or their index in the score's metric; labels int64 (N,), -1 = left out.
        queries: float32 (M, D), none of them in ``train``.
        score: "knn2" (L2, k = 2) or "knn-norm" (unit length, L2, k = 50).
    Returns:
        one per class, rows counted in ``train``; shorter where a class has fewer than k images.
    Raises:
        ConfigError: unknown score. DataError: a class without training images.
    """
    metric, k = _search_of(score)
    missing = np.setdiff1d(np.arange(classes), train_labels)
    if len(missing):
        raise DataError(f"class {missing[0]} has no training images; every class needs some to be scored.")
    index = train if isinstance(train, Index) else Index(train, metric=metric)
    out = []
    for c in range(classes):
        rows = np.flatnonzero(train_labels == c)
        neighbors = index.take(rows).search(queries, min(k, len(rows)))
        out.append(Neighbors(neighbors.distances, rows[neighbors.indices]))
    return out


def class_scores(near: Sequence[Neighbors], *, score: str = "knn-norm") -> ClassScores:
    """From the lists of :func:`class_neighbors`. A class with fewer than k images uses all of them."""
    metric, k = _search_of(score)
    # (classes, M, k), ascending; infinite where a class has fewer than k images
    distances = np.full((len(near), len(near[0].distances), k), np.inf, dtype=np.float32)
    for own, item in zip(distances, near, strict=True):
        own[:, : item.distances.shape[1]] = np.sqrt(2 * item.distances) if metric == "cosine" else item.distances
    held_out = []
    for c in range(len(near)):
        rest = np.concatenate([own for other, own in enumerate(distances) if other != c], axis=1)
        held_out.append(_combine(np.sort(np.partition(rest, k - 1, axis=1)[:, :k], axis=1), score))
    return ClassScores(np.stack([_combine(own, score) for own in distances]), np.stack(held_out))


def _search_of(score: str) -> tuple[str, int]:
    if score not in CLASS_SCORES:
        raise unknown("score", score, CLASS_SCORES)
    return SCORES[score].metric or "", SCORES[score].k or 0


def _combine(nearest: NDArray[np.float32], score: str) -> NDArray[np.float64]:
    """Distances (M, k), ascending, infinite where missing -> the score, float64 (M,)."""
    there = int(np.isfinite(nearest[0]).sum()) if len(nearest) else 0
    used = nearest[:, : max(there, 1)].astype(np.float64)
    out: NDArray[np.float64] = used.mean(axis=1) if score == "knn2" else used[:, -1]
    return out


def class_aurocs(
    scores: NDArray[np.float64], labels: NDArray[np.int64], classes: tuple[str, ...], kind: str
) -> ClassAurocs:
    """AUROC for each class from scores (classes, M) of M test images with labels int64 (M,), -1 = left out.

    kind "one-class": scores[c] treats class c as normal, all others are anomalies (the mean over classes is what the
    one-class literature reports). kind "held-out": scores[c] was made without class c, which is the anomaly.

    Raises:
        ConfigError: unknown kind. DataError: fewer than 2 classes, or a class without test images.
    """
    if kind not in ("one-class", "held-out"):
        raise unknown("kind", kind, ("one-class", "held-out"))
    if len(classes) < 2:
        raise DataError(f"classes as anomalies need at least 2 classes; got {len(classes)}.")
    rows = []
    for c, name in enumerate(classes):
        own, others = scores[c][labels == c], scores[c][(labels >= 0) & (labels != c)]
        if not len(own) or not len(others):
            raise DataError(f"class '{name}' has no test images, or is the only one that has.")
        rows.append(ClassAuroc(name, auroc(own, others) if kind == "one-class" else auroc(others, own)))
    return ClassAurocs(kind, float(np.mean([row.auroc.value for row in rows])), tuple(rows))
