"""Do two images show the same shot? Aligned correlation of structure, in three steps from cheap to exact.

1. A coarse search on 16 x 16 pixels over shifts, flips and which image lies inside the other; most pairs end here.
2. A search on 32 x 32 pixels over shifts of up to 3 pixels and scales.
3. Gauss-Newton to a fraction of a pixel, with a scale per axis.

Two bands are compared: grey, and its detail (a difference of Gaussians), because smooth images (sky above, grass
below) correlate in grey without being the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from nearkin.duplicates.correlation import FLAT, place
from nearkin.duplicates.ecc import refine
from nearkin.errors import DataError

GRID, REACH = 32, 3
SCALES = (1.0, 0.83, 0.91, 1.1, 1.2)
_COARSE, _COARSE_REACH, _COARSE_SCALES = 16, 2, (1.0, 0.85)
# Detail below which a pair is not looked at further, on the coarse and on the fine grid. What they lose is measured
# with every calibration (planted copies that are not compared count as missed).
COARSE_GATE, FINE_GATE = 0.6, 0.35
_SIGMAS = (0.7, 2.0)  # of the difference of Gaussians, in pixels of either grid
_WINDOW, _BLOCK = 7, 5  # of the local comparison and of the extent
_STABLE = 0.0025  # share of the region's variance: flat windows count as alike unless one of them has structure
_CHUNK = 2048


@dataclass(frozen=True)
class Alignment:
    """The best alignment of M pairs.

    Attributes:
        compared: bool (M,), False where step 1 or 2 ended it; then correlation, local and extent are 0.
        correlation: float32 (M,), of the aligned grey images, in [-1, 1].
        detail: float32 (M,), of the aligned detail, in [-1, 1]; where not compared, from the step that ended it.
        local: float32 (M,), mean over 7 x 7 windows of the structural term of SSIM (Wang et al. 2004), in [-1, 1]:
            low where only the outline of an object agrees.
        extent: float32 (M,), how much of the region has detail, in (0, 1]: participation ratio of its energy over 5 x 5
            windows, the smaller of both images. Agreement of a silhouette on a clear sky means less than of a meadow.
        flip: bool (M,), whether the second image is mirrored.
    """

    compared: NDArray[np.bool_]
    correlation: NDArray[np.float32]
    detail: NDArray[np.float32]
    local: NDArray[np.float32]
    extent: NDArray[np.float32]
    flip: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.detail)

    def take(self, index: NDArray[np.int64]) -> Alignment:
        """The pairs at ``index``."""
        return Alignment(*(getattr(self, item.name)[index] for item in fields(self)))


def align(
    first: NDArray[np.uint8], second: NDArray[np.uint8], pairs: NDArray[np.int64], *, threads: int | None = None
) -> Alignment:
    """Align ``second[pairs[:, 1]]`` with ``first[pairs[:, 0]]``; in chunks of about 100 megabytes.

    Args:
        first: uint8 (N, C, H, W). second: uint8 (M, C, H, W), of any size; both are brought to 32 x 32.
        pairs: int64 (P, 2), rows of first and second.
        threads: chunks worked on at once; default: the number of cores. The result does not depend on it.
    Raises:
        DataError: images that are not (N, C, H, W).
    """
    for images in (first, second):
        if images.ndim != 4 or 0 in images.shape[1:]:
            raise DataError(f"aligned check: images {images.shape} must be (N, C, H, W).")
    chunks = [pairs[start : start + _CHUNK] for start in range(0, max(1, len(pairs)), _CHUNK)]
    small_first, small_second = (_small(images, pairs[:, side]) for side, images in enumerate((first, second)))

    def work(rows: NDArray[np.int64]) -> Alignment:
        a, b = rows.T
        return _align(first, second, a, b, small_first(a), small_second(b))

    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        parts = list(pool.map(work, chunks))
    return Alignment(*(np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(Alignment)))


def _small(images: NDArray[np.uint8], wanted: NDArray[np.int64]) -> Callable[[NDArray[np.int64]], NDArray[np.float32]]:
    """The coarse detail of images by row: made once for each image that is wanted, since it stands in several pairs."""
    rows = np.unique(wanted)
    half = averages(GRID, _COARSE)
    made = np.zeros((len(rows), _COARSE, _COARSE), dtype=np.float32)
    for start in range(0, len(rows), _CHUNK):
        part = grey(images[rows[start : start + _CHUNK]])
        made[start : start + _CHUNK] = detail(np.asarray(half @ part @ half.T, dtype=np.float32))
    return lambda asked: made[np.searchsorted(rows, asked)]


def _align(
    first: NDArray[np.uint8],
    second: NDArray[np.uint8],
    rows_a: NDArray[np.int64],
    rows_b: NDArray[np.int64],
    small_a: NDArray[np.float32],
    small_b: NDArray[np.float32],
) -> Alignment:
    # The template is the middle of its image: it may be inside the other image's frame, or the other way round.
    there, back = (place(x, y, _COARSE_REACH, _COARSE_SCALES) for x, y in ((small_a, small_b), (small_b, small_a)))
    turned = back.value > there.value
    value, flip = np.where(turned, back.value, there.value), np.where(turned, back.flip, there.flip)
    alive = np.flatnonzero(value >= COARSE_GATE)
    turn, mirror = turned[alive, None, None], flip[alive, None, None]
    a, b = grey(first[rows_a[alive]]), grey(second[rows_b[alive]])
    a, b = np.where(turn, b, a), np.where(turn, a, b)
    b = np.where(mirror, b[..., ::-1], b)
    fine_a, fine_b = detail(a), detail(b)
    placed = place(fine_a, fine_b, REACH, SCALES, mirror=False)
    value[alive] = placed.value
    good = np.flatnonzero(placed.value >= FINE_GATE)
    steered = (np.stack([whole[good], fine[good]], axis=1) for whole, fine in ((a, fine_a), (b, fine_b)))
    refined, seen, target = refine(next(steered), next(steered), placed.take(good), REACH)
    alive = alive[good]
    compared = np.zeros(len(value), dtype=bool)
    correlation, local, extent = (np.zeros(len(value), dtype=np.float32) for _ in range(3))
    compared[alive], correlation[alive], value[alive] = True, refined[:, 0], refined[:, 1]
    local[alive] = _local(seen[:, 0], target[:, 0])
    extent[alive] = np.minimum(_extent(seen[:, 1]), _extent(target[:, 1]))
    return Alignment(compared, correlation, value, local, extent, flip)


def grey(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 (N, C, H, W) -> float32 (N, 32, 32), grey levels (mean of the channels)."""
    flat = images.mean(axis=1, dtype=np.float32)
    if flat.shape[1:] == (GRID, GRID):
        return np.asarray(flat)
    rows, columns = (averages(side, GRID) for side in flat.shape[1:])
    return np.asarray(rows @ flat @ columns.T)


