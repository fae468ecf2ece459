"""Several scores of several sets: what they learn from the training vectors, and neighbours, are found once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.anomalies.forest import fit_forest, forest_score
from nearkin.anomalies.knn import K_MEAN, K_NORM, kth_unit_distance, mean_distance
from nearkin.anomalies.lof import K as K_LOF
from nearkin.anomalies.lof import fit_lof, lof, own_lof
from nearkin.anomalies.mahalanobis import Gaussian, fit_gaussian
from nearkin.anomalies.train_lists import OWN, TrainLists
from nearkin.errors import ConfigError, DataError, unknown
from nearkin.search.exact import Neighbors

SCORES: dict[str, str] = {
    "knn2": "mean L2 distance to the 2 nearest training vectors (the reference study's)",
    "knn-norm": "L2-normalised vectors, distance to the 50th nearest (Sun et al. 2022)",
    "mahalanobis": "Mahalanobis distance to the mean, shrunk covariance",
    "iforest": "isolation forest, 100 trees",
    "lof": "local outlier factor, 20 neighbours",
}
METRIC = {"knn2": "l2", "lof": "l2", "knn-norm": "cosine"}  # of the neighbours that a score looks at
DEFAULT_K = {"knn2": K_MEAN, "knn-norm": K_NORM, "lof": K_LOF}
Scored = dict[str, dict[str, NDArray[np.float64]]]


class Scorer:
    """Anomaly scores against training vectors, higher = more anomalous; a set at a time, so that one need be in memory.

    Args:
        train: float32 (N, D), the vectors that count as normal.
        names: of :data:`SCORES`. k: neighbours instead of each score's own number (Mahalanobis and forest have none).
        own: whether :meth:`own` will be asked for.
        lists: neighbours among ``train``; what is missing is found and kept there. Default: an exact search.
    Raises:
        ConfigError: unknown score; k outside 1..N (1..N-1 with ``own`` and for LOF); k given where no score has one.
        DataError: fewer than 2 training vectors, values that are not finite.
    """

    def __init__(
        self,
        train: NDArray[np.float32],
        names: Sequence[str],
        *,
        own: bool = False,
        k: int | None = None,
        seed: int = 0,
        lists: TrainLists | None = None,
    ) -> None:
        for name in names:
            if name not in SCORES:
                raise unknown("score", name, SCORES)
        if k is not None and not set(names) & set(DEFAULT_K):
            raise ConfigError(
                f"--k has no meaning for {', '.join(names)}; only {', '.join(DEFAULT_K)} look at neighbours."
            )
        if train.ndim != 2 or len(train) < 2:
            raise DataError(f"an anomaly score needs at least 2 training vectors (N, D); got shape {train.shape}.")
        _check(OWN, train, train.shape[1])
        self._ks = {name: DEFAULT_K[name] if k is None else k for name in names if name in DEFAULT_K}
        for name, number in self._ks.items():
            most = len(train) - int(own or name == "lof")
            if not 1 <= number <= most:
                raise ConfigError(
                    f"score {name}: k is {number}; with {len(train)} training vectors it must lie between 1 and {most}. Set --k."
                )
        self._train, self._names, self._seed = train, tuple(names), seed
        self._lists = TrainLists(train) if lists is None else lists

    def score(self, where: str, Z: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        """score -> float64 (M,) of vectors (M, D), none of them in ``train``; ``where`` names them, and no others, in the lists.

        Raises:
            ConfigError: a name that stands for the training rows. DataError: other widths, values that are not finite.
        """
        self.check(where, Z)
        return self._scores(where, Z)

    def check(self, where: str, Z: NDArray[np.float32]) -> None:
        """Refuse what :meth:`score` refuses."""
        if where == OWN:
            raise ConfigError(f"the name '{OWN}' stands for the training rows; call the set something else.")
        _check(where, Z, self._train.shape[1])

    def own(self) -> dict[str, NDArray[np.float64]]:
        """score -> float64 (N,) of the training rows, each without itself (the forest keeps it)."""
        return self._scores(OWN, None)

    def _scores(self, where: str, Z: NDArray[np.float32] | None) -> dict[str, NDArray[np.float64]]:
        # First those whose index is there: where only one fits into memory, it is made once per set.
        order = sorted(self._names, key=lambda name: not self._lists.holds(METRIC.get(name, "")))
        found = {name: self._score(name, where, Z) for name in order}
        return {name: found[name] for name in self._names}

    def _score(self, name: str, where: str, Z: NDArray[np.float32] | None) -> NDArray[np.float64]:
        if name == "knn2":
            return mean_distance(self._near(name, where, Z), self._ks[name])
        if name == "knn-norm":
            return kth_unit_distance(self._near(name, where, Z), self._ks[name])
        if name == "lof":
            return own_lof(self._lof) if Z is None else lof(self._lof, self._near(name, where, Z), self._ks[name])
        if name == "mahalanobis":
            return self._gaussian.own_distance(self._train) if Z is None else self._gaussian.distance(Z)
        return forest_score(self._forest, self._train if Z is None else Z)

    def _near(self, name: str, where: str, Z: NDArray[np.float32] | None) -> Neighbors:
        """As long as any of the scores that share the metric needs it."""
        longest = max(k for other, k in self._ks.items() if METRIC[other] == METRIC[name])
        return self._lists.of(METRIC[name], where, Z, longest)

    @cached_property
    def _lof(self) -> Any:
        return fit_lof(self._near("lof", OWN, None), self._ks["lof"])

    @cached_property
    def _gaussian(self) -> Gaussian:
        return fit_gaussian(self._train)

    @cached_property
    def _forest(self) -> Any:
        return fit_forest(self._train, self._seed)


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
    """:class:`Scorer` of several sets: score -> set -> float64 (M,). ``own``: also the training rows, under "train"."""
    scorer = Scorer(train, names, own=own, k=k, seed=seed, lists=lists)
    for where, Z in sets.items():  # before the first is scored
        scorer.check(where, Z)
    found = {where: scorer.score(where, Z) for where, Z in sets.items()} | ({OWN: scorer.own()} if own else {})
    return {name: {where: scores[name] for where, scores in found.items()} for name in names}


def _check(name: str, Z: NDArray[np.float32], wide: int) -> None:
    if Z.ndim != 2 or Z.shape[1] != wide:
        width = Z.shape[1] if Z.ndim == 2 else Z.shape
        raise DataError(
            f"'{name}' has vectors of {width} dimensions, the training vectors have {wide}. "
            "Embed both with the same run and layer."
        )
    if not np.isfinite(Z).all():
        raise DataError(f"'{name}' holds vectors that are not finite; the run that made them diverged.")
