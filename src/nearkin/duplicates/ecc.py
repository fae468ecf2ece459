"""Sub-pixel alignment of many pairs of small images: Gauss-Newton on the normalised difference.

Maximises the enhanced correlation coefficient (Evangelidis & Psarakis 2008) over a shift and a scale per axis: what
cropping and resizing do to a picture. The correlation of a true copy rises towards 1 by it; that of two different
pictures hardly does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nearkin.duplicates.correlation import FLAT, Placed

STEPS = 6
_MOST_STEP = np.array([1.0, 1.0, 0.08, 0.08], dtype=np.float32)  # pixels, pixels, scale, scale
_MOST = np.array([4.0, 4.0, 0.3, 0.3], dtype=np.float32)
# Keeps the equations solvable on flat images; far below what a structured image contributes.
_DAMPING = np.array([1e-3, 1e-3, 0.1, 0.1], dtype=np.float32)


def refine(
    a: NDArray[np.float32], b: NDArray[np.float32], start: Placed, reach: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Refine ``start`` (from :func:`place` with the same ``reach``, nothing mirrored); the last band steers.

    Args:
        a, b: float32 (M, B, S, S), in grey levels.
    Returns:
        value float32 (M, B), correlation in each band;
        first and second float32 (M, B, W, W), W = S - 2 reach: both regions, aligned, of mean 0.
    """
    n, side = len(a), a.shape[-1]
    width = side - 2 * reach
    u = (np.arange(width) - (width - 1) / 2).astype(np.float32)
    centre = (side - 1) / 2
    second = _centred(_read(b, *((centre + u + start.shift[:, k : k + 1]).astype(np.float32) for k in (0, 1))))
    target = second[:, -1] / _norm(second)[:, -1, None, None]
    steer = a[:, -1:]
    slopes = np.gradient(steer, axis=2), np.gradient(steer, axis=3)
    move = np.stack([np.zeros(n), np.zeros(n), start.scale - 1, start.scale - 1], axis=1).astype(np.float32)
    best, kept = np.full(n, -np.inf, dtype=np.float32), move.copy()
    for step in range(STEPS + 1):
        at = _points(move, u, centre, side)
        seen = _centred(_read(steer, *at))
        size = _norm(seen)[:, 0, None, None]
        seen = seen[:, 0] / size
        value = (seen * target).mean(axis=(1, 2))
        better = value > best
        best[better], kept[better] = value[better], move[better]
        if step == STEPS:
            break
        down, right = (_read(slope, *at)[:, 0] / size for slope in slopes)
        jacobian = np.stack([down, right, down * u[:, None], right * u], axis=1).reshape(n, 4, width * width)
        jacobian -= jacobian.mean(axis=2, keepdims=True)
        missing = (target - seen).reshape(n, width * width, 1)
        normal = jacobian @ jacobian.transpose(0, 2, 1) + np.diag(_DAMPING * width * width * 0.01)
        change = np.linalg.solve(normal, jacobian @ missing)[..., 0]
        move = np.clip(move + np.clip(change, -_MOST_STEP, _MOST_STEP), -_MOST, _MOST)
    first = _centred(_read(a, *_points(kept, u, centre, side)))
    value = (first * second).mean(axis=(2, 3)) / (_norm(first) * _norm(second))
    return value, first, second


def _points(
    move: NDArray[np.float32], u: NDArray[np.float32], centre: float, side: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Rows and columns (M, W) at which the first image is read; never outside it."""
    rows, columns = (centre + move[:, k : k + 1] + u * (1 + move[:, k + 2 : k + 3]) for k in (0, 1))
    return np.clip(rows, 0, side - 1), np.clip(columns, 0, side - 1)


def _read(x: NDArray[np.float32], rows: NDArray[np.float32], columns: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bilinear reading (M, B, W, W) at a grid of rows and columns (M, W): two products of matrices."""
    grid = np.arange(x.shape[-1], dtype=np.float32)
    down, right = (np.maximum(0, 1 - np.abs(at[..., None] - grid)).astype(np.float32) for at in (rows, columns))
    return np.asarray(down[:, None] @ x @ right[:, None].transpose(0, 1, 3, 2))


def _centred(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(x - x.mean(axis=(2, 3), keepdims=True))


def _norm(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.sqrt(np.square(x).mean(axis=(2, 3)) + FLAT))
