"""Does an encoder collapse foreign images to a point? Their variance along the in-distribution principal components."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import DataError

_SHOWN = 10
_MOST = 25_000


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


def spread(inside: NDArray[np.float32], outside: NDArray[np.float32], *, seed: int = 0) -> Spread:
    """Compare the variance of in (N, D) and out (M, D); at most 25,000 rows of each, a seeded choice.

    Raises:
        DataError: other widths, or fewer than 2 rows in a set.
    """
    if inside.ndim != 2 or outside.ndim != 2 or inside.shape[1] != outside.shape[1]:
        raise DataError(f"in {inside.shape} and out {outside.shape} must have vectors of the same width.")
    if len(inside) < 2 or len(outside) < 2:
        raise DataError(f"a variance needs at least 2 images; got {len(inside)} and {len(outside)}.")
    mean, covariance = _moments(inside, seed)
    out_mean, out_covariance = _moments(outside, seed)
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    total, out_total = float(values.sum()), float(np.trace(out_covariance))
    length = float(np.linalg.norm(inside, axis=1).mean(dtype=np.float64))
    ratio = float(np.linalg.norm(outside, axis=1).mean(dtype=np.float64)) / length if length > 0 else None
    if not total > 0:
        return Spread(None, (), None, ratio, None, None, _rank(np.linalg.eigvalsh(out_covariance)))
    along = np.einsum("dk,de,ek->k", vectors, out_covariance, vectors, optimize=True)
    kept = int(np.searchsorted(np.cumsum(values) / total, 0.95)) + 1
    shown = min(_SHOWN, int((values > 1e-9 * values[0]).sum()))
    return Spread(
        variance_ratio=out_total / total,
        per_component=tuple(float(v) for v in along[:shown] / values[:shown]),
        outside=min(1.0, max(0.0, 1 - float(along[:kept].sum()) / out_total)) if out_total > 0 else None,
        norm_ratio=ratio,
        mean_shift=float(np.linalg.norm(out_mean - mean) / np.sqrt(total)),
        effective_rank_in=_rank(values),
        effective_rank_out=_rank(np.linalg.eigvalsh(out_covariance)),
    )


def _moments(Z: NDArray[np.float32], seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (D,) and covariance (D, D); a spread within float32's rounding of the position counts as none."""
    rows = np.random.default_rng(seed).permutation(len(Z))[:_MOST]
    z = Z[np.sort(rows)].astype(np.float64)
    top = float(np.abs(z).max())
    mean = z.mean(axis=0)
    z -= mean
    if not float(np.abs(z).max()) > 1e-6 * top:
        return mean, np.zeros((z.shape[1], z.shape[1]))
    return mean, z.T @ z / len(z)


def _rank(values: NDArray[Any]) -> float | None:
    values = np.maximum(values, 0)
    top = float(values.max())
    if not top > 0:
        return None
    share = values / top
    return float(share.sum() ** 2 / np.square(share).sum())
