"""Rows of arrays: seeded samples, checks for degenerate vectors, and standardisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import DataError

_CHUNK = 4096


def sample_rows(
    rows: int | NDArray[Any],
    most: int,
    seed: int | Sequence[int] | np.random.Generator = 0,
    *,
    shuffled: bool = False,
) -> NDArray[np.int64]:
    """Draw at most ``most`` rows without replacement. Sets come sorted by class, so the first rows are no sample.

    Args:
        rows: a number n, for 0 to n - 1, or the rows (n,) to choose from.
        seed: as for ``numpy.random.default_rng``; a generator is drawn from.
        shuffled: leave them in random order.
    Returns:
        int64 (min(n, most),), ascending unless ``shuffled``.
    """
    drawn: NDArray[np.int64] = np.random.default_rng(seed).permutation(rows)[:most]
    return drawn if shuffled else np.sort(drawn)


def finite_rows(Z: NDArray[Any]) -> NDArray[np.bool_]:
    """bool (N,): which rows of (N, D) hold finite numbers only. By chunks: a mask of all entries can be large."""
    parts = [np.isfinite(Z[start : start + _CHUNK]).all(axis=1) for start in range(0, len(Z), _CHUNK)]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.bool_)


def zero_rows(Z: NDArray[Any]) -> NDArray[np.bool_]:
    """bool (N,): which rows of (N, D) have length 0 and so no direction."""
    return ~np.asarray(Z.any(axis=1))


def all_equal(Z: NDArray[Any], tolerance: float = 0.0) -> bool:
    """Whether all rows of (N, ...) are one and the same. Rounding may part them by ``tolerance`` of the largest entry."""
    if not Z.size:
        return True
    spread = float(np.ptp(Z, axis=0).max())
    return not spread > (tolerance and tolerance * max(1e-12, float(np.abs(Z).max())))


def check_finite(Z: NDArray[Any], what: str, fix: str = "the run that made them diverged") -> None:
    """Raise DataError, one line that begins with ``what`` (such as "linear probe: the features"), where a value is NaN or
    infinite.
    """
    if not np.isfinite(Z).all():
        raise DataError(f"{what} hold values that are not finite; {fix}.")


def standardize(train: NDArray[np.float32], *others: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Subtract the train mean and divide by the train std, per dimension of (N, D); constant dimensions become 0."""
    mean = train.mean(axis=0, dtype=np.float64)
    squares = np.zeros(train.shape[1])
    for start in range(0, len(train), _CHUNK):  # float64 only by chunks: pixels of a large set fill the memory
        centred = train[start : start + _CHUNK] - mean
        squares += np.einsum("nd,nd->d", centred, centred)
    std = np.sqrt(squares / max(1, len(train)))
    # A constant column has a std of rounding size only; dividing by it would blow noise up.
    scale = np.where(std > 1e-6 * np.maximum(1e-12, np.abs(mean)), std, np.inf)
    out = []
    for z in (train, *others):
        scaled = np.empty(z.shape, dtype=np.float32)
        for start in range(0, len(z), _CHUNK):
            scaled[start : start + _CHUNK] = (z[start : start + _CHUNK] - mean) / scale
        out.append(scaled)
    return out
