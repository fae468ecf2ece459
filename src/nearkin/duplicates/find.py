"""Near-duplicates: neighbours in the embedding, checked on the pixels, with a calibrated score.

:func:`near_duplicates` is the whole search; the library, the command and the study call it:

1. candidates.py proposes the k nearest neighbours of every image, and images that are the same in every pixel.
2. registration.py aligns each pair on the pixels and measures how well they agree.
3. planted.py makes changed copies; calibration.py learns from them, and from pairs that are hardly ever the same, a score
   and the threshold that reaches the precision asked for.
4. Pairs at or above the threshold are returned. :func:`duplicate_sets` joins them to sets.

Without images only the distance speaks: such pairs are unverified.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.duplicates.calibration import PRECISION, Calibration, PairFeatures, calibrate
from nearkin.duplicates.candidates import (
    CandidatePairs,
    Candidates,
    add_identical,
    distances,
    propose,
    relative_distances,
)
from nearkin.duplicates.planted import COUNT, PlantedCopies, plant, plant_turned
from nearkin.duplicates.registration import ORIENTATIONS, Alignment, align
from nearkin.duplicates.turned import TURNED, Frequencies
from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, DataError
from nearkin.fileio import to_json
from nearkin.search.exact import KnnSearch, knn, unit_rows

N_NEIGHBORS = 5
PIXEL_FEATURES = ("correlation", "detail", "local", "extent")
LARGEST = 200  # largest set of which all pairs are compared
_SAME = 0.98  # lowest cosine at which a recomputed vector equals the given one (other devices round differently)

Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True)
class DuplicatePairs(CandidatePairs):
    """M pairs of images, best first.

    Attributes:
        a: int64 (M,), rows of the images asked about. b: int64 (M,), rows of the set searched in (the same set when one
            set is searched within itself; then a < b and each pair stands once).
        distance: float32 (M,), in the embedding. relative: float32 (M,), the same over the typical distance of the
            2k-th neighbour. score: float64 (M,), probability of a duplicate, in [0, 1]; NaN without images.
        exact: bool (M,), every pixel the same. orientation: int64 (M,), in which b is like a, a
            place in ``ORIENTATIONS``: 0 upright, 1 mirrored. alignment: of the pixels; None without images.
    """

    score: NDArray[np.float64]
    exact: NDArray[np.bool_]
    orientation: NDArray[np.int64]
    alignment: Alignment | None

    def columns(self) -> dict[str, NDArray[Any]]:
        """The numbers of every pair by name, each (M,)."""
        out: dict[str, NDArray[Any]] = {"distance": self.distance, "relative_distance": self.relative}
        if self.alignment is not None:
            pixels = {name: getattr(self.alignment, name) for name in (*PIXEL_FEATURES, "flip")}
            names = np.array(ORIENTATIONS)[self.orientation]
            out = {"score": self.score, "exact": self.exact, **pixels, "orientation": names, **out}
        return out


@dataclass(frozen=True)
class TurnedSearch:
    """The second search, for turned and inverted copies: pairs compared and accepted, and its own threshold.

    The threshold reaches the precision asked for, or less than one image is expected to be wrong; where none does, it is 1
    and no pair is accepted. calibration: None when too few copies could be compared.
    """

    candidates: int
    pairs: int
    threshold: float
    calibration: Calibration | None


@dataclass(frozen=True)
class NearDuplicates:
    """What :func:`near_duplicates` returns.

    Attributes:
        pairs: those at or above the threshold, best first. n_images, n_base: images asked about, and searched in.
        within: whether they are one set. n_candidates: pairs that were compared.
        threshold: on the score (on the distance when not verified). typical: median distance of the last neighbour searched.
        verified: whether pixels were compared. calibration: None when not verified, or when there were no pairs or too few
            copies could be compared (then only identical images are reported).
        turned: the search for turned and inverted copies, whose pairs are among ``pairs``; None when not asked for.
    """

    pairs: DuplicatePairs
    n_images: int
    n_base: int
    within: bool
    n_candidates: int
    threshold: float
    typical: float
    verified: bool
    calibration: Calibration | None
    turned: TurnedSearch | None = None

    @property
    def rows(self) -> NDArray[np.int64]:
        """Rows of the images asked about that have a near-duplicate, int64, ascending."""
        ends = (self.pairs.a, self.pairs.b) if self.within else (self.pairs.a,)
        return np.unique(np.concatenate(ends)).astype(np.int64)

    @property
    def share(self) -> float:
        """Share of the images asked about that have a near-duplicate, in [0, 1]."""
        return len(self.rows) / self.n_images if self.n_images else 0.0

    @property
    def precision(self) -> float | None:
        """Expected share of true duplicates among the images in ``rows``, in [0, 1]: the lower one of both searches.

        Estimated on images that played no part in choosing the threshold, with caution: half a mistake is added, so of a
        few hundred images it is low, whatever they hold. None where it is not known: nothing was calibrated, another
        threshold was given, or none of these images has a near-duplicate.
        """
        searches: list[tuple[float, Calibration | None]] = [(self.threshold, self.calibration)]
        if self.turned is not None and self.turned.pairs:
            searches.append((self.turned.threshold, self.turned.calibration))
        known = [
            calibration.evaluation.precision
            for threshold, calibration in searches
            if calibration is not None and threshold == calibration.threshold
        ]
        values = [value for value in known if value is not None]
        return min(values) if len(values) == len(searches) else None

    @property
    def sets(self) -> list[NDArray[np.int64]]:
        """Images that pairs connect: int64 rows of each set, ascending. Of two sets of images there are none."""
        return connected_sets(self.n_images, self.pairs.a, self.pairs.b) if self.within else []

    def to_dict(self) -> dict[str, Any]:
        """JSON-able (without the single pairs; they are a table)."""
        return {
            "verified": self.verified,
            "within": self.within,
            "images": self.n_images,
            "searched_in": self.n_base,
            "candidates": self.n_candidates,
            "pairs": len(self.pairs),
            "exact_pairs": int(self.pairs.exact.sum()),
            "images_with_duplicate": len(self.rows),
            "share": self.share,
            "threshold": self.threshold,
            "calibration": to_json(self.calibration),
        } | ({} if self.turned is None else {"turned": to_json(self.turned)})


def near_duplicates(
    X: Embeddings | NDArray[Any],
    images: NDArray[np.uint8] | None = None,
    *,
    base: Embeddings | NDArray[Any] | None = None,
    base_images: NDArray[np.uint8] | None = None,
    n_neighbors: int = N_NEIGHBORS,
    metric: str = "cosine",
    threshold: float | None = None,
    precision: float = PRECISION,
    embed: Embed | None = None,
    turned: bool = True,
    n_copies: int = COUNT,
    random_state: int = 0,
    threads: int | None = None,
    search: KnnSearch = knn,
) -> NearDuplicates:
    """Find near-duplicates within a set of images, or of one set's images in another one.

    Neighbours in the embedding are aligned and compared on the pixels. Crops, shifts, mirror images, other brightness,
    blur and JPEG are found. The score is calibrated on planted copies, which also tell how many copies are missed.

    Args:
        X: vectors of the images asked about: Embeddings, or numbers (M, D).
        images: the same images in the same order, uint8 (M, 3, H, W), (M, H, W, 3) or (M, H, W). None: nothing is verified.
        base, base_images: another set that is searched, (N, D) and N images. None: the set itself.
        n_neighbors: neighbours of each image that are compared, at least 1.
        metric: "cosine" or "l2".
        threshold: score in [0, 1] from which a pair counts. None: chosen by calibration for ``precision``. Without images it
            is the largest distance of a pair, and needed.
        precision: share of true duplicates aimed at among the images that are reported to have one, in (0, 1).
        embed: what made the vectors, images uint8 (n, C, H, W) -> (n, D), such as an estimator's ``transform``. With it the
            score counts distances too, and copies that are no neighbours of their source count as missed. Without, it
            comes from pixels alone.
        turned: also search for copies that are turned by a quarter or half, upside down, flipped along a diagonal, or
            inverted, gray ones included. They have candidates, a calibration and a threshold of their own (turned.py), so
            what is found of the others stays the same. Needs images.
        n_copies: planted copies that calibrate the score, at least 1.
        random_state: seed of the copies and of the choice of pairs that stand for non-duplicates.
        threads: chunks of pairs aligned at once; None: the number of cores. The result does not depend on it.
        search: what finds the neighbours; default: exact search.
    Raises:
        ConfigError: n_neighbors, metric, threshold, precision or n_copies not legal, or ``embed`` gives other vectors.
        DataError: shapes or types that do not match, vectors that are not finite.
    """
    Z, base_Z = _vectors(X, "X"), None if base is None else _vectors(base, "base")
    pixels, base_pixels = _pixels(images, "images"), _pixels(base_images, "base_images")
    _check(Z, pixels, base_Z, base_pixels, threshold, precision, embed)
    target, target_pixels = (Z, pixels) if base_Z is None else (base_Z, base_pixels)
    candidates = propose(Z, base_Z, n_neighbors, metric=metric, seed=random_state, search=search)
    calibration, turned_search = None, None
    if pixels is None or target_pixels is None:
        bar, n_candidates = float(threshold or 0), len(candidates.near)
        pairs = _close(candidates.near, bar)
    else:
        comparison = _Comparison(
            Z, pixels, target, target_pixels, base is None, metric, threshold, precision, n_copies, random_state, threads
        )  # fmt: skip
        pairs, n_candidates, bar, calibration = comparison.upright(candidates, embed, search)
        if turned:
            more, turned_search = comparison.turned(pairs, candidates.typical)
            pairs = DuplicatePairs.concatenate([pairs, more])
        pairs = pairs[np.lexsort((pairs.distance, -pairs.score))]
    sizes, verified = (len(Z), len(target)), pixels is not None
    return NearDuplicates(
        pairs, *sizes, base is None, n_candidates, bar, candidates.typical, verified, calibration, turned_search
    )


def _close(near: CandidatePairs, most: float) -> DuplicatePairs:
    """Without images: the pairs at a distance of at most ``most``, nearest first."""
    near = near[np.flatnonzero(near.distance <= most)]
    near = near[np.argsort(near.distance, kind="stable")]
    unknown, differ, upright = np.full(len(near), np.nan), np.zeros(len(near), bool), np.zeros(len(near), np.int64)
    return DuplicatePairs(near.a, near.b, near.distance, near.relative, unknown, differ, upright, None)


@dataclass(frozen=True)
class _Comparison:
    """Two sets of images to be compared on the pixels; the fields are those of :func:`near_duplicates`.

    target, target_pixels: the set searched in; ``within``: it is the set asked about.
    """

    Z: NDArray[np.float32]
    pixels: NDArray[np.uint8]
    target: NDArray[np.float32]
    target_pixels: NDArray[np.uint8]
    within: bool
    metric: str
    threshold: float | None
    precision: float
    n_copies: int
    seed: int
    threads: int | None

    def upright(
        self, candidates: Candidates, embed: Embed | None, search: KnnSearch
    ) -> tuple[DuplicatePairs, int, float, Calibration | None]:
        """Accepted pairs, the number compared, the threshold and its calibration; upright and mirrored images."""
        near, exact = add_identical(
            candidates.near, self.Z, None if self.within else self.target, self.pixels, self.target_pixels, self.metric,
            candidates.typical,
        )  # fmt: skip
        alignment = self._aligned(self.pixels, near.rows)
        names = PIXEL_FEATURES if embed is None else (*PIXEL_FEATURES, "relative_distance")
        features = _features(alignment, near.relative, names)
        calibration = None
        if len(near):
            planted = plant(self.target_pixels, self.seed, count=self.n_copies)
            planted_Z = None if embed is None else _embed_copies(embed, planted, self.target, self.target_pixels)
            relative, proposed = _copies_as_neighbors(planted, planted_Z, self.target, candidates, self.metric, search)
            copies = _features(self._aligned(planted.images, planted.rows), relative, names)
            beyond, images = candidates.beyond, self.pixels
            if not len(beyond):  # a handful of images, all of them candidates: compare a copy of one with another one
                beyond = _strangers(planted, planted_Z, self.target, self.metric, candidates.typical)
                images = planted.images
            negatives = _features(self._aligned(images, beyond.rows), beyond.relative, names)
            calibration = calibrate(
                names, copies, planted.kind, proposed, negatives, features, within=self.within, target=self.precision,
                negative_rows=self._numbered(beyond.rows), candidate_rows=self._numbered(near.rows),
            )  # fmt: skip
        score = np.zeros(len(near)) if calibration is None else calibration.score(features)
        score[exact] = 1.0
        bar = self._threshold(calibration)
        orientation = alignment.flip.astype(np.int64)
        pairs = DuplicatePairs(near.a, near.b, near.distance, near.relative, score, exact, orientation, alignment)
        return pairs[score >= bar], len(near), bar, calibration

    def turned(self, upright: DuplicatePairs, typical: float) -> tuple[DuplicatePairs, TurnedSearch]:
        """Accepted pairs of turned and inverted images, without those of ``upright``."""
        frequencies = Frequencies(self.target_pixels)
        near, beyond = frequencies.candidates(None if self.within else self.pixels, self.seed)
        n = len(self.target)
        near = near[~np.isin(near.a * n + near.b, upright.a * n + upright.b)]
        alignment = self._aligned(self.pixels, near.rows, near.orientation)
        features, calibration = _features(alignment, None, PIXEL_FEATURES), None
        if len(near):
            planted = plant_turned(self.target_pixels, self.seed, TURNED, count=self.n_copies)
            own, (copy, source) = frequencies.coefficients_of(planted.images), planted.rows.T
            orientation, _ = frequencies.best_orientation(own, copy, source)
            nearest, _ = frequencies.candidates(planted.images, self.seed)
            proposed = np.isin(copy, nearest.a[nearest.b == source[nearest.a]])
            copies = self._aligned(planted.images, planted.rows, orientation)
            negatives = self._aligned(self.pixels, beyond.rows, beyond.orientation)
            calibration = calibrate(
                PIXEL_FEATURES, _features(copies, None, PIXEL_FEATURES), planted.kind, proposed,
                _features(negatives, None, PIXEL_FEATURES), features, within=self.within, target=self.precision,
                negative_rows=self._numbered(beyond.rows), candidate_rows=self._numbered(near.rows), strict=True,
            )  # fmt: skip
        score = np.zeros(len(near)) if calibration is None else calibration.score(features)
        bar = self._threshold(calibration)
        some = self.threshold is not None or bar < 1  # otherwise no threshold is high enough
        good = np.flatnonzero((score >= bar) & some)
        near, apart = near[good], distances(self.Z[near.a[good]], self.target[near.b[good]], self.metric)
        relative = relative_distances(apart, np.full(len(apart), typical, dtype=np.float32), typical)
        differ = np.zeros(len(good), dtype=bool)
        pairs = DuplicatePairs(near.a, near.b, apart, relative, score[good], differ, near.orientation, alignment[good])
        return pairs, TurnedSearch(len(features), len(good), bar, calibration)

    def _aligned(
        self, images: NDArray[np.uint8], rows: NDArray[np.int64], orientation: NDArray[np.int64] | None = None
    ) -> Alignment:
        return align(images, self.target_pixels, rows, orientation=orientation, threads=self.threads)

    def _threshold(self, calibration: Calibration | None) -> float:
        if self.threshold is not None:
            return float(self.threshold)
        return 1.0 if calibration is None else calibration.threshold

    def _numbered(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of pairs (P, 2) as numbers of images; the images of another set follow those of the set asked about."""
        return np.asarray(rows + [0, 0 if self.within else len(self.Z)], dtype=np.int64)


