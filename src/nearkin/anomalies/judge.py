"""One embedding, or the scores that need no learning, measured against every out-of-distribution set: one JSON shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from nearkin.anomalies.digits import describe_digits
from nearkin.anomalies.knn import K_MEAN, mean_distance
from nearkin.anomalies.one_class import (
    KNN_SCORES,
    class_distances,
    class_neighbors,
    held_out_scores,
    one_class_scores,
    per_class,
)
from nearkin.anomalies.ood_metrics import detect
from nearkin.anomalies.ood_sets import InSet, OodSet
from nearkin.anomalies.overlap import TOP, top_rows
from nearkin.anomalies.resembled import K as K_RESEMBLED
from nearkin.anomalies.resembled import asked_rows, resembled
from nearkin.anomalies.scores import SCORES, Scorer
from nearkin.anomalies.spread import moments, reference, spread
from nearkin.anomalies.train_lists import TrainLists
from nearkin.errors import DataError
from nearkin.search.exact import Neighbors, Search, knn, merged
from nearkin.system import return_memory

Scores = dict[str, dict[str, NDArray[np.float64]]]
PerClassScores = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
TEST = "test"


def judge_embeddings(
    train: NDArray[np.float32],
    test: NDArray[np.float32],
    ood: Mapping[str, NDArray[np.float32]],
    inside: InSet,
    sets: Sequence[OodSet],
    *,
    scores: Sequence[str] = tuple(SCORES),
    k: int | None = None,
    seed: int = 0,
    curves: bool = True,
    find: Search = knn,
    known: Mapping[tuple[str, str], Neighbors] | None = None,
) -> dict[str, Any]:
    """Measure one embedding.

    Args:
        train, test: float32 (N, D), (M, D), vectors of ``inside``'s images. ood: set name -> vectors of its images; each
            is asked for once, and not kept.
        scores: of :data:`nearkin.anomalies.scores.SCORES`. k: as in :class:`nearkin.anomalies.scores.Scorer`; the tables
            over classes keep each score's own k. curves: keep ROC and PR curves and histograms.
        find: what finds the neighbours of the scores (tables over classes and "resembled" search exactly).
        known: (metric, "test" or "train") -> that set's lists among ``train``, found already by an exact search.
    Returns:
        JSON-able, see :func:`_shape`; "spread" compares each OOD set's variance with the test set's, and
        "resembled" says which training images it resembles (with their "ids").
    Raises:
        DataError: vectors and images differ in number, other widths, values that are not finite.
        ConfigError: unknown score, or fewer training images than a score has neighbours.
    """
    _same_length("train", train, len(inside.train))
    _same_length(TEST, test, len(inside.test))
    for item in sets:
        if item.name not in ood:
            raise DataError(f"no vectors for the set '{item.name}'; there are some for: {', '.join(ood) or 'none'}.")
    lists = TrainLists(train, find)
    for (metric, where), near in (known or {}).items():
        lists.add(metric, where, near)
    classwise: PerClassScores = {}
    if inside.labels:
        a, _, classes = inside.labels
        for name in [name for name in scores if name in KNN_SCORES]:
            metric, length = KNN_SCORES[name]
            near_classes = class_neighbors(lists.index(metric), a, test, len(classes), score=name)
            lists.trim()
            distances = class_distances(near_classes, score=name)
            classwise[name] = one_class_scores(distances, score=name), held_out_scores(distances, score=name)
            if lists.exact and (a >= 0).all() and lists.known(metric, TEST, length) is None:
                lists.add(metric, TEST, merged(near_classes, length))
    scorer = Scorer(train, scores, k=k, seed=seed, lists=lists)
    found: Scores = {name: {TEST: values} for name, values in scorer.score(TEST, test).items()}
    own = reference(moments(test, seed))
    nearest: dict[str, Any] = {}
    wide: dict[str, Any] = {}
    for item in sets:
        Z = ood[item.name]
        _same_length(item.name, Z, len(item.items))
        for name, values in scorer.score(item.name, Z).items():
            found[name][item.name] = values
        nearest[item.name] = _resembled(lists, item.name, Z, inside, seed)
        wide[item.name] = spread(own, moments(Z, seed)).to_dict()
        del Z  # or it lies beside the next set's
        return_memory()
    more = {"dim": int(train.shape[1]), "resembled": nearest, "spread": wide}
    return _shape(found, classwise, inside, sets, curves) | more


def judge_trivial(inside: InSet, sets: Sequence[OodSet], *, seed: int = 0, curves: bool = True) -> dict[str, Any]:
    """The same for the scores that need no learning. Once per study: they depend on no method.

    Raises:
        DataError: fewer than 2 training images.
    """
    train, test = image_features(inside.train.images), image_features(inside.test.images)
    found: Scores = {name: {} for name in TRIVIAL}
    near_pixels = pixel_index(inside.train.images, seed)
    own_pixels: Neighbors | None = None
    classwise: PerClassScores = {}
    if inside.labels:
        labels, _, classes = inside.labels
        own = [feature_scores(train.take(labels == c), test) for c in range(len(classes))]
        rest = [feature_scores(train.take((labels >= 0) & (labels != c)), test) for c in range(len(classes))]
        classwise = {name: (np.stack([s[name] for s in own]), np.stack([s[name] for s in rest])) for name in own[0]}
        labels = labels[pixel_base(inside.train.images, seed)]
        lists = class_neighbors(near_pixels, labels, pixels(inside.test.images), len(classes), score="knn2")
        near = class_distances(lists, score="knn2")
        classwise["pixel-knn"] = one_class_scores(near, score="knn2"), held_out_scores(near, score="knn2")
        own_pixels = merged(lists, K_MEAN) if (labels >= 0).all() else None
    images = {TEST: inside.test.images} | {item.name: item.items.images for item in sets}
    for where, asked in images.items():
        scored = feature_scores(train, test if where == TEST else image_features(asked))
        for name, values in scored.items():
            found[name][where] = values
        known = own_pixels if where == TEST else None
        found["pixel-knn"][where] = pixel_knn(near_pixels, asked) if known is None else mean_distance(known)
    return _shape(found, classwise, inside, sets, curves)


def _shape(
    found: Scores, classwise: PerClassScores, inside: InSet, sets: Sequence[OodSet], curves: bool
) -> dict[str, Any]:
    """{"n_train", "n_test",
    "ood": set -> score -> {"AUROC", "interval", "AUPR_IN", "AUPR_OUT", "FPR@95", "most", "least", ...},
    "near": score -> mean and per-class AUROC with one class left out of training (None without labels),
    "one_class": score -> mean and per-class AUROC with one class as the only normal one (None without labels),
    "digits": set -> score -> which digits and strokes are most anomalous (sets with strokes),
    "most_in": score -> ids of the most anomalous test images, most anomalous first}.
    """
    most = min(TOP, max(1, len(inside.test) // 10))  # lists of all images share everything, and say nothing
    ood: dict[str, dict[str, Any]] = {}
    for item in sets:
        ood[item.name] = {}
        for score, values in found.items():
            row = detect(values[TEST], values[item.name]).to_dict(curves=curves)
            for extreme in row["most"] + row["least"]:
                ids = inside.test.ids if extreme["set"] == "in" else item.items.ids
                extreme["id"] = str(ids[extreme["row"]])
            ood[item.name][score] = row
    near = one = None
    if inside.labels:
        _, b, classes = inside.labels
        one = {name: per_class(own, b, classes, "one-class").to_dict() for name, (own, _) in classwise.items()}
        near = {name: per_class(rest, b, classes, "held-out").to_dict() for name, (_, rest) in classwise.items()}
    return {
        "n_train": len(inside.train),
        "n_test": len(inside.test),
        "ood": ood,
        "near": near,
        "one_class": one,
        "digits": {
            item.name: {score: describe_digits(values[item.name], item) for score, values in found.items()}
            for item in sets
            if item.thickness is not None
        },
        "most_in": {score: inside.test.ids[top_rows(values[TEST], most)].tolist() for score, values in found.items()},
    }


def _resembled(lists: TrainLists, name: str, outside: NDArray[np.float32], inside: InSet, seed: int) -> dict[str, Any]:
    """By lists that are there already, where they are exact and long enough."""
    rows, k = asked_rows(len(outside), seed), min(K_RESEMBLED, len(lists.train))
    near = lists.known("cosine", name, k) if lists.exact else None
    indices = lists.index("cosine").search(outside[rows], k).indices if near is None else near.indices[rows]
    found = resembled(indices, len(lists.train))
    return found.to_dict() | {"ids": inside.train.ids[list(found.rows)].tolist()}


def _same_length(name: str, vectors: NDArray[np.float32], n: int) -> None:
    if len(vectors) != n:
        raise DataError(f"'{name}' has {len(vectors)} vectors for {n} images.")