def detail(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Difference of Gaussians of grey pictures (N, S, S)."""
    fine, coarse = (_gaussian(pictures.shape[-1], sigma) for sigma in _SIGMAS)
    return np.asarray(fine @ pictures @ fine.T - coarse @ pictures @ coarse.T)


def _local(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean structural similarity of two aligned regions (M, W, W) of mean 0, brought to the same contrast."""
    size = [np.sqrt(np.square(x).mean(axis=(1, 2), keepdims=True) + FLAT) for x in (a, b)]
    a, b = a / size[0], b / size[1]

    def mean(x: NDArray[np.float32]) -> NDArray[np.float32]:
        half = _WINDOW // 2
        return np.asarray(uniform_filter(x, (0, _WINDOW, _WINDOW))[:, half:-half, half:-half])

    mean_a, mean_b = mean(a), mean(b)
    both = mean(a * b) - mean_a * mean_b
    spread = np.maximum(mean(a * a) - mean_a**2, 0) * np.maximum(mean(b * b) - mean_b**2, 0)
    return np.asarray(((both + _STABLE) / (np.sqrt(spread) + _STABLE)).mean(axis=(1, 2)))


def _extent(region: NDArray[np.float32]) -> NDArray[np.float32]:
    """Participation ratio (sum e)^2 / (n sum e^2) of the detail's energy e in n windows of regions (M, W, W)."""
    half = _BLOCK // 2
    energy = uniform_filter(np.square(region), (0, _BLOCK, _BLOCK))[:, half::_BLOCK, half::_BLOCK]
    energy = energy.reshape(len(region), energy.shape[1] * energy.shape[2]) + 1e-3
    return np.asarray(np.square(energy.sum(axis=1)) / (energy.shape[1] * np.square(energy).sum(axis=1)))


def averages(side: int, grid: int) -> NDArray[np.float32]:
    """(grid, side): averages where the image is larger than the grid, linear interpolation where it is smaller."""
    step = side / grid
    centre = np.clip((np.arange(grid) + 0.5) * step - 0.5, 0, side - 1)
    weight = np.maximum(0, 1 - np.abs(centre[:, None] - np.arange(side)) / max(step, 1))
    return np.asarray(weight / weight.sum(axis=1, keepdims=True), dtype=np.float32)


def _gaussian(side: int, sigma: float) -> NDArray[np.float32]:
    """(side, side): Gaussian blur as a matrix, rows summing to 1 (so that borders are not darkened)."""
    offsets = np.arange(side)[:, None] - np.arange(side)
    weight = np.exp(-0.5 * np.square(offsets / sigma))
    return np.asarray(weight / weight.sum(axis=1, keepdims=True), dtype=np.float32)