@dataclass(frozen=True)
class DuplicateSets:
    """Sets of near-duplicates among N images.

    Attributes:
        component: int64 (N,), number of the connected component, -1 for an image without duplicate. Components join chains:
            a like b, b like c, whether or not a is like c.
        complete: int64 (N,), number of the complete-linkage set, -1 for an image left alone. It holds only images that are
            all alike pairwise (at least the threshold), so a chain falls apart.
        not_split: components of more than ``LARGEST`` images; complete linkage leaves them as they are.
    """

    component: NDArray[np.int64]
    complete: NDArray[np.int64]
    not_split: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: numbers of sets, images in them, the largest."""

        def describe(number: NDArray[np.int64]) -> dict[str, int]:
            sizes = np.bincount(number[number >= 0])
            return {"groups": len(sizes), "images": int(sizes.sum()), "largest": int(sizes.max(initial=0))}

        return {
            "connected_components": describe(self.component),
            "complete_linkage": describe(self.complete),
            "components_too_large_to_split": self.not_split,
        }


def duplicate_sets(
    pairs: DuplicatePairs,
    duplicates: NearDuplicates,
    X: Embeddings | NDArray[Any],
    images: NDArray[np.uint8] | None = None,
    *,
    metric: str = "cosine",
) -> DuplicateSets:
    """Join pairs to sets: connected components, and complete linkage within them.

    Pairs inside a component that were no candidates are measured here, with the calibration and threshold of
    ``duplicates``; without images by their distance.

    Args:
        pairs: ``duplicates.pairs``, or pairs of several searches with rows of X.
        X, images: as in :func:`near_duplicates`.
    """
    Z, pixels = _vectors(X, "X"), _pixels(images, "images")
    known = {(min(a, b), max(a, b)): k for k, (a, b) in enumerate(pairs.rows.tolist())}

    def similarity(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        apart = distances(Z[rows[:, 0]], Z[rows[:, 1]], metric)
        if pixels is None or not duplicates.verified:
            return np.asarray(-apart, dtype=np.float64)
        value = np.zeros(len(rows))
        if duplicates.calibration is not None:
            scale = np.full(len(rows), duplicates.typical, dtype=np.float32)
            relative = relative_distances(apart, scale, duplicates.typical)
            features = _features(align(pixels, pixels, rows), relative, tuple(duplicates.calibration.features))
            value = duplicates.calibration.score(features)
        for k, (a, b) in enumerate(rows.tolist()):
            if (min(a, b), max(a, b)) in known:
                at = known[min(a, b), max(a, b)]
                # Turned copies have a threshold of their own, which they have passed.
                value[k] = pairs.score[at] if pairs.orientation[at] < 2 else max(pairs.score[at], duplicates.threshold)
        return value

    threshold = duplicates.threshold if duplicates.verified else -duplicates.threshold
    return link(len(Z), pairs.a, pairs.b, similarity, threshold)


def link(
    n: int,
    a: NDArray[np.int64],
    b: NDArray[np.int64],
    similarity: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    threshold: float,
) -> DuplicateSets:
    """Sets of n images under accepted pairs. Never builds an N x N matrix.

    Args:
        a, b: int64 (M,), accepted pairs.
        similarity: int64 (P, 2) rows -> float64 (P,), at least ``threshold`` where alike; asked for the pairs within
            components, at most ``LARGEST``^2 / 2 of each.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    component = components(n, a, b)
    complete = component.copy()
    sets = [rows for rows in connected_sets(n, a, b) if len(rows) > 2]
    small = [rows for rows in sets if len(rows) <= LARGEST]
    inside = [np.stack([rows[i] for i in np.triu_indices(len(rows), 1)], axis=1) for rows in small]
    values = similarity(np.concatenate(inside)) if inside else np.zeros(0)
    fresh = n
    for rows, mine in zip(small, np.split(values, np.cumsum([len(p) for p in inside])[:-1]), strict=False):
        # Distances: 0 at the threshold or above would lose the order; negated similarity keeps it.
        top = max(float(mine.max()), threshold)
        tree = linkage(np.maximum(top - mine, 0), method="complete")
        complete[rows] = fresh + fcluster(tree, top - threshold, criterion="distance")
        fresh += len(rows) + 1
    complete = _numbered(np.where(complete < 0, -1 - np.arange(n), complete))
    return DuplicateSets(component, complete, len(sets) - len(small))


