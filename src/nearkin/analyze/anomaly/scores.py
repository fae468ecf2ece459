"""Several scores of several sets at once: the expensive part, the neighbours, is found once per metric and set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nearkin.analyze.anomaly.forest import fit_forest, forest_score
from nearkin.analyze.anomaly.knn import K_MEAN, K_NORM, kth_unit_distance, mean_distance
from nearkin.analyze.anomaly.lof import K as K_LOF
from nearkin.analyze.anomaly.lof import fit_lof, lof, own_lof
from nearkin.analyze.anomaly.mahalanobis import fit_gaussian
from nearkin.errors import ConfigError, DataError, unknown
from nearkin.neighbors import Index, Neighbors, Search, knn

SCORES: dict[str, str] = {
    "knn2": "mean L2 distance to the 2 nearest training vectors (the reference study's)",
    "knn-norm": "L2-normalised vectors, distance to the 50th nearest (Sun et al. 2022)",
    "mahalanobis": "Mahalanobis distance to the mean, shrunk covariance",
    "iforest": "isolation forest, 100 trees",
    "lof": "local outlier factor, 20 neighbours",
}
DEFAULT_K = {"knn2": K_MEAN, "knn-norm": K_NORM, "lof": K_LOF}
OWN = "train"
Scored = dict[str, dict[str, NDArray[np.float64]]]


def score_sets(
    train: NDArray[np.float32],
    sets: Mapping[str, NDArray[np.float32]],
    names: Sequence[str] = ("knn2",),
    *,
    own: bool = False,
    k: int | None = None,
    seed: int = 0,
    find: Search = knn,
    indexes: dict[str, Index] | None = None,
) -> Scored:
    """Anomaly scores, higher = more anomalous.

    Args:
        train: float32 (N, D), the vectors that count as normal. sets: name -> float32 (M, D), none of them in ``train``.
        names: of :data:`SCORES`. k: neighbours instead of each score's own number (Mahalanobis and forest have none).
        find: what finds the neighbours.
        indexes: the training vectors' index by metric; what is missing is made and put there, for whoever needs it next.
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
    near = _Near(train, sets, own, find, {} if indexes is None else indexes)
    out: Scored = {}
    for name in names:
        if name == "knn2":
            found = near.of("l2", max(ks[n] for n in ks if n != "knn-norm"))
            out[name] = {where: mean_distance(item, ks[name]) for where, item in found.items()}
        elif name == "knn-norm":
            found = near.of("cosine", ks[name])
            out[name] = {where: kth_unit_distance(item, ks[name]) for where, item in found.items()}
        elif name == "lof":
            found = near.of("l2", max(ks[n] for n in ks if n != "knn-norm"), own=True)
            model = fit_lof(found[OWN], ks[name])
            out[name] = {where: lof(model, found[where], ks[name]) for where in sets}
            out[name] |= {OWN: own_lof(model)} if own else {}
        elif name == "mahalanobis":
            gaussian = fit_gaussian(train)
            out[name] = {where: gaussian.distance(Z) for where, Z in sets.items()}
            out[name] |= {OWN: gaussian.own_distance(train)} if own else {}
        else:
            forest = fit_forest(train, seed)
            out[name] = {where: forest_score(forest, Z) for where, Z in sets.items()}
            out[name] |= {OWN: forest_score(forest, train)} if own else {}
    return out


class _Near:
    """Neighbours of every set among the training vectors, found when first asked for."""

    def __init__(
        self,
        train: NDArray[np.float32],
        sets: Mapping[str, NDArray[np.float32]],
        own: bool,
        find: Search,
        indexes: dict[str, Index],
    ) -> None:
        self._train, self._sets, self._own, self._find, self._indexes = train, sets, own, find, indexes
        self._found: dict[str, dict[str, Neighbors]] = {}

    def of(self, metric: str, k: int, own: bool = False) -> dict[str, Neighbors]:
        """k neighbours per set (every call with one metric asks for the same k); the training rows' where wanted."""
        found = self._found.setdefault(metric, {})
        for name, Z in self._sets.items():
            if name not in found:
                found[name] = self._search(Z, k, metric)
        if (own or self._own) and OWN not in found:
            found[OWN] = self._search(None, k, metric)
        return {name: item for name, item in found.items() if name != OWN or own or self._own}

    def _search(self, Z: NDArray[np.float32] | None, k: int, metric: str) -> Neighbors:
        """Neighbours of Z, or of the training rows each without itself; the exact search prepares its index once."""
        if self._find is not knn:
            return self._find(self._train if Z is None else Z, self._train, k, metric=metric, exclude_self=Z is None)
        if metric not in self._indexes:
            self._indexes[metric] = Index(self._train, metric=metric)
        return self._indexes[metric].search(Z, k, own=np.arange(len(self._train)) if Z is None else None)


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
