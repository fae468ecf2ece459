"""Do two images show the same shot? Correlation of the aligned images, in three steps from cheap to exact.

1. :func:`place` on 16 x 16 pixels, over shifts, mirroring and which image lies inside the other. Most pairs end here.
2. :func:`place` on 32 x 32 pixels, over shifts of up to 3 pixels and over scales.
3. :func:`refine`: Gauss-Newton to a fraction of a pixel, with a scale per axis.

Two bands are compared: gray, and its detail (a difference of Gaussians), because smooth images (sky above, grass
below) correlate in gray without being the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import uniform_filter

from nearkin.errors import DataError

GRID, REACH = 32, 3
SCALES = (1.0, 0.83, 0.91, 1.1, 1.2)
_COARSE, _COARSE_REACH, _COARSE_SCALES = 16, 2, (1.0, 0.85)
# Detail below which a pair is not compared further, on the coarse and on the fine grid. Every calibration measures what
# these gates lose: planted copies that are not compared count as missed.
COARSE_GATE, FINE_GATE = 0.6, 0.35
_SIGMAS = (0.7, 2.0)  # of the difference of Gaussians, in pixels of either grid
_WINDOW, _BLOCK = 7, 5  # of the local comparison and of the extent
_STABLE = 0.0025  # share of the region's variance: flat windows count as alike unless one of them has structure
_CHUNK = 2048
# Gray levels^2 added to every variance, so that rounding noise in a flat region correlates with nothing.
FLAT = 2.0

# Of Gauss-Newton: steps; the most that one step, and all steps together, may change (pixels, pixels, scale, scale).
_STEPS = 6
_MOST_STEP = np.array([1.0, 1.0, 0.08, 0.08], dtype=np.float32)
_MOST = np.array([4.0, 4.0, 0.3, 0.3], dtype=np.float32)
# Keeps the equations solvable on flat images; far below what a structured image contributes.
_DAMPING = np.array([1e-3, 1e-3, 0.1, 0.1], dtype=np.float32)


# The symmetries of the square, and the same inverted. Bit 0: mirrored left to right, 1: upside down, 2: then rows and columns
# swapped, 3: inverted.
_SYMMETRIES = (
    "upright",
    "mirrored",
    "upside down",
    "half turn",
    "diagonal flip",
    "quarter turn",
    "quarter turn",
    "diagonal flip",
)
ORIENTATIONS = (*_SYMMETRIES, "inverted", *(f"{name}, inverted" for name in _SYMMETRIES[1:]))
MIRRORED = (1, 2, 4, 7)


class PairTable:
    """Base of frozen dataclasses whose fields are arrays (or such tables, or None) with one row per pair."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))  # type: ignore[arg-type]

    def __getitem__(self, index: NDArray[Any]) -> Self:
        """The pairs at ``index`` (rows or a mask)."""
        values = (getattr(self, item.name) for item in fields(self))  # type: ignore[arg-type]
        return type(self)(*(None if value is None else value[index] for value in values))

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """The pairs of several tables, one after another."""
        columns = [[getattr(part, item.name) for part in parts] for item in fields(cls)]  # type: ignore[arg-type]
        return cls(*(_concatenated(values) for values in columns))


def _concatenated(values: list[Any]) -> Any:
    if values[0] is None:
        return None
    return type(values[0]).concatenate(values) if isinstance(values[0], PairTable) else np.concatenate(values)


@dataclass(frozen=True)
class Alignment(PairTable):
    """The best alignment of M pairs.

    Attributes:
        compared: bool (M,), False where step 1 or 2 ended it; then correlation, local and extent are 0.
        correlation: float32 (M,), of the aligned gray images, in [-1, 1].
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


def align(
    first: NDArray[np.uint8],
    second: NDArray[np.uint8],
    pairs: NDArray[np.int64],
    *,
    orientation: NDArray[np.int64] | None = None,
    threads: int | None = None,
) -> Alignment:
    """Align ``second[pairs[:, 1]]`` with ``first[pairs[:, 0]]``; in chunks of about 100 megabytes.

    Args:
        first: uint8 (N, C, H, W). second: uint8 (M, C, H, W), of any size. Both are brought to 32 x 32.
        pairs: int64 (P, 2), rows of first and second.
        orientation: int64 (P,), places in ``ORIENTATIONS`` to which each second image is brought before. None: it is
            compared upright and mirrored.
        threads: chunks worked on at once; default: the number of cores. The result does not depend on it.
    Raises:
        DataError: images that are not (N, C, H, W).
    """
    for images in (first, second):
        if images.ndim != 4 or 0 in images.shape[1:]:
            raise DataError(f"aligned check: images {images.shape} must be (N, C, H, W).")
    chunks = [slice(start, start + _CHUNK) for start in range(0, max(1, len(pairs)), _CHUNK)]
    coarse_first, coarse_second = (_coarse(images, pairs[:, side]) for side, images in enumerate((first, second)))

    def work(chunk: slice) -> Alignment:
        a, b = pairs[chunk].T
        turned = None if orientation is None else orientation[chunk]
        return _align(first, second, a, b, coarse_first(a), coarse_second(b), turned)

    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        parts = list(pool.map(work, chunks))
    return Alignment.concatenate(parts)


def _coarse(images: NDArray[np.uint8], wanted: NDArray[np.int64]) -> Callable[[NDArray[np.int64]], NDArray[np.float32]]:
    """A function from rows to their images' coarse detail, computed once per image, as an image stands in several pairs."""
    rows = np.unique(wanted)
    half = averages(GRID, _COARSE)
    made = np.zeros((len(rows), _COARSE, _COARSE), dtype=np.float32)
    for start in range(0, len(rows), _CHUNK):
        part = gray(images[rows[start : start + _CHUNK]])
        made[start : start + _CHUNK] = detail(np.asarray(half @ part @ half.T, dtype=np.float32))
    return lambda asked: made[np.searchsorted(rows, asked)]