def components(n: int, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """Connected components of n images under the pairs (a, b): int64 (n,), numbered by first image, -1 where alone."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(a), dtype=np.int8), (a, b)), shape=(n, n))
    return _numbered(np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64))


def connected_sets(n: int, a: NDArray[np.int64], b: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Rows of each of the :func:`components`, ascending."""
    component = components(n, a, b)
    order = np.argsort(component, kind="stable")
    order = order[component[order] >= 0]
    return np.split(order, np.cumsum(np.bincount(component[order]))[:-1]) if len(order) else []


def duplicate_free_rows(
    n: int, across: NearDuplicates | None = None, within: NearDuplicates | None = None
) -> NDArray[np.int64]:
    """Rows of a test set of ``n`` images that are left without duplicates, ascending int64.

    Left out: images with a duplicate in the other set (``across``), and of each set of duplicates within the test set
    all but the first that is left.
    """
    keep = np.ones(n, dtype=bool)
    if across is not None:
        keep[across.rows] = False
    if within is not None:
        component = components(n, within.pairs.a, within.pairs.b)
        rows = np.flatnonzero(keep & (component >= 0))
        _, first = np.unique(component[rows], return_index=True)
        keep[rows] = False
        keep[rows[first]] = True
    return np.flatnonzero(keep).astype(np.int64)


def _numbered(label: NDArray[np.int64]) -> NDArray[np.int64]:
    """Labels -> 0, 1, ... by first occurrence; -1 where a label occurs once."""
    _, first, inverse, counts = np.unique(label, return_index=True, return_inverse=True, return_counts=True)
    kept = np.flatnonzero(counts > 1)
    number = np.full(len(counts), -1, dtype=np.int64)
    number[kept[np.argsort(first[kept], kind="stable")]] = np.arange(len(kept))
    return np.asarray(number[inverse])


def _features(alignment: Alignment, relative: NDArray[np.float32] | None, names: tuple[str, ...]) -> PairFeatures:
    """The named features of aligned pairs, (P, F). relative: needed where it is named."""
    values: dict[str, Any] = vars(alignment) | {"relative_distance": relative}
    columns = [values[name] for name in names]
    return PairFeatures(np.stack(columns, axis=1), alignment.compared)


def _embed_copies(
    embed: Embed, planted: PlantedCopies, target: NDArray[np.float32], pixels: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Vectors (len(planted), D) of the copies, once ``embed`` has made the given vectors of some originals again."""
    few = np.unique(planted.source_row[:64])
    both = np.asarray(embed(np.concatenate([pixels[few], planted.images])), dtype=np.float32)
    name = getattr(embed, "__name__", "embed")
    if both.shape != (len(few) + len(planted.images), target.shape[1]):
        dim = both.shape[1] if both.ndim == 2 else both.shape[1:]
        raise DataError(f"{name} gives {dim} dimensions; the embeddings have {target.shape[1]}.")
    alike = float(np.median((unit_rows(both[: len(few)]) * unit_rows(target[few])).sum(axis=1)))
    if alike < _SAME:
        raise ConfigError(f"{name} did not make these embeddings (cosine {alike:.2f} for the same images).")
    return both[len(few) :]


def _copies_as_neighbors(
    planted: PlantedCopies,
    planted_Z: NDArray[np.float32] | None,
    target: NDArray[np.float32],
    candidates: Candidates,
    metric: str,
    search: KnnSearch,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Relative distance of each planted copy to its source, and whether the search would have proposed the pair."""
    n = len(planted.images)
    if planted_Z is None:
        return np.zeros(n, dtype=np.float32), np.ones(n, dtype=bool)
    neighbors = search(planted_Z, target, min(2 * candidates.k, len(target)), metric=metric)
    apart = distances(planted_Z, target[planted.source_row], metric)
    relative = relative_distances(apart, neighbors.distances[:, -1], candidates.typical)
    return relative, (neighbors.indices[:, : candidates.k] == planted.source_row[:, None]).any(axis=1)


def _strangers(
    planted: PlantedCopies,
    planted_Z: NDArray[np.float32] | None,
    target: NDArray[np.float32],
    metric: str,
    typical: float,
) -> CandidatePairs:
    """Each copy with the image after its source (none in a set of one)."""
    a = np.arange(len(planted.images) if len(target) > 1 else 0)
    b = (planted.source_row[a] + 1) % len(target)
    apart = np.zeros(len(a), np.float32) if planted_Z is None else distances(planted_Z[a], target[b], metric)
    return CandidatePairs(a, b, apart, relative_distances(apart, np.zeros(len(a), np.float32), typical))


def _vectors(X: Embeddings | NDArray[Any], name: str) -> NDArray[np.float32]:
    """Float32 (N, D). Raises DataError."""
    Z = X.Z if isinstance(X, Embeddings) else np.asarray(X)
    if Z.ndim != 2 or Z.dtype.kind not in "fiu":
        raise DataError(f"near-duplicates: {name} {Z.dtype}{Z.shape} must be Embeddings or numbers (N, D).")
    return np.asarray(Z, dtype=np.float32)


def _pixels(images: NDArray[np.uint8] | None, name: str) -> NDArray[np.uint8] | None:
    """Uint8 (N, C, H, W), C = 1 or 3. Raises DataError."""
    if images is None:
        return None
    pixels = np.asarray(images)
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    elif pixels.ndim == 4 and pixels.shape[1] not in (1, 3) and pixels.shape[3] in (1, 3):
        pixels = pixels.transpose(0, 3, 1, 2)
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3) or pixels.dtype != np.uint8:
        raise DataError(
            f"near-duplicates: {name} {pixels.dtype}{np.shape(images)} must be uint8 (N, 3, H, W), (N, H, W, 3) or (N, H, W)."
        )
    return pixels


def _check(
    Z: NDArray[np.float32],
    pixels: NDArray[np.uint8] | None,
    base_Z: NDArray[np.float32] | None,
    base_pixels: NDArray[np.uint8] | None,
    threshold: float | None,
    precision: float,
    embed: Embed | None,
) -> None:
    for what, vectors, images in (("the set", Z, pixels), ("the set searched in", base_Z, base_pixels)):
        if vectors is not None and images is not None and len(vectors) != len(images):
            raise DataError(f"near-duplicates: {what} has {len(vectors)} vectors and {len(images)} images.")
    if base_Z is None and base_pixels is not None:
        raise DataError("near-duplicates: base_images without base; give the vectors of these images, too.")
    if base_Z is not None and (pixels is None) != (base_pixels is None):
        raise DataError("near-duplicates: give the images of both sets, or of none.")
    if embed is not None and pixels is None:
        raise DataError("near-duplicates: embed needs the images, of which copies are planted.")
    if threshold is None and pixels is None:
        raise ConfigError("without images a threshold must be given: the largest distance of a pair, e.g. 0.05.")
    if threshold is not None and not (threshold >= 0 and (pixels is None or threshold <= 1)):
        legal = "a distance of at least 0" if pixels is None else "a score between 0 and 1"
        raise ConfigError(f"threshold is {threshold:g}; it must be {legal}.")
    if not 0 < precision < 1:
        raise ConfigError(f"precision is {precision:g}; it must lie between 0 and 1.")
