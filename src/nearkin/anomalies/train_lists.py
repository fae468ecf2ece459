"""Neighbours among the training vectors, each list found once: by metric and by the set that was asked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nearkin.search.exact import Index, Neighbors, Search, knn
from nearkin.system import return_memory

OWN = "train"
_LARGE = 2**28  # bytes of training vectors


class TrainLists:
    """Lists of neighbours of several sets among the training vectors (N, D), kept for whoever asks next.

    Args:
        find: what finds them; the exact search prepares its index once per metric.
    """

    def __init__(self, train: NDArray[np.float32], find: Search = knn) -> None:
        self.train, self._find = train, find
        self._indexes: dict[str, Index] = {}
        self._lists: dict[tuple[str, str], Neighbors] = {}

    @property
    def exact(self) -> bool:
        """Whether lists are those of an exact search, so that exact ones from elsewhere may stand for them."""
        return self._find is knn

    def index(self, metric: str) -> Index:
        """The training vectors, ready for an exact search. Of a large set one metric's at a time."""
        if metric not in self._indexes:
            self.trim()
            self._indexes[metric] = Index(self.train, metric=metric)
        return self._indexes[metric]

    def holds(self, metric: str) -> bool:
        """Whether that index is there already."""
        return metric in self._indexes

    def trim(self) -> None:
        """Drop the indexes of a large set; they are made again when they are needed, which takes seconds."""
        if self.train.nbytes > _LARGE:  # each holds as much memory as the vectors
            self._indexes.clear()
            return_memory()

    def known(self, metric: str, name: str, k: int) -> Neighbors | None:
        """The first k of a list that is there and long enough."""
        found = self._lists.get((metric, name))
        return None if found is None or found.indices.shape[1] < k else found.first(k)

    def add(self, metric: str, name: str, found: Neighbors) -> None:
        """Keep lists (M, k) that were found elsewhere."""
        self._lists[metric, name] = found

    def of(self, metric: str, name: str, Z: NDArray[np.float32] | None, k: int) -> Neighbors:
        """The k nearest of the set ``name``, vectors Z (M, D), or None: of the training rows, each without itself.

        A name stands for one set: what was found for it is found again.

        Raises what :func:`nearkin.search.exact.knn` raises.
        """
        known = self.known(metric, name, k)
        if known is not None and len(known.indices) == len(self.train if Z is None else Z):
            return known
        if self.exact:
            found = self.index(metric).search(Z, k, own=np.arange(len(self.train)) if Z is None else None)
        else:
            asked = self.train if Z is None else Z
            found = self._find(asked, self.train, k, metric=metric, exclude_self=Z is None)
        self._lists[metric, name] = found
        return found
