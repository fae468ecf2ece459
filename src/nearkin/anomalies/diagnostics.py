"""What makes foreign images easy or hard to tell: how widely they spread, whom they resemble, which digits stand out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearkin.anomalies.ood_sets import OodSet
from nearkin.errors import DataError
from nearkin.evaluate.stats import spearman
from nearkin.vectors import sample_rows

_CHUNK = 2048  # rows in float64 at a time: 50 MB of raw pixels; smaller blocks would come from the heap, which does not shrink


# Does an encoder collapse foreign images to a point? Their variance along the in-distribution principal components

_COMPONENTS = 10
_SPREAD_ROWS = 25_000


@dataclass(frozen=True)
class Spread:
    """Attributes:
    variance_ratio: total variance of out over that of in; 0 = a point, 1 = spread as widely. None if in is constant.
    per_component: variance of out over in along the first 10 principal components of in.
    outside: share of out's variance off the components that hold 95 % of in's, in [0, 1]; about .05 for in itself. None
        if either set is constant.
    norm_ratio: mean length of out's vectors over that of in's; short vectors are near everything in L2, whatever they
        show. None if in is all zero.
    mean_shift: distance of the two means over the square root of in's total variance. None if in is constant.
    effective_rank_in, effective_rank_out: (sum of variances)^2 / sum of squared variances along the principal components of
        each set (participation ratio), in [1, D]; None for a constant set.
    """

    variance_ratio: float | None
    per_component: tuple[float, ...]
    outside: float | None
    norm_ratio: float | None
    mean_shift: float | None
    effective_rank_in: float | None
    effective_rank_out: float | None


@dataclass(frozen=True)
class SetMoments:
    """Attributes:
    mean: float64 (D,). covariance: float64 (D, D), divisor N. length: mean length of the vectors.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    length: float

    def effective_rank(self) -> float | None:
        """(tr C)^2 / tr(C C), which is the participation ratio of the variances; None for a constant set."""
        top = float(np.abs(self.covariance).max())
        if not top > 0:
            return None
        share = self.covariance / top  # keeps the squares of tiny variances above 0
        return float(np.trace(share) ** 2 / np.square(share).sum())


@dataclass(frozen=True)
class PrincipalAxes:
    """:class:`SetMoments` along the principal components of a set, in far less memory.

    Attributes:
        mean: float64 (D,). length: mean length of the vectors. rank: effective rank, None for a constant set.
        variances: float64 (D,), largest first. directions: float64 (D, C), those of the first C: of all that hold 95 % of
            the variance, and at least of 10.
        kept: how many hold 95 %.
    """

    mean: NDArray[np.float64]
    length: float
    rank: float | None
    variances: NDArray[np.float64]
    directions: NDArray[np.float64]
    kept: int


def moments(Z: NDArray[np.float32], seed: int = 0) -> SetMoments:
    """Of vectors (N, D), at most 25,000 rows, a seeded choice; a spread within float32's rounding of the position is none.

    Raises:
        DataError: not (N, D), or fewer than 2 rows.
    """
    if Z.ndim != 2 or len(Z) < 2:
        raise DataError(f"a variance needs at least 2 images, (N, D); got {Z.shape}.")
    length = float(np.linalg.norm(Z, axis=1).mean(dtype=np.float64))
    if len(Z) > _SPREAD_ROWS:
        Z = Z[sample_rows(len(Z), _SPREAD_ROWS, seed)]
    mean, top, widest = Z.mean(axis=0, dtype=np.float64), float(np.abs(Z).max()), 0.0
    covariance = np.zeros((Z.shape[1], Z.shape[1]))
    for start in range(0, len(Z), _CHUNK):  # float64 only by chunks
        centred = Z[start : start + _CHUNK] - mean
        widest = max(widest, float(np.abs(centred).max()))
        covariance += centred.T @ centred
    if not widest > 1e-6 * top:
        covariance[:] = 0
    return SetMoments(mean, covariance / len(Z), length)


def principal_axes(of: SetMoments) -> PrincipalAxes:
    """The principal components of a set's moments."""
    values, vectors = np.linalg.eigh(of.covariance)
    values = np.maximum(values[::-1], 0)
    total = float(values.sum())
    kept = int(np.searchsorted(np.cumsum(values) / total, 0.95)) + 1 if total > 0 else 0
    first = max(kept, min(_COMPONENTS, len(values)))
    return PrincipalAxes(of.mean, of.length, of.effective_rank(), values, vectors[:, ::-1][:, :first].copy(), kept)


