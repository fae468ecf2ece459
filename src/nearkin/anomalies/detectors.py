"""Anomaly scores of vectors against training vectors: kNN, Mahalanobis, isolation forest, local outlier factor.

Higher = more anomalous, everywhere. Whatever several scores need (neighbours, a covariance) is computed once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import ConfigError, DataError, unknown
from nearkin.search.exact import Index, KnnSearch, Neighbors, knn
from nearkin.system import return_memory

K_MEAN = 2  # the reference study's protocol
K_NORM = 50  # Sun et al. on CIFAR-10
K_LOF = 20  # scikit-learn's default
TREES = 100  # scikit-learn's and the paper's number; 256 rows per tree
OWN = "train"  # the name under which the training rows' own scores and neighbours stand
_LARGE = 2**28  # bytes of training vectors
_CHUNK = 2048  # rows in float64 at a time: 50 MB of raw pixels; smaller blocks would come from the heap, which does not shrink


@dataclass(frozen=True)
class AnomalyScore:
    """Attributes:
    description: one line. metric, k: of the neighbours that the score looks at; None where it looks at none.
    """

    description: str
    metric: str | None = None
    k: int | None = None


SCORES = {
    "knn2": AnomalyScore("mean L2 distance to the 2 nearest training vectors (the reference study's)", "l2", K_MEAN),
    "knn-norm": AnomalyScore("L2-normalised vectors, distance to the 50th nearest (Sun et al. 2022)", "cosine", K_NORM),
    "mahalanobis": AnomalyScore("Mahalanobis distance to the mean, shrunk covariance"),
    "iforest": AnomalyScore("isolation forest, 100 trees"),
    "lof": AnomalyScore("local outlier factor, 20 neighbours", "l2", K_LOF),
}
Scored = dict[str, dict[str, NDArray[np.float64]]]  # score -> set -> float64 (M,)


# Nearest neighbours


def mean_distance(neighbors: Neighbors, k: int = K_MEAN) -> NDArray[np.float64]:
    """Mean of the distances (M, >= k) to the k nearest, float64 (M,). True distances, not squared ones.

    The mean of squared distances ranks differently for k >= 2, so what a search returns squared has to be rooted first.
    """
    out: NDArray[np.float64] = neighbors.distances[:, :k].mean(axis=1, dtype=np.float64)
    return out


def kth_unit_distance(neighbors: Neighbors, k: int = K_NORM) -> NDArray[np.float64]:
    """L2 distance of unit-length vectors to the k-th nearest, from cosine neighbours (M, >= k); float64 (M,), in [0, 2].

    Sun et al.: "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022, equation 2 with r_k; there the
    score is -r_k. Between unit vectors |a - b|^2 = 2 (1 - cosine).
    """
    out: NDArray[np.float64] = np.sqrt(2 * neighbors.distances[:, k - 1].astype(np.float64))
    return out


class TrainNeighbors:
    """Neighbours of several sets among the training vectors (N, D), each list found once and kept.

    Args:
        find: what finds them; the exact search prepares its index once per metric.
    """

    def __init__(self, train: NDArray[np.float32], find: KnnSearch = knn) -> None:
        self.train, self._find = train, find
        self._indexes: dict[str, Index] = {}
        self._lists: dict[tuple[str, str], Neighbors] = {}

    @property
    def exact(self) -> bool:
        """Whether the search is exact, so that exact lists from elsewhere can replace its own."""
        return self._find is knn

    def index(self, metric: str) -> Index:
        """The training vectors, ready for an exact search. Of a large set one metric's at a time."""
        if metric not in self._indexes:
            self.trim()
            self._indexes[metric] = Index(self.train, metric=metric)
        return self._indexes[metric]

    def has_index(self, metric: str | None) -> bool:
        """Whether the index of that metric is in memory."""
        return metric in self._indexes

    def trim(self) -> None:
        """Drop the indexes of a large set; they are made again when they are needed, which takes seconds."""
        if self.train.nbytes > _LARGE:  # each holds as much memory as the vectors
            self._indexes.clear()
            return_memory()

    def known(self, metric: str, name: str, k: int) -> Neighbors | None:
        """The k nearest of the set ``name`` if lists of that length are there already."""
        neighbors = self._lists.get((metric, name))
        return None if neighbors is None or neighbors.indices.shape[1] < k else neighbors.first(k)

    def add(self, metric: str, name: str, neighbors: Neighbors) -> None:
        """Keep lists (M, k) that were found elsewhere."""
        self._lists[metric, name] = neighbors

    def of(self, metric: str, name: str, Z: NDArray[np.float32] | None, k: int) -> Neighbors:
        """The k nearest of the set ``name``, vectors Z (M, D), or None: of the training rows, each without itself.

        A name stands for one set: its lists are not searched again.

        Raises what :func:`nearkin.search.exact.knn` raises.
        """
        known = self.known(metric, name, k)
        if known is not None and len(known.indices) == len(self.train if Z is None else Z):
            return known
        if self.exact:
            neighbors = self.index(metric).search(Z, k, own=np.arange(len(self.train)) if Z is None else None)
        else:
            queries = self.train if Z is None else Z
            neighbors = self._find(queries, self.train, k, metric=metric, exclude_self=Z is None)
        self._lists[metric, name] = neighbors
        return neighbors


