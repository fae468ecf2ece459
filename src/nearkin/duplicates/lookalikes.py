"""The reverse of duplicates: pairs that look alike in pixels, but that the embedding puts far apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.duplicates.candidates import distances
from nearkin.duplicates.registration import align, averages
from nearkin.errors import ConfigError, DataError
from nearkin.search.exact import knn, unit_rows
from nearkin.vectors import sample_rows

_SIDE = 16
_COPY = 0.85  # aligned detail that strangers hardly ever reach; a copy in another frame has about 0.94 (LOG.md)


@dataclass(frozen=True)
class Lookalikes:
    """Pairs of an image and its nearest other image in pixels, farthest apart in the embedding first; each (M,).

    Attributes:
        a, b: int64, rows. pixels: float32, correlation of the small colour images, in [-1, 1].
        correlation, detail: float32, after alignment (see registration.py). distance: float32, in the embedding.
        rank: int64, of b among a's neighbours in the embedding, 1 = nearest. percentile: float64, the same from 0
            (nearest) to 1 (farthest).
        asked: images that were looked at. alike: those whose nearest in pixels correlates enough; these are the pairs
            before the list was cut. beyond_half, beyond_tenth: share of the alike pairs with a percentile above 0.5
            and 0.1 (for an embedding that knows nothing of pixels 0.5 and 0.9).
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    pixels: NDArray[np.float32]
    correlation: NDArray[np.float32]
    detail: NDArray[np.float32]
    distance: NDArray[np.float32]
    rank: NDArray[np.int64]
    percentile: NDArray[np.float64]
    asked: int
    alike: int
    beyond_half: float | None
    beyond_tenth: float | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        lists = ("a", "b", "pixels", "correlation", "detail", "distance", "rank", "percentile")
        columns = {name: getattr(self, name).tolist() for name in lists}
        return {
            "asked": self.asked,
            "alike": self.alike,
            "beyond_half": self.beyond_half,
            "beyond_tenth": self.beyond_tenth,
            "pairs": [dict(zip(lists, row, strict=True)) for row in zip(*columns.values(), strict=True)],
        }


def lookalikes_far_apart(
    images: NDArray[np.uint8],
    Z: NDArray[np.float32],
    *,
    alike: float = 0.9,
    count: int = 20,
    queries: int = 5000,
    metric: str = "cosine",
    seed: int = 0,
    chunk: int = 512,
) -> Lookalikes:
    """Find each image's nearest other image in pixels, and where the embedding ranks it.

    Args:
        images: uint8 (N, C, H, W), N >= 2. Z: float32 (N, D).
        alike: correlation of 16 x 16 colour images (brightness and contrast removed) from which a pair looks alike.
        count: pairs to list. queries: at most this many images are asked, a seeded choice; all are searched.
        chunk: images whose distances to all others are held at once.
    Raises:
        DataError: numbers of images and vectors differ. ConfigError: alike outside [-1, 1], or count below 0.
    """
    n = len(Z)
    if len(images) != n:
        raise DataError(f"look-alikes: {len(images)} images for {n} vectors.")
    if not -1 <= alike <= 1 or count < 0:
        raise ConfigError(f"look-alikes: alike is {alike:g} (legal: -1 to 1), count is {count} (legal: 0 or more).")
    asked = sample_rows(n, queries, seed) if n > 1 else np.zeros(0, dtype=np.int64)
    small = _small(images)
    if not len(asked):
        return _listed(asked, asked, np.zeros(0, np.float32), images, Z, np.zeros(0, np.int64), metric, count, 0)
    near = knn(small[asked], small, 2, metric="cosine")
    other = near.indices[:, 0] != asked
    b = np.where(other, near.indices[:, 0], near.indices[:, 1])
    pixels = 1 - np.where(other, near.distances[:, 0], near.distances[:, 1])
    keep = np.flatnonzero((pixels >= alike) & small[asked].any(axis=1))
    a, b, pixels = asked[keep], b[keep], pixels[keep].astype(np.float32)
    return _listed(a, b, pixels, images, Z, _ranks(Z, a, b, metric, chunk), metric, count, len(asked))


