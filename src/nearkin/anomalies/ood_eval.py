"""One embedding, or the scores that need no learning, measured against foreign images and by its own classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.anomalies.baseline_detectors import (
    TRIVIAL,
    feature_scores,
    image_features,
    pixel_base,
    pixel_index,
    pixel_knn,
    pixels,
)
from nearkin.anomalies.detectors import K_MEAN, OWN, SCORES, Scored, Scorer, TrainNeighbors, mean_distance, score_sets
from nearkin.anomalies.diagnostics import (
    RESEMBLED_K,
    DigitSummary,
    Resembled,
    Spread,
    describe_digits,
    moments,
    principal_axes,
    query_rows,
    resembled,
    spread,
)
from nearkin.anomalies.image_scores import normal_rows
from nearkin.anomalies.ood_metrics import (
    CLASS_SCORES,
    ClassAurocs,
    ClassScores,
    OodMetrics,
    class_aurocs,
    class_neighbors,
    class_scores,
    ood_metrics,
)
from nearkin.anomalies.ood_sets import InSet, OodSet
from nearkin.anomalies.outlier_overlap import TOP, top_rows
from nearkin.embeddings import Embeddings
from nearkin.errors import DataError
from nearkin.fileio import IF_KNOWN
from nearkin.search.exact import KnnSearch, Neighbors, knn, merged
from nearkin.system import return_memory

TEST = "test"
_INSIDE = "inside"


@dataclass(frozen=True)
class OodEvaluation:
    """Attributes:
    n_train, n_test: in-distribution images.
    ood: set -> score -> figures.
    near, one_class: score -> AUROC per class with that class left out of training, and with it as the only normal one.
        None without labels.
    digits: set -> score -> which digits and strokes are most anomalous; sets with strokes only.
    most_in: score -> ids of the most anomalous test images, most anomalous first.
    dim: of the vectors. resembled: set -> which training images it resembles. spread: set -> its variance beside the test
        set's. All three None for the scores that need no learning.
    map: JSON of a :class:`nearkin.anomalies.study_step.JointMap`, where one was drawn.
    """

    n_train: int
    n_test: int
    ood: dict[str, dict[str, OodMetrics]]
    near: dict[str, ClassAurocs] | None
    one_class: dict[str, ClassAurocs] | None
    digits: dict[str, dict[str, DigitSummary]]
    most_in: dict[str, tuple[str, ...]]
    dim: int | None = field(default=None, metadata=IF_KNOWN)
    resembled: dict[str, Resembled] | None = field(default=None, metadata=IF_KNOWN)
    spread: dict[str, Spread] | None = field(default=None, metadata=IF_KNOWN)
    map: dict[str, Any] | None = field(default=None, metadata=IF_KNOWN)


def evaluate_vectors(
    train: NDArray[np.float32] | TrainNeighbors,
    test: NDArray[np.float32],
    ood: Mapping[str, NDArray[np.float32]],
    inside: InSet,
    sets: Sequence[OodSet],
    *,
    scores: Sequence[str] = tuple(SCORES),
    k: int | None = None,
    seed: int = 0,
    curves: bool = True,
) -> OodEvaluation:
    """Measure one embedding.

    Args:
        train, test: float32 (N, D), (M, D), vectors of ``inside``'s images; ``train`` may bring neighbours that are known,
            and the search that finds the scores' others (tables over classes and "resembled" search exactly).
        ood: set name -> vectors of its images; each is asked for once, and not kept.
        scores, k: as in :class:`nearkin.anomalies.detectors.Scorer`; the tables over classes keep each score's own k.
        curves: keep ROC and PR curves and histograms.
    Raises:
        DataError: vectors and images differ in number, other widths, values that are not finite.
        ConfigError: unknown score, or fewer training images than a score has neighbours.
    """
    neighbors = train if isinstance(train, TrainNeighbors) else TrainNeighbors(train)
    _same_length("train", neighbors.train, len(inside.train))
    _same_length(TEST, test, len(inside.test))
    for item in sets:
        if item.name not in ood:
            raise DataError(f"no vectors for the set '{item.name}'; there are some for: {', '.join(ood) or 'none'}.")
    classwise: dict[str, ClassScores] = {}
    if inside.labels:
        labels, _, classes = inside.labels
        for name in [name for name in scores if name in CLASS_SCORES]:
            metric, length = SCORES[name].metric or "", SCORES[name].k or 0
            near_classes = class_neighbors(neighbors.index(metric), labels, test, len(classes), score=name)
            neighbors.trim()
            classwise[name] = class_scores(near_classes, score=name)
            if neighbors.exact and (labels >= 0).all() and neighbors.known(metric, TEST, length) is None:
                neighbors.add(metric, TEST, merged(near_classes, length))
    scorer = Scorer(neighbors.train, scores, k=k, seed=seed, neighbors=neighbors)
    scored: Scored = {name: {TEST: values} for name, values in scorer.score(TEST, test).items()}
    axes = principal_axes(moments(test, seed))
    resembles: dict[str, Resembled] = {}
    spreads: dict[str, Spread] = {}
    for item in sets:
        Z = ood[item.name]
        _same_length(item.name, Z, len(item.items))
        for name, values in scorer.score(item.name, Z).items():
            scored[name][item.name] = values
        resembles[item.name] = _resembled(neighbors, item.name, Z, inside, seed)
        spreads[item.name] = spread(axes, moments(Z, seed))
        del Z  # or it lies beside the next set's
        return_memory()
    more = {"dim": int(neighbors.train.shape[1]), "resembled": resembles, "spread": spreads}
    return _evaluation(scored, classwise, inside, sets, curves, **more)


def evaluate_baselines(inside: InSet, sets: Sequence[OodSet], *, seed: int = 0, curves: bool = True) -> OodEvaluation:
    """The same for the scores that need no learning. Once per study: they depend on no method.

    Raises:
        DataError: fewer than 2 training images.
    """
    train, test = image_features(inside.train.images), image_features(inside.test.images)
    scored: Scored = {name: {} for name in TRIVIAL}
    near_pixels = pixel_index(inside.train.images, seed)
    own_pixels: Neighbors | None = None
    classwise: dict[str, ClassScores] = {}
    if inside.labels:
        labels, _, classes = inside.labels
        own = [feature_scores(train.take(labels == c), test) for c in range(len(classes))]
        rest = [feature_scores(train.take((labels >= 0) & (labels != c)), test) for c in range(len(classes))]
        for name in own[0]:
            classwise[name] = ClassScores(np.stack([s[name] for s in own]), np.stack([s[name] for s in rest]))
        labels = labels[pixel_base(inside.train.images, seed)]
        near = class_neighbors(near_pixels, labels, pixels(inside.test.images), len(classes), score="knn2")
        classwise["pixel-knn"] = class_scores(near, score="knn2")
        own_pixels = merged(near, K_MEAN) if (labels >= 0).all() else None
    images = {TEST: inside.test.images} | {item.name: item.items.images for item in sets}
    for where, asked in images.items():
        for name, values in feature_scores(train, test if where == TEST else image_features(asked)).items():
            scored[name][where] = values
        lists = own_pixels if where == TEST else None
        scored["pixel-knn"][where] = pixel_knn(near_pixels, asked) if lists is None else mean_distance(lists)
    return _evaluation(scored, classwise, inside, sets, curves)


def _evaluation(
    scored: Scored,
    classwise: Mapping[str, ClassScores],
    inside: InSet,
    sets: Sequence[OodSet],
    curves: bool,
    **more: Any,
) -> OodEvaluation:
    most = min(TOP, max(1, len(inside.test) // 10))  # the lists of all images would be equal
    ids = inside.test.ids
    near = one_class = None
    if inside.labels:
        _, labels, classes = inside.labels
        near = {name: class_aurocs(own.held_out, labels, classes, "held-out") for name, own in classwise.items()}
        one_class = {name: class_aurocs(own.one_class, labels, classes, "one-class") for name, own in classwise.items()}
    return OodEvaluation(
        n_train=len(inside.train),
        n_test=len(inside.test),
        ood={
            item.name: {
                name: ood_metrics(values[TEST], values[item.name], ids=(ids, item.items.ids), curves=curves)
                for name, values in scored.items()
            }
            for item in sets
        },
        near=near,
        one_class=one_class,
        digits={
            item.name: {name: describe_digits(values[item.name], item) for name, values in scored.items()}
            for item in sets
            if item.thickness is not None
        },
        most_in={name: tuple(ids[top_rows(values[TEST], most)].tolist()) for name, values in scored.items()},
        **more,
    )


def _resembled(
    neighbors: TrainNeighbors, name: str, outside: NDArray[np.float32], inside: InSet, seed: int
) -> Resembled:
    """By lists that are there already, where they are exact and long enough."""
    rows, k = query_rows(len(outside), seed), min(RESEMBLED_K, len(neighbors.train))
    near = neighbors.known("cosine", name, k) if neighbors.exact else None
    indices = neighbors.index("cosine").search(outside[rows], k).indices if near is None else near.indices[rows]
    return resembled(indices, inside.train.ids)


def _same_length(name: str, vectors: NDArray[np.float32], n: int) -> None:
    if len(vectors) != n:
        raise DataError(f"'{name}' has {len(vectors)} vectors for {n} images.")


# Without images: an embedding against foreign vectors, and its own classes against each other


def against(
    embeddings: Embeddings,
    ood: Mapping[str, tuple[NDArray[np.float32], NDArray[np.str_]]],
    *,
    train_split: str = "train",
    scores: Sequence[str] = ("knn2",),
    k: int | None = None,
    seed: int = 0,
    curves: bool = True,
    find: KnnSearch = knn,
) -> dict[str, dict[str, OodMetrics]]:
    """Set -> score -> figures; extremes carry ids.

    Args:
        ood: set name -> (vectors float32 (M, D), ids str (M,)). find: what finds the neighbours.
    Raises:
        ConfigError: a split without rows, unknown score, k out of range.
        DataError: other widths, values that are not finite, an empty set.
    """
    rows = normal_rows(embeddings, train_split)
    sets = {name: Z for name, (Z, _) in ood.items()}
    if rows.unseen:
        sets[_INSIDE] = embeddings.Z[rows.inside]
    train, inside_ids = embeddings.Z[rows.train], embeddings.ids[rows.inside]
    neighbors = TrainNeighbors(train, find)
    scored = score_sets(train, sets, scores, own=not rows.unseen, k=k, seed=seed, neighbors=neighbors)
    inside = _INSIDE if rows.unseen else OWN
    return {
        name: {
            score: ood_metrics(values[inside], values[name], ids=(inside_ids, ids), curves=curves)
            for score, values in scored.items()
        }
        for name, (_, ids) in ood.items()
    }


@dataclass(frozen=True)
class ClassTables:
    """Attributes:
    one_class, near: score -> AUROC per class, that class as the only normal one, and left out.
    """

    one_class: dict[str, ClassAurocs]
    near: dict[str, ClassAurocs]


def class_tables(
    embeddings: Embeddings, *, train_split: str = "train", scores: Sequence[str] = ("knn2",)
) -> ClassTables:
    """One-class and held-out-class AUROC of an embedding's own classes.

    Scores without neighbours (Mahalanobis, forest, LOF) have no such table; "knn-norm" stands in if no other is asked for.

    Raises:
        DataError: no labels, fewer than 2 classes, a class without training or test images, or nothing but training rows.
    """
    rows = normal_rows(embeddings, train_split)
    if embeddings.labels is None or not embeddings.labelled:
        raise DataError("classes as anomalies need labels; this embedding has none.")
    if not rows.unseen:
        raise DataError(f"classes as anomalies need rows outside '{train_split}' to test on; this embedding has none.")
    tables = ClassTables({}, {})
    labels, classes = embeddings.labels, embeddings.classes
    train, test = embeddings.Z[rows.train], embeddings.Z[rows.inside]
    for score in [name for name in scores if name in CLASS_SCORES] or ["knn-norm"]:
        near = class_neighbors(train, labels[rows.train], test, len(classes), score=score)
        values = class_scores(near, score=score)
        tables.one_class[score] = class_aurocs(values.one_class, labels[rows.inside], classes, "one-class")
        tables.near[score] = class_aurocs(values.held_out, labels[rows.inside], classes, "held-out")
    return tables
