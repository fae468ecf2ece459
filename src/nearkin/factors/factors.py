"""Nuisance factors of images: what is measured from the pixels, and what a data set knows about its images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import DataError

CLASS, BACKGROUND, COLOUR, POSITION, OTHER = "class", "background", "colour", "position", "other"
GROUPS = (CLASS, BACKGROUND, COLOUR, POSITION, OTHER)
_GROUP_OF = {
    "border_colour": BACKGROUND,
    "background": BACKGROUND,
    "background_hue": BACKGROUND,
    "mean_colour": COLOUR,
    "brightness": COLOUR,
    "saturation": COLOUR,
    "foreground_hue": COLOUR,
    "object_x": POSITION,
    "object_y": POSITION,
    "x": POSITION,
    "y": POSITION,
}
# An edge is a luma change of at least this much per pixel; an object pixel is this far from the border's colour.
EDGE = 0.1
OBJECT = 0.25
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
PIXEL_METRIC = "l2"  # by which neighbours of raw pixels are found, here and in the study
_CHUNK = 500
_PIXELS_SIDE = 32


@dataclass(frozen=True)
class Factor:
    """One thing images may agree in.

    Attributes:
        name: as shown. group: one of GROUPS.
        values: int64 (N,) category numbers (-1: unknown), or float32 (N, C) coordinates, whose L2 distance counts.
    """

    name: str
    group: str
    values: NDArray[Any]

    @property
    def categorical(self) -> bool:
        """Whether values are categories."""
        return bool(self.values.dtype.kind == "i")

    def take(self, rows: NDArray[np.int64]) -> Factor:
        """The factor of some images."""
        return Factor(self.name, self.group, self.values[rows])


def class_factor(labels: NDArray[np.int64]) -> Factor:
    """The class, int64 (N,), -1 for unknown."""
    return Factor("class", CLASS, np.asarray(labels, dtype=np.int64))


def known_factors(factors: dict[str, NDArray[Any]]) -> tuple[Factor, ...]:
    """A data set's own factors: whole numbers are categories, others coordinates; names ending in "hue" are circular.

    A hue in [0, 1) becomes a point on a circle, as 0.99 and 0.01 are neighbours. Groups go by the name.

    Raises:
        DataError: values that are not finite.
    """
    out = []
    for name, values in factors.items():
        if values.dtype.kind in "iub":
            out.append(Factor(name, _GROUP_OF.get(name, OTHER), values.astype(np.int64)))
            continue
        flat = values.astype(np.float32).reshape(len(values), -1)
        if not np.isfinite(flat).all():
            raise DataError(f"factor '{name}' holds values that are not finite.")
        if name.endswith("hue"):
            flat = np.concatenate([np.cos(2 * np.pi * flat), np.sin(2 * np.pi * flat)], axis=1)
        out.append(Factor(name, _GROUP_OF.get(name, OTHER), flat))
    return tuple(out)


def pixel_factors(images: NDArray[np.uint8]) -> tuple[Factor, ...]:
    """Measure factors from pixels alone. They are proxies: nothing here knows what an object is.

    Args:
        images: uint8 (N, 3, H, W).
    Returns:
        float32 (N, C), C = 1 unless stated, all in [0, 1]:
        mean_colour (C = 3) and border_colour (3): mean RGB of the image and of its outer ring, a sixteenth of the
        shorter side wide. brightness, contrast: mean and standard deviation of luma. saturation: mean HSV saturation.
        edge_density: share of pixels whose luma gradient (Sobel) is at least 0.1 per pixel.
        object_size: share of pixels at an RGB distance of more than 0.25 from the border's colour.
        object_y, object_x: their centroid as a share of the height and width; the middle where there are none.
    Raises:
        DataError: no images of that kind.
    """
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.uint8 or 0 in images.shape:
        raise DataError(f"factors need images uint8 (N, 3, H, W); got {images.dtype} {images.shape}.")
    parts = [_measure(images[start : start + _CHUNK]) for start in range(0, len(images), _CHUNK)]
    names = parts[0].keys()
    return tuple(Factor(name, _GROUP_OF.get(name, OTHER), np.concatenate([p[name] for p in parts])) for name in names)


def _measure(images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    x = images.astype(np.float32) / np.float32(255)
    height, width = x.shape[2:]
    luma = np.tensordot(x, _LUMA, axes=([1], [0]))
    width_of_ring = max(1, min(height, width) // 16)
    ring = np.ones((height, width), dtype=bool)
    ring[width_of_ring : height - width_of_ring, width_of_ring : width - width_of_ring] = False
    border = x[:, :, ring].mean(axis=2)
    gradient = np.hypot(_slope(luma, 1), _slope(luma, 2))
    inside = np.linalg.norm(x - border[:, :, None, None], axis=1) > OBJECT
    count = inside.sum(axis=(1, 2))
    y_at, x_at = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    middle = np.stack([inside.sum(axis=2) @ y_at, inside.sum(axis=1) @ x_at], axis=1) / np.maximum(count, 1)[:, None]
    middle[count == 0] = 0.5
    high, low = x.max(axis=1), x.min(axis=1)
    saturation = (high - low) / np.where(high > 0, high, 1)
    measured = {
        "mean_colour": x.mean(axis=(2, 3)),
        "border_colour": border,
        "brightness": luma.mean(axis=(1, 2)),
        "contrast": luma.std(axis=(1, 2)),
        "saturation": saturation.mean(axis=(1, 2)),
        "edge_density": (gradient >= EDGE).mean(axis=(1, 2)),
        "object_size": inside.mean(axis=(1, 2)),
        "object_y": middle[:, 0],
        "object_x": middle[:, 1],
    }
    return {name: values.astype(np.float32).reshape(len(x), -1) for name, values in measured.items()}


def _slope(luma: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Sobel's slope per pixel of images (N, H, W) along axis 1 or 2 (scipy's own sobel would also blur along N)."""
    from scipy.ndimage import correlate1d

    difference = correlate1d(luma, [-0.5, 0, 0.5], axis=axis, mode="nearest")
    out: NDArray[np.float32] = correlate1d(difference, [0.25, 0.5, 0.25], axis=3 - axis, mode="nearest")
    return out


def pixel_vectors(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Raw pixels as an embedding to compare with: uint8 (N, 3, H, W) -> float32 (N, 3 * h * w) in [0, 1].

    Images of 64 pixels a side or more are first averaged over equal blocks, down to between 32 and 63 a side.
    """
    n, c, height, width = images.shape
    by = max(1, height // _PIXELS_SIDE), max(1, width // _PIXELS_SIDE)
    h, w = height // by[0], width // by[1]
    out = np.empty((n, c * h * w), dtype=np.float32)
    for start in range(0, n, _CHUNK):
        part = images[start : start + _CHUNK, :, : h * by[0], : w * by[1]].astype(np.float32)
        blocks = part.reshape(len(part), c, h, by[0], w, by[1]).mean(axis=(3, 5))
        out[start : start + _CHUNK] = blocks.reshape(len(part), -1) / np.float32(255)
    return out