# Local outlier factor


def fit_lof(own: Neighbors, k: int = K_LOF) -> Any:
    """scikit-learn's LocalOutlierFactor (Breunig et al. 2000) from the training rows' L2 neighbours (N, >= k), each without itself.

    It works on a sparse graph of neighbours that were found before, so that one search serves all scores.
    """
    from sklearn.neighbors import LocalOutlierFactor

    n = len(own.indices)
    # scikit-learn drops the first of k + 1 neighbours as the row itself, so the row itself is put there.
    indices = np.concatenate([np.arange(n)[:, None], own.indices[:, :k]], axis=1)
    distances = np.concatenate([np.zeros((n, 1), dtype=np.float32), own.distances[:, :k]], axis=1)
    return LocalOutlierFactor(k, metric="precomputed", novelty=True).fit(_graph(indices, distances, n))


def own_lof(model: Any) -> NDArray[np.float64]:
    """LOF of the training rows, float64 (N,), about 1 for ordinary ones."""
    return -np.asarray(model.negative_outlier_factor_, dtype=np.float64)


def lof(model: Any, neighbors: Neighbors, k: int = K_LOF) -> NDArray[np.float64]:
    """LOF of new vectors from their L2 neighbours (M, >= k) among the training rows, float64 (M,)."""
    graph = _graph(neighbors.indices[:, :k], neighbors.distances[:, :k], len(model.negative_outlier_factor_))
    return -np.asarray(model.score_samples(graph), dtype=np.float64)


def _graph(indices: NDArray[np.int64], distances: NDArray[np.float32], n: int) -> Any:
    """Neighbours (M, k), nearest first, as a sparse (M, n) matrix of distances, zeros stored."""
    from scipy.sparse import csr_matrix

    rows, k = indices.shape
    starts = np.arange(0, rows * k + 1, k)
    return csr_matrix((distances.ravel().astype(np.float64), indices.ravel(), starts), shape=(rows, n))


# Mahalanobis distance


@dataclass(frozen=True)
class Gaussian:
    """One Gaussian of all training vectors (no classes are used), after Lee et al. 2018 and SSD (Sehwag et al. 2021).

    S = (1 - a) C + a tr(C) / D I with the share a of Ledoit and Wolf (2004); C has the divisor N.

    Attributes:
        mean: float64 (D,). whiten: float64 (D, D), whiten whiten' = inverse of S. n: N. shrinkage: a, in [0, 1].
    """

    mean: NDArray[np.float64]
    whiten: NDArray[np.float64]
    n: int
    shrinkage: float

    def distance(self, Z: NDArray[np.float32]) -> NDArray[np.float64]:
        """Distances of new vectors (M, D) -> float64 (M,)."""
        return np.sqrt(self._squared(Z))

    def own_distance(self, Z: NDArray[np.float32]) -> NDArray[np.float64]:
        """Distances of the training vectors (N, D), each taken out of mean and covariance first (shrinkage term held).

        With d = x - mean, q = d' S^-1 d and c = (1 - a) / (N - 1): taking the row out turns d into d N / (N - 1) and S into
        N / (N - 1) (S - c d d'), so by Sherman and Morrison the squared distance becomes N / (N - 1) q / (1 - c q).
        """
        q = self._squared(Z)
        c = (1 - self.shrinkage) / (self.n - 1)
        # c q is at most 1, and 1 only where a row alone spans a direction without any shrinkage.
        return np.sqrt(self.n / (self.n - 1) * q / np.maximum(1 - c * q, 1e-12))

    def _squared(self, Z: NDArray[np.float32]) -> NDArray[np.float64]:
        parts = [np.square(centred @ self.whiten).sum(axis=1) for centred in _centred(Z, self.mean)]
        return np.concatenate(parts) if parts else np.zeros(0)