def _small(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Unit vectors of 16 x 16 colour images with the mean of all values removed; 0 for an image of one colour."""
    rows, columns = (averages(side, _SIDE) for side in images.shape[2:])
    out = np.empty((len(images), images.shape[1] * _SIDE * _SIDE), dtype=np.float32)
    for start in range(0, len(images), 4096):
        part = rows @ images[start : start + 4096].astype(np.float32) @ columns.T
        flat = part.reshape(len(part), -1)
        flat = flat - flat.mean(axis=1, keepdims=True)
        flat[np.abs(flat).max(axis=1) < 0.5] = 0
        out[start : start + 4096] = unit_rows(flat)
    return out


def _ranks(
    Z: NDArray[np.float32], a: NDArray[np.int64], b: NDArray[np.int64], metric: str, chunk: int
) -> NDArray[np.int64]:
    """Rank of b among all other images by distance to a, 1 = nearest."""
    base = unit_rows(Z) if metric == "cosine" else np.asarray(Z - Z.mean(axis=0), dtype=np.float32)
    squared = np.square(base).sum(axis=1)
    out = np.zeros(len(a), dtype=np.int64)
    for start in range(0, len(a), chunk):
        rows, other = a[start : start + chunk], b[start : start + chunk]
        apart = squared[None] - 2 * base[rows] @ base.T  # plus |a|^2, which changes no rank
        here = np.arange(len(rows))
        limit = apart[here, other][:, None]
        apart[here, rows] = np.inf
        out[start : start + chunk] = 1 + (apart < limit).sum(axis=1)
    return out


def _listed(
    a: NDArray[np.int64],
    b: NDArray[np.int64],
    pixels: NDArray[np.float32],
    images: NDArray[np.uint8],
    Z: NDArray[np.float32],
    rank: NDArray[np.int64],
    metric: str,
    count: int,
    asked: int,
) -> Lookalikes:
    percentile = (rank - 1) / max(1, len(Z) - 2)
    first = np.lexsort((-pixels, -percentile))[:count]
    aligned = align(images, images, np.stack([a[first], b[first]], axis=1))
    return Lookalikes(
        a[first],
        b[first],
        pixels[first],
        aligned.correlation,
        aligned.detail,
        distances(Z[a[first]], Z[b[first]], metric),
        rank[first],
        percentile[first],
        asked,
        len(a),
        float((percentile > 0.5).mean()) if len(a) else None,
        float((percentile > 0.1).mean()) if len(a) else None,
    )


def explain(lookalikes: Lookalikes, labels: NDArray[np.int64] | None) -> str:
    """Why the pairs listed are alike in pixels and apart in the embedding, in words. labels: int64 (N,), -1 unknown."""
    if not lookalikes.alike:
        return f"None of {lookalikes.asked:,} images has another one that looks alike in pixels."
    text = (
        f"{lookalikes.alike:,} of {lookalikes.asked:,} images have another one alike in pixels. The embedding puts "
        f"{100 * (lookalikes.beyond_tenth or 0):.1f} % of these beyond its nearest tenth and {100 * (lookalikes.beyond_half or 0):.1f} % "
        "beyond half; one that knew nothing of pixels, 90 and 50 %."
    )
    n, copies = len(lookalikes.a), int((lookalikes.detail >= _COPY).sum())
    if not n:
        return text
    text += (
        f" Of the {n} put farthest, {copies} agree in fine detail as well once aligned: copies that the embedding misses. "
        f"The other {n - copies} share light and layout only."
    )
    if labels is not None:
        rest = lookalikes.detail < _COPY
        a, b = labels[lookalikes.a[rest]], labels[lookalikes.b[rest]]
        known = (a >= 0) & (b >= 0)
        if known.any():
            text += f" {int((a != b)[known].sum())} of these {int(known.sum())} are of two classes, which content should part."
    return text
