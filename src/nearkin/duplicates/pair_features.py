"""Candidates, planted copies and strangers as measurements that a calibration can read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nearkin.duplicates.calibration import Sample
from nearkin.duplicates.candidates import Candidates, Proposed, digests, distances, relative_distances, same_pixels
from nearkin.duplicates.pairs import PIXEL_FEATURES
from nearkin.duplicates.planted import Planted
from nearkin.duplicates.registration import Alignment, align
from nearkin.search.exact import Search, knn

EMBEDDING_FEATURES = ("relative_distance",)


def numbers(pairs: Proposed) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Rows, distance and relative distance of proposed pairs."""
    return pairs.a, pairs.b, pairs.distance, pairs.relative


def sample(aligned: Alignment, pairs: Proposed, names: tuple[str, ...]) -> Sample:
    """The named measurements of aligned pairs."""
    columns = [getattr(aligned, name) for name in PIXEL_FEATURES]
    if len(names) > len(columns):
        columns.append(pairs.relative)
    return Sample(np.stack(columns, axis=1), aligned.compared)


def with_exact(
    near: Proposed,
    Z: NDArray[np.float32],
    base: NDArray[np.float32] | None,
    images: NDArray[np.uint8],
    base_images: NDArray[np.uint8],
    metric: str,
    typical: float,
) -> tuple[Proposed, NDArray[np.bool_]]:
    """The candidates and, appended, pairs of identical images that are no neighbours; and which pairs are identical."""
    own = digests(images)
    other = own if base is None else digests(base_images)
    extra = same_pixels(own, None if base is None else other)
    width = len(other)
    extra = extra[~np.isin(extra[:, 0] * width + extra[:, 1], near.a * width + near.b)]
    a, b = extra[:, 0], extra[:, 1]
    apart = distances(Z[a], (Z if base is None else base)[b], metric)
    own_scale = np.full(len(a), typical, dtype=np.float32)
    parts = (near, Proposed(a, b, apart, relative_distances(apart, own_scale, typical)))
    near = Proposed(*(np.concatenate(values) for values in zip(*(numbers(part) for part in parts), strict=True)))
    return near, own[near.a] == other[near.b]


def copies(
    planted: Planted,
    planted_Z: NDArray[np.float32] | None,
    base: NDArray[np.float32],
    base_images: NDArray[np.uint8],
    candidates: Candidates,
    metric: str,
    names: tuple[str, ...],
    threads: int | None,
    find: Search = knn,
) -> tuple[Sample, NDArray[np.bool_]]:
    """Planted copies, measured like candidates, and which of them the search would have proposed."""
    n = len(planted.copies)
    rows = np.stack([np.arange(n), planted.source_row], axis=1)
    aligned = align(planted.copies, base_images, rows, threads=threads)
    if planted_Z is None:
        nothing = np.zeros(n, dtype=np.float32)
        return sample(aligned, Proposed(rows[:, 0], rows[:, 1], nothing, nothing), names), np.ones(n, dtype=bool)
    near = find(planted_Z, base, min(2 * candidates.k, len(base)), metric=metric)
    apart = distances(planted_Z, base[planted.source_row], metric)
    relative = relative_distances(apart, near.distances[:, -1], candidates.typical)
    found = (near.indices[:, : candidates.k] == planted.source_row[:, None]).any(axis=1)
    return sample(aligned, Proposed(rows[:, 0], rows[:, 1], apart, relative), names), np.asarray(found)


def strangers(
    planted: Planted, planted_Z: NDArray[np.float32] | None, base: NDArray[np.float32], metric: str, typical: float
) -> Proposed:
    """Each copy with the image after its source (none in a set of one)."""
    a = np.arange(len(planted.copies) if len(base) > 1 else 0)
    b = (planted.source_row[a] + 1) % len(base)
    apart = np.zeros(len(a), np.float32) if planted_Z is None else distances(planted_Z[a], base[b], metric)
    return Proposed(a, b, apart, relative_distances(apart, np.zeros(len(a), np.float32), typical))
