"""Anomaly scores that need no learning: what a detector has to beat before its AUROC means anything.

No out-of-distribution image chooses anything here: a feature's direction is never flipped by what an AUROC would like.
The four scalar features are scored by how far an image lies from the training median, in either direction, in units of
the training set's median absolute deviation.
"""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearkin.anomalies.detectors import fit_gaussian, mean_distance
from nearkin.errors import DataError
from nearkin.search.exact import Index
from nearkin.system import available_cores
from nearkin.vectors import sample_rows

TRIVIAL: dict[str, str] = {
    "intensity": "mean intensity: |x - median| / MAD of the training images",
    "saturation": "mean saturation (max - min of RGB, over max): |x - median| / MAD",
    "border": "mean colour of the border pixels: L2 distance to the training images' mean border colour",
    "png-size": "bytes of the image as PNG: |x - median| / MAD",
    "all-four": "Mahalanobis distance of the four features together (border as three)",
    "pixel-knn": "mean L2 distance of raw pixels to the 2 nearest training images",
}
# All training images as a rule: a control that sees fewer than the method does would flatter the method.
PIXEL_IMAGES, PIXEL_VALUES, PIXEL_PART = 50_000, 200_000_000, 40_000_000
_CHUNK = 1000


@dataclass(frozen=True)
class ImageFeatures:
    """Attributes:
    intensity: float64 (N,), in [0, 255]. saturation: float64 (N,), in [0, 1]; a black pixel has 0.
    border: float64 (N, 3), mean RGB of the outermost pixels, in [0, 255].
    png_bytes: float64 (N,), size as PNG (Pillow, default compression).
    """

    intensity: NDArray[np.float64]
    saturation: NDArray[np.float64]
    border: NDArray[np.float64]
    png_bytes: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.intensity)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> ImageFeatures:
        """The images at ``rows``."""
        return ImageFeatures(self.intensity[rows], self.saturation[rows], self.border[rows], self.png_bytes[rows])

    def matrix(self) -> NDArray[np.float64]:
        """All features side by side, float64 (N, 6)."""
        return np.column_stack([self.intensity, self.saturation, self.border, self.png_bytes])


def image_features(images: NDArray[np.uint8]) -> ImageFeatures:
    """Features of uint8 (N, 3, H, W). Raises DataError for another shape or type."""
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.uint8:
        raise DataError(f"images must be uint8 (N, 3, H, W); got {images.dtype} {images.shape}.")
    starts = range(0, max(1, len(images)), _CHUNK)
    with ThreadPoolExecutor(available_cores()) as pool:  # zlib, most of the work, runs outside of Python's lock
        parts = list(pool.map(lambda i: _features(images[i : i + _CHUNK]), starts))
    return ImageFeatures(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _features(images: NDArray[np.uint8]) -> tuple[NDArray[np.float64], ...]:
    top = images.max(axis=1).astype(np.float64)
    spread = top - images.min(axis=1)
    saturation = np.divide(spread, top, out=np.zeros_like(top), where=top > 0)
    edge = np.zeros(images.shape[2:], dtype=bool)
    edge[[0, -1], :] = edge[:, [0, -1]] = True
    return (
        images.mean(axis=(1, 2, 3), dtype=np.float64),
        saturation.mean(axis=(1, 2)),
        images[:, :, edge].mean(axis=2, dtype=np.float64),
        np.array([_png_bytes(image) for image in images], dtype=np.float64),
    )


def _png_bytes(image: NDArray[np.uint8]) -> int:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(buffer, "PNG")
    return buffer.tell()


def feature_scores(train: ImageFeatures, queries: ImageFeatures) -> dict[str, NDArray[np.float64]]:
    """Every score of :data:`TRIVIAL` that reads features: name -> float64 (M,), higher = more anomalous.

    Raises DataError for fewer than 2 training images.
    """
    if len(train) < 2:
        raise DataError(f"trivial scores need at least 2 training images; got {len(train)}.")
    scores = {
        "intensity": _deviation(train.intensity, queries.intensity),
        "saturation": _deviation(train.saturation, queries.saturation),
        "border": np.linalg.norm(queries.border - train.border.mean(axis=0), axis=1),
        "png-size": _deviation(train.png_bytes, queries.png_bytes),
    }
    base, asked = train.matrix(), queries.matrix()
    centre, spread = base.mean(axis=0), base.std(axis=0)
    spread = np.where(spread > 1e-9 * (1 + np.abs(centre)), spread, 1)  # a constant feature keeps its own unit
    gaussian = fit_gaussian(((base - centre) / spread).astype(np.float32))
    return scores | {"all-four": gaussian.distance(((asked - centre) / spread).astype(np.float32))}


def _deviation(train: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """|x - median| / MAD; where more than half the training values are equal, the mean deviation stands in, or 1."""
    median = np.median(train)
    away = np.abs(train - median)
    scale = float(np.median(away)) or float(away.mean()) or 1.0
    return np.abs(values - median) / scale


def pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 (N, 3, H, W) -> float32 (N, 3 H W), in [0, 1]."""
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def pixel_base(images: NDArray[np.uint8], seed: int = 0) -> NDArray[np.int64]:
    """Rows of the training images (N, 3, H, W) that :func:`pixel_index` holds.

    All of them, or a seeded choice of at most 50,000 images and 200 million values (0.8 GB as float32).
    """
    n = len(images)
    most = max(2, min(PIXEL_IMAGES, PIXEL_VALUES // max(1, int(np.prod(images.shape[1:])))))
    return sample_rows(n, most, seed)


def pixel_index(train: NDArray[np.uint8], seed: int = 0) -> Index:
    """The raw pixels of the training images at :func:`pixel_base`, to be searched in L2."""
    return Index(pixels(train[pixel_base(train, seed)]), metric="l2")


def pixel_knn(index: Index, queries: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean L2 distance of raw pixels (M, 3, H, W) to the 2 nearest of :func:`pixel_index`, which holds none of them.

    float64 (M,).
    """
    k = min(2, len(index))
    # Few large parts: each search looks at some of its queries first to see how to save work.
    step = max(1, PIXEL_PART // max(1, int(np.prod(queries.shape[1:]))))
    parts = [mean_distance(index.search(pixels(queries[i : i + step]), k), k) for i in range(0, len(queries), step)]
    return np.concatenate(parts) if parts else np.zeros(0)
