"""Near-duplicates: neighbours in the embedding, checked on the pixels, with a calibrated score.

Candidates are the exact k nearest neighbours of an embedding (within one set, or of one set's images in another one),
never all pairs. Each is aligned on the pixels (aligned.py) and scored (calibrate.py). Without images only the distance
speaks: such pairs are unverified.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nearkin.duplicates.calibration import PRECISION, calibrate
from nearkin.duplicates.candidates import Proposed, distances, propose, relative_distances
from nearkin.duplicates.grouping import Groups, components, group
from nearkin.duplicates.pair_features import EMBEDDING_FEATURES, copies, numbers, sample, strangers, with_exact
from nearkin.duplicates.pairs import PIXEL_FEATURES, Duplicates, Pairs
from nearkin.duplicates.planted import Planted, plant
from nearkin.duplicates.registration import align
from nearkin.errors import ConfigError, DataError
from nearkin.search.exact import Search, knn

K = 5


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
    find: Search = knn,
) -> Duplicates:
    """Near-duplicates of images within a set, or of one set's images in another one.

    Args:
        Z: float32 (M, D). images: uint8 (M, C, H, W), the same images; without them nothing is verified.
        base: float32 (N, D) and base_images uint8 (N, C, H, W), the set searched in; None: the set itself.
        k: nearest neighbours that are looked at, at least 1.
        threshold: on the score, in [0, 1], or None: chosen by calibration for ``precision``, a share of images. Without images: on the
            distance, and needed.
        planted: copies of base images (:func:`plant` of ``base_images``, or of ``images`` where there is no base);
            default: made here. planted_Z: float32 (len(planted), D), their vectors by the embedding's own model: then
            distances enter the score, too; else it comes from pixels alone.
        find: what finds the neighbours.
    Raises:
        ConfigError: k, metric, threshold or precision not legal. DataError: numbers of images and vectors that differ.
    """
    _check(Z, images, base, base_images, threshold, precision)
    target, target_images = (Z, images) if base is None else (base, base_images)
    _check_planted(planted, planted_Z, target, images)
    candidates = propose(Z, base, k, metric=metric, seed=seed, find=find)
    near, typical = candidates.near, candidates.typical
    if images is None or target_images is None:
        bar = float(threshold or 0)
        pairs = Pairs(*numbers(near), np.full(len(near), np.nan), np.zeros(len(near), dtype=bool), None)
        pairs = pairs.take(np.flatnonzero(near.distance <= bar))
        pairs = pairs.take(np.argsort(pairs.distance, kind="stable"))
        return Duplicates(pairs, len(Z), len(target), base is None, len(near), bar, typical, False, None)
    near, exact = with_exact(near, Z, base, images, target_images, metric, typical)
    aligned = align(images, target_images, near.rows, threads=threads)
    names = PIXEL_FEATURES if planted_Z is None else (*PIXEL_FEATURES, *EMBEDDING_FEATURES)
    measured = sample(aligned, near, names)
    calibration = None
    if len(near):
        planted = planted or plant(target_images, seed)
        positives, found = copies(planted, planted_Z, target, target_images, candidates, metric, names, threads, find)
        beyond, left = candidates.beyond, images
        if not len(beyond):  # a handful of images, all of them candidates: a copy of one beside another one
            beyond, left = strangers(planted, planted_Z, target, metric, typical), planted.copies
        negatives = sample(align(left, target_images, beyond.rows, threads=threads), beyond, names)
        offset = [0, 0 if base is None else len(Z)]
        numbered = beyond.rows + offset, near.rows + offset
        calibration = calibrate(
            names, positives, planted.kind, found, negatives, measured, numbered, within=base is None, target=precision
        )
    score = np.zeros(len(near)) if calibration is None else calibration.score(measured)
    score[exact] = 1.0
    bar = threshold if threshold is not None else 1.0 if calibration is None else calibration.threshold
    pairs = Pairs(*numbers(near), score, exact, aligned).take(np.flatnonzero(score >= bar))
    pairs = pairs.take(np.lexsort((pairs.distance, -pairs.score)))
    return Duplicates(pairs, len(Z), len(target), base is None, len(near), float(bar), typical, True, calibration)


def group_duplicates(
    pairs: Pairs, found: Duplicates, Z: NDArray[np.float32], images: NDArray[np.uint8] | None, *, metric: str = "cosine"
) -> Groups:
    """Connected components of the pairs (rows of Z (N, D)), and complete linkage within them.

    Pairs inside a component that were no candidates are measured here, with the calibration and threshold of ``found``;
    without images by their distance.
    """
    known = {(min(a, b), max(a, b)): k for k, (a, b) in enumerate(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True))}

    def similarity(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        apart = distances(Z[rows[:, 0]], Z[rows[:, 1]], metric)
        if images is None or not found.verified:
            return np.asarray(-apart, dtype=np.float64)
        value = np.zeros(len(rows))
        if found.calibration is not None:
            scale = np.full(len(rows), found.typical, dtype=np.float32)
            proposed = Proposed(rows[:, 0], rows[:, 1], apart, relative_distances(apart, scale, found.typical))
            value = found.calibration.score(sample(align(images, images, rows), proposed, found.calibration.names))
        for k, (a, b) in enumerate(rows.tolist()):
            if (min(a, b), max(a, b)) in known:
                value[k] = pairs.score[known[min(a, b), max(a, b)]]
        return value

    threshold = found.threshold if found.verified else -found.threshold
    return group(len(Z), pairs.a, pairs.b, similarity, threshold)


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
    if threshold is not None and not (threshold >= 0 and (images is None or threshold <= 1)):
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