def fit_gaussian(train: NDArray[np.float32]) -> Gaussian:
    """Mean and shrunk covariance of training vectors (N, D), N >= 2, in float64.

    The covariance is that of scikit-learn's LedoitWolf, to the last few bits. Ours reads the rows in chunks (no copy of all
    rows in float64), takes a seventh of the time for raw pixels, and is defined for identical vectors: directions in which S
    vanishes (only when all vectors are the same) are measured in the vectors' own units.
    """
    n, d = train.shape
    mean = train.mean(axis=0, dtype=np.float64)
    widest, squares = 0.0, 0.0
    for centred in _centred(train, mean):
        widest = max(widest, float(np.abs(centred).max()))
        squares += float(np.square(centred).sum())
    # A cloud no wider than float32's rounding of its own position is one point.
    if not widest > 1e-6 * max(float(train.max()), -float(train.min())):
        return Gaussian(mean, np.eye(d), n, 1.0)
    # The closed form needs no scale, but its products of fourth order do: tiny vectors would underflow.
    scale = float(np.sqrt(squares / (n * d)))
    covariance, fourth = np.zeros((d, d)), 0.0
    for centred in _centred(train, mean):
        centred /= scale
        covariance += centred.T @ centred
        fourth += float(np.square(np.square(centred).sum(axis=1)).sum())
    covariance, shrinkage = _shrunk(covariance / n, fourth / n, n) if d > 1 else (covariance / n, 0.0)
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, 1e-12 * values[-1])
    return Gaussian(mean, vectors / np.sqrt(values) / scale, n, float(shrinkage))


