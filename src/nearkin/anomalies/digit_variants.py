"""Variants of gray digits, each of which takes one shortcut away from an anomaly detector.

Digits on black differ from photographs in their background, colour, brightness and smoothness before they differ in
content. The recoloured variants lay the strokes over in-distribution images, so that only the content is left as a clue.
Over training images the test is unfair to neighbour scores, which hold each background itself without the digit; over
in-distribution images that no score has seen it is fair.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import ConfigError, DataError

VARIANTS: dict[str, str] = {
    "bilinear": "resized bilinearly, three equal channels",
    "padded": "zero-padded instead of resized",
    "inverted": "resized bilinearly, dark strokes on white",
    "recoloured": "padded, strokes in a random colour over in-distribution training images",
    "recoloured-unseen": "padded, strokes in a random colour over in-distribution images that no score has seen",
}
_CHUNK = 2000


def digit_variants(
    digits: NDArray[np.uint8],
    size: int,
    backgrounds: NDArray[np.uint8],
    *,
    unseen: NDArray[np.uint8] | None = None,
    seed: int = 0,
) -> dict[str, NDArray[np.uint8]]:
    """All :data:`VARIANTS` of gray digits at their native size.

    Args:
        digits: uint8 (N, h, w), bright strokes on black, or (N, 3, h, w) with equal channels; h, w <= ``size``.
        size: side of the results. backgrounds: uint8 (B, 3, size, size), training images.
        unseen: the same, in-distribution images in neither the training nor the test set; without them the variant
            "recoloured-unseen" is left out.
    Returns:
        name -> uint8 (N, 3, size, size).
    Raises:
        DataError: coloured digits, digits larger than ``size``, or backgrounds of another size.
    """
    gray = as_gray(digits)
    small = padded(gray, size)
    large = resized(gray, size)
    out = {
        "bilinear": three(large),
        "padded": three(small),
        "inverted": three(255 - large),
        "recoloured": recoloured(small, backgrounds, seed=seed),
    }
    if unseen is not None:
        out["recoloured-unseen"] = recoloured(small, unseen, seed=seed)
    return out


def shortcut_free(made: Iterable[str]) -> str | None:
    """The fairest of the variants made that leaves no shortcut; None if there is none."""
    return next((name for name in ("recoloured-unseen", "recoloured") if name in made), None)


def as_gray(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, h, w) or (N, 3, h, w) with equal channels -> uint8 (N, h, w). Raises DataError for coloured images."""
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise DataError(f"digits must be uint8 (N, h, w) or (N, 3, h, w); got {images.dtype} {images.shape}.")
    if images.ndim == 3:
        return images
    if any((images[:, 0] != images[:, channel]).any() for channel in range(1, images.shape[1])):
        raise DataError("variants are made of gray images (digits on black); these have colours.")
    return np.ascontiguousarray(images[:, 0])


def is_gray(images: NDArray[np.uint8]) -> bool:
    """Whether all channels of uint8 (N, C, H, W) are equal."""
    return all(bool((images[:, 0] == images[:, channel]).all()) for channel in range(1, images.shape[1]))


def three(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, H, W) -> three equal channels (N, 3, H, W)."""
    return np.repeat(gray[:, None], 3, axis=1)


def resized(gray: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Bilinear, by Pillow: uint8 (N, h, w) -> (N, size, size)."""
    from PIL import Image

    if gray.shape[1:] == (size, size):
        return gray
    out = np.empty((len(gray), size, size), dtype=np.uint8)
    for i, image in enumerate(gray):
        out[i] = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))
    return out


def padded(gray: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Zeros on all sides: uint8 (N, h, w) -> (N, size, size). Raises DataError for larger digits."""
    height, width = gray.shape[1:]
    if height > size or width > size:
        raise DataError(f"digits of {height} x {width} pixels cannot be padded to {size} x {size}.")
    top, left = (size - height) // 2, (size - width) // 2
    return np.pad(gray, ((0, 0), (top, size - height - top), (left, size - width - left)))


def recoloured(gray: NDArray[np.uint8], backgrounds: NDArray[np.uint8], *, seed: int = 0) -> NDArray[np.uint8]:
    """Strokes alpha-blended in one random RGB colour per digit over random backgrounds: uint8 (N, 3, S, S).

    out = a colour + (1 - a) background with a = gray / 255. Colours are uniform in RGB, so some digits are hard to see.
    Args:
        gray: uint8 (N, S, S). backgrounds: uint8 (B, 3, S, S); drawn with replacement.
    Raises:
        DataError: no backgrounds, or of another size. ConfigError: a negative seed.
    """
    if seed < 0:
        raise ConfigError(f"seed is {seed}; it must be at least 0.")
    if backgrounds.ndim != 4 or backgrounds.shape[1:] != (3, *gray.shape[1:]) or len(backgrounds) == 0:
        raise DataError(f"backgrounds {backgrounds.shape} must be (B, 3, {gray.shape[1]}, {gray.shape[2]}), B >= 1.")
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, len(backgrounds), len(gray))
    colours = rng.integers(0, 256, (len(gray), 3, 1, 1))
    out = np.empty((len(gray), 3, *gray.shape[1:]), dtype=np.uint8)
    for start in range(0, len(gray), _CHUNK):
        rows = slice(start, start + _CHUNK)
        alpha = gray[rows, None].astype(np.float32) / 255
        out[rows] = alpha * colours[rows] + (1 - alpha) * backgrounds[chosen[rows]] + 0.5
    return out
