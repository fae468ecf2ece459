"""Near-duplicates: neighbours in the embedding, checked on the pixels, with a calibrated score.

Candidates are the exact k nearest neighbours of an embedding (within one set, or of one set's images in another one),
never all pairs. Each is aligned on the pixels (aligned.py) and scored (calibrate.py). Without images only the distance
speaks: such pairs are unverified.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nearkin.analyze.aligned import Alignment, align
from nearkin.analyze.calibrate import PRECISION, Calibration, Sample, calibrate
from nearkin.analyze.candidates import (
    Candidates,
    Proposed,
    digests,
    distances,
    propose,
    relative_distances,
    same_pixels,
)
from nearkin.analyze.groups import components
from nearkin.analyze.pairs import PIXEL_FEATURES, Duplicates, Pairs
from nearkin.analyze.planted import Planted, plant
from nearkin.errors import ConfigError, DataError
from nearkin.neighbors import knn

K = 5
EMBEDDING_FEATURES = ("distance", "relative_distance")


def find_duplicates(
    Z: NDArray[np.float32],
    images: NDArray[np.uint8] | None = None,
    *,
    base: NDArray[np.float32] | None = None,
    base_images: NDArray[np.uint8] | None = None,
    k: int = K,
    metric: str = "cosine",
    threshold: float | None = None,
    precision: float = PRECISION,
    planted: Planted | None = None,
    planted_Z: NDArray[np.float32] | None = None,
    seed: int = 0,
    threads: int | None = None,
) -> Duplicates:
    """Near-duplicates of images within a set, or of one set's images in another one.

    Args:
        Z: float32 (M, D). images: uint8 (M, C, H, W), the same images; without them nothing is verified.
        base: float32 (N, D) and base_images uint8 (N, C, H, W), the set searched in; None: the set itself.
        k: nearest neighbours that are looked at, at least 1.
        threshold: on the score, in [0, 1], or None: chosen by calibration for ``precision``. Without images: on the
            distance, and needed.
        planted: copies of base images (:func:`plant` of ``base_images``, or of ``images`` where there is no base);
            default: made here. planted_Z: float32 (len(planted), D), their vectors by the embedding's own model: then
            distances enter the score, too; else it comes from pixels alone.
    Raises:
        ConfigError: k, metric, threshold or precision not legal. DataError: numbers of images and vectors that differ.
    """
    _check(Z, images, base, base_images, threshold, precision)
    _check_planted(planted, planted_Z, Z if base is None else base, images)
    target, target_images = (Z, images) if base is None else (base, base_images)
    near_and_beyond = propose(Z, base, k, metric=metric, seed=seed)
    near = near_and_beyond.near
    if images is None or target_images is None:
        bar = float(threshold or 0)
        pairs = Pairs(*_fields(near), np.full(len(near), np.nan), np.zeros(len(near), dtype=bool), None)
        pairs = pairs.take(np.flatnonzero(near.distance <= bar))
        pairs = pairs.take(np.argsort(pairs.distance, kind="stable"))
        return Duplicates(pairs, len(Z), len(target), base is None, len(near), bar, False, None)
    near, exact = _with_exact(near, Z, base, images, target_images, metric, near_and_beyond.typical)
    aligned = align(images, target_images, near.rows, threads=threads)
    names = PIXEL_FEATURES if planted_Z is None else (*PIXEL_FEATURES, *EMBEDDING_FEATURES)
    sample = _sample(aligned, near, names)
    calibration = None
    if len(near):
        planted = planted or plant(target_images, seed)
        copies, found = _copies(planted, planted_Z, target, target_images, near_and_beyond, metric, names, threads)
        beyond, left = near_and_beyond.beyond, images
        if not len(beyond):  # a handful of images, all of them candidates: a copy of one beside another one
            beyond, left = _strangers(planted, planted_Z, target, metric, near_and_beyond.typical), planted.copies
        negatives = _sample(align(left, target_images, beyond.rows, threads=threads), beyond, names)
        calibration = calibrate(names, copies, planted.kind, found, negatives, sample, target=precision)
    score = np.zeros(len(near)) if calibration is None else calibration.score(sample)
    score[exact] = 1.0
    bar = threshold if threshold is not None else 1.0 if calibration is None else calibration.threshold
    pairs = Pairs(*_fields(near), score, exact, aligned).take(np.flatnonzero(score >= bar))
    pairs = pairs.take(np.lexsort((pairs.distance, -pairs.score)))
    return Duplicates(pairs, len(Z), len(target), base is None, len(near), float(bar), True, calibration)


def duplicate_free_rows(
    n: int, across: Duplicates | None = None, within: Duplicates | None = None
) -> NDArray[np.int64]:
    """Rows of a test set of ``n`` images that are left without duplicates, ascending int64.

    Left out: images with a duplicate in the other set (``across``), and of each group of duplicates within the set all
    but the first that is left.
    """
    keep = np.ones(n, dtype=bool)
    if across is not None:
        keep[across.rows()] = False
    if within is not None:
        group = components(n, within.pairs.a, within.pairs.b)
        rows = np.flatnonzero(keep & (group >= 0))
        _, first = np.unique(group[rows], return_index=True)
        keep[rows] = False
        keep[rows[first]] = True
    return np.flatnonzero(keep).astype(np.int64)


def _fields(pairs: Proposed) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    return pairs.a, pairs.b, pairs.distance, pairs.relative


def _sample(aligned: Alignment, pairs: Proposed, names: tuple[str, ...]) -> Sample:
    columns = [getattr(aligned, name) for name in PIXEL_FEATURES]
    if len(names) > len(columns):
        columns += [pairs.distance, pairs.relative]
    return Sample(np.stack(columns, axis=1), aligned.compared)


def _with_exact(
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
    near = Proposed(*(np.concatenate(values) for values in zip(*(_fields(part) for part in parts), strict=True)))
    return near, own[near.a] == other[near.b]


def _copies(
    planted: Planted,
    planted_Z: NDArray[np.float32] | None,
    base: NDArray[np.float32],
    base_images: NDArray[np.uint8],
    candidates: Candidates,
    metric: str,
    names: tuple[str, ...],
    threads: int | None,
) -> tuple[Sample, NDArray[np.bool_]]:
    """Planted copies measured like candidates, and which of them the search would have proposed."""
    n = len(planted.copies)
    rows = np.stack([np.arange(n), planted.source_row], axis=1)
    aligned = align(planted.copies, base_images, rows, threads=threads)
    apart, relative, found = (np.zeros(n, dtype=np.float32) for _ in range(3))
    if planted_Z is not None:
        near = knn(planted_Z, base, min(2 * candidates.k, len(base)), metric=metric)
        apart = distances(planted_Z, base[planted.source_row], metric)
        relative = relative_distances(apart, near.distances[:, -1], candidates.typical)
        found = (near.indices[:, : candidates.k] == planted.source_row[:, None]).any(axis=1)
    else:
        found = np.ones(n)
    return _sample(aligned, Proposed(rows[:, 0], rows[:, 1], apart, relative), names), np.asarray(found, dtype=bool)


def _strangers(
    planted: Planted, planted_Z: NDArray[np.float32] | None, base: NDArray[np.float32], metric: str, typical: float
) -> Proposed:
    """Each copy with the image after its source (none in a set of one)."""
    a = np.arange(len(planted.copies) if len(base) > 1 else 0)
    b = (planted.source_row[a] + 1) % len(base)
    apart = np.zeros(len(a), np.float32) if planted_Z is None else distances(planted_Z[a], base[b], metric)
    return Proposed(a, b, apart, relative_distances(apart, np.zeros(len(a), np.float32), typical))


def _check(
    Z: NDArray[np.float32],
    images: NDArray[np.uint8] | None,
    base: NDArray[np.float32] | None,
    base_images: NDArray[np.uint8] | None,
    threshold: float | None,
    precision: float,
) -> None:
    for what, vectors, pixels in (("the set", Z, images), ("the set searched in", base, base_images)):
        if vectors is not None and pixels is not None and len(vectors) != len(pixels):
            raise DataError(f"duplicates: {what} has {len(vectors)} vectors and {len(pixels)} images.")
    if base is not None and (images is None) != (base_images is None):
        raise DataError("duplicates: give the images of both sets, or of none.")
    if threshold is None and images is None:
        raise ConfigError("without images a threshold must be given: the largest distance of a pair, e.g. 0.05.")
    if threshold is not None and not (0 <= threshold and (images is None or threshold <= 1)):
        legal = "a distance of at least 0" if images is None else "a score between 0 and 1"
        raise ConfigError(f"threshold is {threshold:g}; it must be {legal}.")
    if not 0 < precision < 1:
        raise ConfigError(f"precision is {precision:g}; it must lie between 0 and 1.")


def _check_planted(
    planted: Planted | None,
    planted_Z: NDArray[np.float32] | None,
    base: NDArray[np.float32],
    images: NDArray[np.uint8] | None,
) -> None:
    if planted_Z is not None and (planted is None or images is None):
        raise DataError("duplicates: planted_Z needs the planted copies and the images that they were made of.")
    if planted is None:
        return
    if planted_Z is not None and planted_Z.shape != (len(planted.copies), base.shape[1]):
        raise DataError(
            f"duplicates: planted_Z {planted_Z.shape} must be ({len(planted.copies)}, {base.shape[1]}), a vector per copy."
        )
    if len(planted.copies) and not 0 <= planted.source_row.min() <= planted.source_row.max() < len(base):
        raise DataError(f"duplicates: planted copies name source rows outside 0..{len(base) - 1}.")
