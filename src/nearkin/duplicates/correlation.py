"""Normalised cross-correlation of many pairs of small images over shifts, flips and scales.

A window in the middle of one image (the template) is slid over the other one: zero-mean normalised cross-correlation
(Lewis 1995, "Fast normalized cross-correlation"), by Fourier transforms. It ignores brightness and contrast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

# Grey levels^2 added to every variance, so that rounding noise in a flat region correlates with nothing.
FLAT = 2.0


@dataclass(frozen=True)
class Placed:
    """The best place of M templates.

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

    def take(self, index: NDArray[np.int64]) -> Placed:
        """The pairs at ``index``."""
        return Placed(self.value[index], self.shift[index], self.flip[index], self.scale[index])


def place(
    a: NDArray[np.float32], b: NDArray[np.float32], reach: int, scales: tuple[float, ...], *, mirror: bool = True
) -> Placed:
    """Place the middle of each ``a`` in its ``b``; ties go to the earlier scale, then to the unmirrored picture.

    Args:
        a, b: float32 (M, S, S), in grey levels; M pairs.
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
        for flip, picture, window in sides:
            # Only windows that lie inside the picture are read: there the circular correlation wraps nothing.
            product = fft.irfft2(spectrum * picture, s=(side, side))[:, :shifts, :shifts]
            found = (product / window).reshape(n, shifts * shifts)
            at = found.argmax(axis=1)
            top = np.take_along_axis(found, at[:, None], axis=1)[:, 0]
            better = top > value
            value[better], where[better], flipped[better], scaled[better] = top[better], at[better], flip, scale
    return Placed(value, np.stack(np.divmod(where, shifts), axis=1) - reach, flipped, scaled)


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