def _centred(Z: NDArray[np.float32], mean: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """The rows minus a mean, some at a time: in float64 all of them would be the largest array of a study."""
    for start in range(0, len(Z), _CHUNK):
        yield Z[start : start + _CHUNK] - mean


def _shrunk(covariance: NDArray[np.float64], fourth: float, n: int) -> tuple[NDArray[np.float64], float]:
    """Ledoit and Wolf's covariance (D, D) from that of N rows, and its shrinkage, in [0, 1]. ``fourth``: mean |x|^4.

    With C = X'X / N and m = tr(C) / D: the share is the smaller of 1 and b / d, where d = |C - m I|^2 and
    b = (mean |x|^4 - |C|^2) / N (Ledoit & Wolf 2004, section 3.3), at 0 or above.
    """
    d = len(covariance)
    size, mean = float(np.square(covariance).sum()), float(np.trace(covariance)) / d
    spread = size - d * mean**2
    noise = (fourth - size) / n
    shrinkage = min(1.0, max(0.0, noise / spread)) if spread > 0 else 0.0
    covariance *= 1 - shrinkage
    covariance.flat[:: d + 1] += shrinkage * mean
    return covariance, shrinkage


# All scores


class Scorer:
    """Anomaly scores against training vectors, higher = more anomalous; a set at a time, so that one need be in memory.

    Args:
        train: float32 (N, D), the vectors that count as normal.
        names: of :data:`SCORES`. k: neighbours instead of each score's own number (Mahalanobis and forest have none).
        own: whether :meth:`own` will be asked for.
        neighbors: those among ``train``; what is missing is found and kept there. Default: an exact search.
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
        neighbors: TrainNeighbors | None = None,
    ) -> None:
        for name in names:
            if name not in SCORES:
                raise unknown("score", name, SCORES)
        self._ks = {name: own_k if k is None else k for name in names if (own_k := SCORES[name].k) is not None}
        if k is not None and not self._ks:
            looking = ", ".join(name for name, score in SCORES.items() if score.k is not None)
            raise ConfigError(f"--k has no meaning for {', '.join(names)}; only {looking} look at neighbours.")
        if train.ndim != 2 or len(train) < 2:
            raise DataError(f"an anomaly score needs at least 2 training vectors (N, D); got shape {train.shape}.")
        _check(OWN, train, train.shape[1])
        for name, number in self._ks.items():
            most = most_neighbors(name, len(train), own)
            if not 1 <= number <= most:
                raise ConfigError(
                    f"score {name}: k is {number}; with {len(train)} training vectors it must lie between 1 and {most}. Set --k."
                )
        self._train, self._names, self._seed = train, tuple(names), seed
        self._neighbors = TrainNeighbors(train) if neighbors is None else neighbors

    def score(self, where: str, Z: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        """score -> float64 (M,) of vectors (M, D), none of them in ``train``. ``where`` names this set, and no other.

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
        """score -> float64 (N,) of the training rows, each without itself.

        The forest keeps it: each tree sees 256 rows, so the weight of one is small.
        """
        return self._scores(OWN, None)

    def _scores(self, where: str, Z: NDArray[np.float32] | None) -> dict[str, NDArray[np.float64]]:
        # Scores whose index exists go first: if memory holds only one, it is built once per set.
        order = sorted(self._names, key=lambda name: not self._neighbors.has_index(SCORES[name].metric))
        scores = {name: self._score(name, where, Z) for name in order}
        return {name: scores[name] for name in self._names}

    def _score(self, name: str, where: str, Z: NDArray[np.float32] | None) -> NDArray[np.float64]:
        if name == "knn2":
            return mean_distance(self._near(name, where, Z), self._ks[name])
        if name == "knn-norm":
            return kth_unit_distance(self._near(name, where, Z), self._ks[name])
        if name == "lof":
            return own_lof(self._lof) if Z is None else lof(self._lof, self._near(name, where, Z), self._ks[name])
        if name == "mahalanobis":
            return self._gaussian.own_distance(self._train) if Z is None else self._gaussian.distance(Z)
        # The forest's score is 2^(-mean path length / its expectation), in (0, 1]; about 0.5 is ordinary.
        return -np.asarray(self._forest.score_samples(self._train if Z is None else Z), dtype=np.float64)

    def _near(self, name: str, where: str, Z: NDArray[np.float32] | None) -> Neighbors:
        """Lists as long as the longest that any of the scores of that metric needs."""
        metric = SCORES[name].metric or ""
        longest = max(k for other, k in self._ks.items() if SCORES[other].metric == metric)
        return self._neighbors.of(metric, where, Z, longest)

    @cached_property
    def _lof(self) -> Any:
        return fit_lof(self._near("lof", OWN, None), self._ks["lof"])

    @cached_property
    def _gaussian(self) -> Gaussian:
        return fit_gaussian(self._train)

    @cached_property
    def _forest(self) -> Any:
        """Isolation forest (Liu et al. 2008)."""
        from sklearn.ensemble import IsolationForest

        return IsolationForest(n_estimators=TREES, random_state=self._seed).fit(self._train)


def most_neighbors(name: str, n_train: int, own: bool) -> int:
    """The largest k of a neighbour score. ``own``: training rows are scored, each without itself; LOF always does that."""
    return n_train - int(own or name == "lof")


def possible_scores(n_train: int, own: bool) -> tuple[list[str], dict[str, str]]:
    """The scores that so many training vectors have enough neighbours for, and for every other one why it has none."""
    names, skipped = [], {}
    for name, score in SCORES.items():
        most = most_neighbors(name, n_train, own)
        if score.k is None or score.k <= most:
            names.append(name)
        else:
            skipped[name] = (
                f"score {name} skipped: it needs {score.k} neighbours; {n_train} training vectors have {max(most, 0)}. "
                "--k sets another number."
            )
    return names, skipped


def score_sets(
    train: NDArray[np.float32],
    sets: Mapping[str, NDArray[np.float32]],
    names: Sequence[str] = ("knn2",),
    *,
    own: bool = False,
    k: int | None = None,
    seed: int = 0,
    neighbors: TrainNeighbors | None = None,
) -> Scored:
    """:class:`Scorer` of several sets: score -> set -> float64 (M,). ``own``: also the training rows, under "train"."""
    scorer = Scorer(train, names, own=own, k=k, seed=seed, neighbors=neighbors)
    for where, Z in sets.items():  # before the first is scored
        scorer.check(where, Z)
    by_set = {where: scorer.score(where, Z) for where, Z in sets.items()} | ({OWN: scorer.own()} if own else {})
    return {name: {where: scores[name] for where, scores in by_set.items()} for name in names}


def _check(name: str, Z: NDArray[np.float32], wide: int) -> None:
    if Z.ndim != 2 or Z.shape[1] != wide:
        width = Z.shape[1] if Z.ndim == 2 else Z.shape
        raise DataError(
            f"'{name}' has vectors of {width} dimensions, the training vectors have {wide}. "
            "Embed both with the same run and layer."
        )
    if not np.isfinite(Z).all():
        raise DataError(f"'{name}' holds vectors that are not finite; the run that made them diverged.")