def spread(inside: PrincipalAxes, outside: SetMoments) -> Spread:
    """Compare the variance of out with that of in.

    Raises:
        DataError: other widths.
    """
    if len(inside.mean) != len(outside.mean):
        raise DataError(f"in ({len(inside.mean)} dimensions) and out ({len(outside.mean)}) must have the same width.")
    values = inside.variances
    total, out_total = float(values.sum()), float(np.trace(outside.covariance))
    ratio = outside.length / inside.length if inside.length > 0 else None
    if not total > 0:
        return Spread(None, (), None, ratio, None, None, outside.effective_rank())
    along = np.einsum("dk,dk->k", inside.directions, outside.covariance @ inside.directions)
    shown = min(_COMPONENTS, int((values > 1e-9 * values[0]).sum()))
    return Spread(
        variance_ratio=out_total / total,
        per_component=tuple(float(v) for v in along[:shown] / values[:shown]),
        outside=min(1.0, max(0.0, 1 - float(along[: inside.kept].sum()) / out_total)) if out_total > 0 else None,
        norm_ratio=ratio,
        mean_shift=float(np.linalg.norm(outside.mean - inside.mean) / np.sqrt(total)),
        effective_rank_in=inside.rank,
        effective_rank_out=outside.effective_rank(),
    )


# Which training images do foreign images resemble? A neighbour score is blind to whatever has look-alikes in training

RESEMBLED_K, _QUERIES, _TOP, _SHOWN = 50, 2000, 100, 7


@dataclass(frozen=True)
class Resembled:
    """Attributes:
    k: neighbours per image. n: foreign images asked (at most 2,000).
    distinct: training images that are a neighbour of any of them.
    top_share: share of the n k places that the 100 most frequent training images take, in [0, 1]; near 1 means that a few
        training images alone make the foreign ones look familiar.
    rows: the 7 most frequent, most frequent first. counts: in how many of the n lists each stands. ids: of these images.
    """

    k: int
    n: int
    distinct: int
    top_share: float
    rows: tuple[int, ...]
    counts: tuple[int, ...]
    ids: tuple[str, ...]


def query_rows(n: int, seed: int = 0) -> NDArray[np.int64]:
    """Which of n foreign images are asked: at most 2,000, a seeded choice, ascending."""
    return sample_rows(n, _QUERIES, seed)


def resembled(lists: NDArray[np.int64], ids: NDArray[np.str_]) -> Resembled:
    """Count the training images in lists of nearest ones (cosine, as in "knn-norm").

    Args:
        lists: int64 (M, k), rows of the training images, of the foreign images at :func:`query_rows`.
        ids: str (N,), of the training images.
    """
    counts = np.bincount(lists.ravel(), minlength=len(ids))
    order = np.argsort(-counts, kind="stable")
    first = order[: min(_SHOWN, int((counts > 0).sum()))].tolist()
    return Resembled(
        lists.shape[1],
        len(lists),
        int((counts > 0).sum()),
        float(counts[order[:_TOP]].sum() / max(1, counts.sum())),
        tuple(first),
        tuple(counts[first].tolist()),
        tuple(ids[first].tolist()),
    )


# Which digits, and which stroke thickness, do the most anomalous digit images have?

_MOST = 0.05


@dataclass(frozen=True)
class DigitShare:
    """Attributes:
    digit: the class. share: of all images. share_of_most: of the most anomalous ones.
    mean_rank: by the score, 0 = least, 1 = most anomalous.
    """

    digit: str
    share: float
    share_of_most: float
    mean_rank: float


@dataclass(frozen=True)
class DigitSummary:
    """Attributes:
    n_most: number of the 5 % most anomalous. thickness_all, thickness_most: mean stroke thickness in pixels.
    thickness_rho: Spearman correlation of thickness and score (None if one is constant).
    per_digit: empty without labels. statement: all that in words.
    """

    n_most: int
    thickness_all: float
    thickness_most: float
    thickness_rho: float | None
    per_digit: tuple[DigitShare, ...]
    statement: str


def describe_digits(scores: NDArray[np.float64], item: OodSet) -> DigitSummary:
    """Of a set with strokes, which has ``thickness``; scores float64 (N,), higher = more anomalous."""
    from scipy.stats import rankdata

    if item.thickness is None:
        raise ValueError(f"'{item.name}' has no strokes")
    n = len(scores)
    n_most = max(1, round(_MOST * n))
    most = np.argsort(-scores, kind="stable")[:n_most]
    ranks = (rankdata(scores) - 1) / max(n - 1, 1)
    labels = item.items.labels
    rows = []
    for k, name in enumerate(item.items.classes):
        mine = labels == k if labels is not None else np.zeros(n, dtype=bool)
        if mine.any():
            rows.append(DigitShare(name, float(mine.mean()), float(mine[most].mean()), float(ranks[mine].mean())))
    everywhere, among_most = float(item.thickness.mean()), float(item.thickness[most].mean())
    rho = spearman(item.thickness, scores) if n > 2 else None
    leading = sorted(rows, key=lambda row: row.share - row.share_of_most)[:3]
    which = ", ".join(
        f"{row.digit} ({100 * row.share_of_most:.0f} % against {100 * row.share:.0f} %)" for row in leading
    )
    told = "" if rho is None else f", rank correlation with the score {rho:+.2f}"
    statement = (
        f"the {n_most} most anomalous are {f'above all {which}' if which else 'of unknown digits'}; "
        f"their strokes are {among_most:.2f} pixels thick against {everywhere:.2f}{told}"
    )
    return DigitSummary(n_most, everywhere, among_most, rho, tuple(rows), statement)
