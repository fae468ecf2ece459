"""Several scores of several sets at once: the expensive part, the neighbours, is found once per metric and set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nearkin.analyze.anomaly.forest import fit_forest, forest_score
from nearkin.analyze.anomaly.knn import K_MEAN, K_NORM, kth_unit_distance, mean_distance
from nearkin.analyze.anomaly.lists import OWN, TrainLists
from nearkin.analyze.anomaly.lof import K as K_LOF
from nearkin.analyze.anomaly.lof import fit_lof, lof, own_lof
from nearkin.analyze.anomaly.mahalanobis import fit_gaussian
from nearkin.errors import ConfigError, DataError, unknown

SCORES: dict[str, str] = {
    "knn2": "mean L2 distance to the 2 nearest training vectors (the reference study's)",
    "knn-norm": "L2-normalised vectors, distance to the 50th nearest (Sun et al. 2022)",
    "mahalanobis": "Mahalanobis distance to the mean, shrunk covariance",
    "iforest": "isolation forest, 100 trees",
    "lof": "local outlier factor, 20 neighbours",
}
DEFAULT_K = {"knn2": K_MEAN, "knn-norm": K_NORM, "lof": K_LOF}
Scored = dict[str, dict[str, NDArray[np.float64]]]


def score_sets(
    train: NDArray[np.float32],
    sets: Mapping[str, NDArray[np.float32]],
    names: Sequence[str] = ("knn2",),
    *,
    own: bool = False,
    k: int | None = None,
    seed: int = 0,
    lists: TrainLists | None = None,
) -> Scored:
    """Anomaly scores, higher = more anomalous.

    Args:
        train: float32 (N, D), the vectors that count as normal. sets: name -> float32 (M, D), none of them in ``train``.
        names: of :data:`SCORES`. k: neighbours instead of each score's own number (Mahalanobis and forest have none).
        lists: neighbours among ``train``; what is missing is found and kept there. Default: an exact search.
        own: also score the training rows, under the name "train", each without itself (the forest keeps it).
    Returns:
        score -> set -> float64 (M,).
    Raises:
        ConfigError: unknown score; k outside 1..N (1..N-1 with ``own`` and for LOF); k given where no score has one.
        DataError: fewer than 2 training vectors, other widths, values that are not finite.
    """
    for name in names:
        if name not in SCORES:
            raise unknown("score", name, SCORES)
    if k is not None and not set(names) & set(DEFAULT_K):
        raise ConfigError(f"--k has no meaning for {', '.join(names)}; only {', '.join(DEFAULT_K)} look at neighbours.")
    _check(train, sets)
    ks = {name: DEFAULT_K[name] if k is None else k for name in names if name in DEFAULT_K}
    for name, number in ks.items():
        most = len(train) - int(own or name == "lof")
        if not 1 <= number <= most:
            raise ConfigError(
                f"score {name}: k is {number}; with {len(train)} training vectors it must lie between 1 and {most}. Set --k."
            )
    if OWN in sets:
        raise ConfigError(f"the name '{OWN}' stands for the training rows; call the set something else.")
    near = TrainLists(train) if lists is None else lists
    everyone: dict[str, NDArray[np.float32] | None] = dict(sets) | ({OWN: None} if own else {})
    longest = max((number for name, number in ks.items() if name != "knn-norm"), default=0)
    out: Scored = {}
    for name in names:
        if name == "knn2":
            out[name] = {w: mean_distance(near.of("l2", w, Z, longest), ks[name]) for w, Z in everyone.items()}
        elif name == "knn-norm":
            out[name] = {w: kth_unit_distance(near.of("cosine", w, Z, ks[name]), ks[name]) for w, Z in everyone.items()}
        elif name == "lof":
            model = fit_lof(near.of("l2", OWN, None, longest), ks[name])
            out[name] = {w: lof(model, near.of("l2", w, Z, longest), ks[name]) for w, Z in sets.items()}
            out[name] |= {OWN: own_lof(model)} if own else {}
        elif name == "mahalanobis":
            gaussian = fit_gaussian(train)
            out[name] = {w: gaussian.distance(Z) for w, Z in sets.items()}
            out[name] |= {OWN: gaussian.own_distance(train)} if own else {}
        else:
            forest = fit_forest(train, seed)
            out[name] = {w: forest_score(forest, Z) for w, Z in sets.items()}
            out[name] |= {OWN: forest_score(forest, train)} if own else {}
    return out


def _check(train: NDArray[np.float32], sets: Mapping[str, NDArray[np.float32]]) -> None:
    if train.ndim != 2 or len(train) < 2:
        raise DataError(f"an anomaly score needs at least 2 training vectors (N, D); got shape {train.shape}.")
    for name, Z in {OWN: train, **sets}.items():
        if Z.ndim != 2 or Z.shape[1] != train.shape[1]:
            width = Z.shape[1] if Z.ndim == 2 else Z.shape
            raise DataError(
                f"'{name}' has vectors of {width} dimensions, the training vectors have {train.shape[1]}. "
                "Embed both with the same run and layer."
            )
        if not np.isfinite(Z).all():
            raise DataError(f"'{name}' holds vectors that are not finite; the run that made them diverged.")