def _align(
    first: NDArray[np.uint8],
    second: NDArray[np.uint8],
    rows_a: NDArray[np.int64],
    rows_b: NDArray[np.int64],
    coarse_a: NDArray[np.float32],
    coarse_b: NDArray[np.float32],
    orientation: NDArray[np.int64] | None,
) -> Alignment:
    mirror = orientation is None
    if orientation is not None:
        coarse_b = _each_turned(coarse_b, orientation)
    # The template is the middle of its image. It may lie inside the other image's frame, or the other way round.
    there, back = (
        place(x, y, _COARSE_REACH, _COARSE_SCALES, mirror=mirror)
        for x, y in ((coarse_a, coarse_b), (coarse_b, coarse_a))
    )
    inside = back.value > there.value
    value, flip = np.where(inside, back.value, there.value), np.where(inside, back.flip, there.flip)
    alive = np.flatnonzero(value >= COARSE_GATE)
    a, b = gray(first[rows_a[alive]]), gray(second[rows_b[alive]])
    if orientation is not None:
        b = _each_turned(b, orientation[alive])
    a, b = np.where(inside[alive, None, None], b, a), np.where(inside[alive, None, None], a, b)
    b = np.where(flip[alive, None, None], b[..., ::-1], b)
    fine_a, fine_b = detail(a), detail(b)
    placed = place(fine_a, fine_b, REACH, SCALES, mirror=False)
    value[alive] = placed.value
    good = np.flatnonzero(placed.value >= FINE_GATE)
    bands_a, bands_b = (np.stack([x[good], fine[good]], axis=1) for x, fine in ((a, fine_a), (b, fine_b)))
    refined, seen, target = refine(bands_a, bands_b, placed[good], REACH)
    alive = alive[good]
    compared = np.zeros(len(value), dtype=bool)
    correlation, local, extent = (np.zeros(len(value), dtype=np.float32) for _ in range(3))
    compared[alive], correlation[alive], value[alive] = True, refined[:, 0], refined[:, 1]
    local[alive] = _local(seen[:, 0], target[:, 0])
    extent[alive] = np.minimum(_extent(seen[:, 1]), _extent(target[:, 1]))
    if orientation is not None:
        flip = np.isin(orientation & 7, MIRRORED)
    return Alignment(compared, correlation, value, local, extent, flip)


