"""Does an encoder collapse foreign images to a point? Their variance along the in-distribution principal components."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import DataError

_SHOWN = 10
_MOST = 25_000
_CHUNK = 2048  # rows in float64 at a time: of raw pixels 50 MB; smaller pieces would lie in a heap that does not shrink


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

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self) | {"per_component": list(self.per_component)}


@dataclass(frozen=True)
class Moments:
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
class Reference:
    """What a set is compared with: :class:`Moments` along its principal components, in far less memory.

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


def reference(of: Moments) -> Reference:
    """The principal components of a set's moments."""
    values, vectors = np.linalg.eigh(of.covariance)
    values = np.maximum(values[::-1], 0)
    total = float(values.sum())
    kept = int(np.searchsorted(np.cumsum(values) / total, 0.95)) + 1 if total > 0 else 0
    first = max(kept, min(_SHOWN, len(values)))
    return Reference(of.mean, of.length, of.effective_rank(), values, vectors[:, ::-1][:, :first].copy(), kept)


def moments(Z: NDArray[np.float32], seed: int = 0) -> Moments:
    """Of vectors (N, D), at most 25,000 rows, a seeded choice; a spread within float32's rounding of the position is none.

    Raises:
        DataError: not (N, D), or fewer than 2 rows.
    """
    if Z.ndim != 2 or len(Z) < 2:
        raise DataError(f"a variance needs at least 2 images, (N, D); got {Z.shape}.")
    length = float(np.linalg.norm(Z, axis=1).mean(dtype=np.float64))
    if len(Z) > _MOST:
        Z = Z[np.sort(np.random.default_rng(seed).permutation(len(Z))[:_MOST])]
    mean, top, widest = Z.mean(axis=0, dtype=np.float64), float(np.abs(Z).max()), 0.0
    covariance = np.zeros((Z.shape[1], Z.shape[1]))
    for start in range(0, len(Z), _CHUNK):  # float64 only by chunks
        centred = Z[start : start + _CHUNK] - mean
        widest = max(widest, float(np.abs(centred).max()))
        covariance += centred.T @ centred
    if not widest > 1e-6 * top:
        covariance[:] = 0
    return Moments(mean, covariance / len(Z), length)


def spread(inside: Reference, outside: Moments) -> Spread:
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
    shown = min(_SHOWN, int((values > 1e-9 * values[0]).sum()))
    return Spread(
        variance_ratio=out_total / total,
        per_component=tuple(float(v) for v in along[:shown] / values[:shown]),
        outside=min(1.0, max(0.0, 1 - float(along[: inside.kept].sum()) / out_total)) if out_total > 0 else None,
        norm_ratio=ratio,
        mean_shift=float(np.linalg.norm(outside.mean - inside.mean) / np.sqrt(total)),
        effective_rank_in=inside.rank,
        effective_rank_out=outside.effective_rank(),
    )