def turn(images: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Images (..., S, S) of gray levels, 0..255, in one of ``ORIENTATIONS``; a view where nothing is inverted."""
    if orientation & 1:
        images = images[..., ::-1]
    if orientation & 2:
        images = images[..., ::-1, :]
    if orientation & 4:
        images = np.swapaxes(images, -1, -2)
    return 255 - images if orientation & 8 else images


def _each_turned(images: NDArray[np.float32], orientation: NDArray[np.int64]) -> NDArray[np.float32]:
    """:func:`turn` of each image (P, S, S) to its own orientation (P,)."""
    out = images.copy()
    for which in np.unique(orientation):
        rows = orientation == which
        out[rows] = turn(images[rows], int(which))
    return out


def gray(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 (N, C, H, W) -> float32 (N, 32, 32), gray levels (mean of the channels)."""
    flat = images.mean(axis=1, dtype=np.float32)
    if flat.shape[1:] == (GRID, GRID):
        return np.asarray(flat)
    rows, columns = (averages(side, GRID) for side in flat.shape[1:])
    return np.asarray(rows @ flat @ columns.T)


def detail(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Difference of Gaussians of gray pictures (N, S, S)."""
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


@dataclass(frozen=True)
class Placement(PairTable):
    """The best place of the templates of M pairs.

    Attributes:
        value: float32 (M,), normalised cross-correlation there, in [-1, 1].
        shift: int64 (M, 2), rows and columns by which the second image is displaced against the first.
        flip: bool (M,), whether the second image is mirrored left to right.
        scale: float32 (M,), side of the first image's region relative to the second's window.
    """

    value: NDArray[np.float32]
    shift: NDArray[np.int64]
    flip: NDArray[np.bool_]
    scale: NDArray[np.float32]


def place(
    a: NDArray[np.float32], b: NDArray[np.float32], reach: int, scales: tuple[float, ...], *, mirror: bool = True
) -> Placement:
    """Find where the middle of each ``a`` correlates best with its ``b``.

    A window in the middle of ``a`` (the template) slides over ``b``: zero-mean normalised cross-correlation (Lewis 1995,
    "Fast normalized cross-correlation"), by Fourier transforms. It ignores brightness and contrast. Ties go to the
    earlier scale, then to the unmirrored image.

    Args:
        a, b: float32 (M, S, S), in gray levels; M pairs.
        reach: largest shift in pixels, each way; the template's side is S - 2 reach.
        scales: sides of the region of ``a`` relative to the template's; at most (S - 1) / (S - 2 reach - 1).
        mirror: also look at ``b`` mirrored left to right.
    """
    n, side = len(a), a.shape[-1]
    width, shifts = side - 2 * reach, 2 * reach + 1
    spread = _window_spread(b, width)
    sides = [(False, fft.rfft2(b), spread)]
    if mirror:
        sides.append((True, fft.rfft2(b[..., ::-1]), spread[..., ::-1]))
    value = np.full(n, -np.inf, dtype=np.float32)
    where, flipped = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool)
    scaled = np.ones(n, dtype=np.float32)
    for scale in scales:
        sampling = middle(side, width, scale)
        template = sampling @ a @ sampling.T
        template -= template.mean(axis=(1, 2), keepdims=True)
        template /= width * width * np.sqrt(np.square(template).mean(axis=(1, 2), keepdims=True) + FLAT)
        spectrum = np.conj(fft.rfft2(template, s=(side, side)))
        for flip, spectrum_b, window in sides:
            # Only windows inside the image are read: there the circular correlation does not wrap round.
            product = fft.irfft2(spectrum * spectrum_b, s=(side, side))[:, :shifts, :shifts]
            correlation = (product / window).reshape(n, shifts * shifts)
            at = correlation.argmax(axis=1)
            top = np.take_along_axis(correlation, at[:, None], axis=1)[:, 0]
            better = top > value
            value[better], where[better], flipped[better], scaled[better] = top[better], at[better], flip, scale
    return Placement(value, np.stack(np.divmod(where, shifts), axis=1) - reach, flipped, scaled)


def middle(side: int, width: int, scale: float) -> NDArray[np.float32]:
    """(width, side): the middle of an image, ``scale * width`` pixels wide, read at ``width`` points (linear)."""
    at = (side - 1) / 2 + (np.arange(width) - (width - 1) / 2) * scale
    return np.asarray(np.maximum(0, 1 - np.abs(at[:, None] - np.arange(side))), dtype=np.float32)


def _window_spread(b: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Standard deviation (with FLAT in the variance) of every window, (M, shifts, shifts)."""
    centred = b - b.mean(axis=(1, 2), keepdims=True)
    starts = np.arange(b.shape[-1] + 1 - width)[:, None]
    inside = np.arange(b.shape[-1])
    average = (((inside >= starts) & (inside < starts + width)) / width).astype(np.float32)
    variance = average @ np.square(centred) @ average.T - np.square(average @ centred @ average.T)
    return np.asarray(np.sqrt(np.maximum(variance, 0) + FLAT))


def refine(
    a: NDArray[np.float32], b: NDArray[np.float32], start: Placement, reach: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Refine placements to a fraction of a pixel, by Gauss-Newton on the normalised difference of the last band.

    Maximises the enhanced correlation coefficient (Evangelidis & Psarakis 2008) over a shift and a scale per axis: what
    cropping and resizing do to an image. It raises the correlation of a true copy towards 1, and hardly that of two
    different images.

    Args:
        a, b: float32 (M, B, S, S), B bands in gray levels.
        start: from :func:`place` with the same ``reach`` and ``mirror=False``.
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
    for step in range(_STEPS + 1):
        at = _points(move, u, centre, side)
        seen = _centred(_read(steer, *at))
        size = _norm(seen)[:, 0, None, None]
        seen = seen[:, 0] / size
        value = (seen * target).mean(axis=(1, 2))
        better = value > best
        best[better], kept[better] = value[better], move[better]
        if step == _STEPS:
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
