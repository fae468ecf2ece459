"""An index in this process: vectors in memory, searched by FAISS; exactly unless an approximate kind is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from nearkin.errors import ConfigError, unknown
from nearkin.search.exact import METRICS, exact_distances, knn, unit_rows
from nearkin.search.index import Hits, check_query, check_width, checked_rows

_WIDER = 4  # times k candidates are taken from product-quantised codes, then ordered by true distances


class FaissIndex:
    """A :class:`nearkin.search.index.VectorIndex` in this process.

    Args:
        metric: "cosine" or "l2".
        kind: "Flat" is exact. Else FAISS's factory string, with search parameters after a blank where wanted:
            "HNSW32 efSearch=64", "IVF256,Flat nprobe=16", "IVF256,PQ32 nprobe=16" (Douze et al., "The Faiss library",
            2024). Distances are true ones of every kind.
    Attributes:
        settings: the search parameters; may be changed between searches.
    Raises:
        ConfigError: unknown metric.
    """

    def __init__(self, *, metric: str = "cosine", kind: str = "Flat") -> None:
        if metric not in METRICS:
            raise unknown("metric", metric, METRICS)
        self.metric = metric
        self._kind, _, self.settings = kind.partition(" ")
        self._ids, self._Z = list[str](), np.zeros((0, 0), dtype=np.float32)
        self._approximate: Any = None  # made by the first search

    def __len__(self) -> int:
        return len(self._ids)

    def build(self, ids: Sequence[str], Z: NDArray[np.float32]) -> None:
        """See :class:`nearkin.search.index.VectorIndex`."""
        self._ids, self._Z = checked_rows(ids, Z)
        self._approximate = None

    def upsert(self, ids: Sequence[str], Z: NDArray[np.float32]) -> None:
        """See :class:`nearkin.search.index.VectorIndex`."""
        if not self._ids:
            return self.build(ids, Z)
        names, new = checked_rows(ids, Z)
        check_width(new, self._Z.shape[1])
        at = {name: row for row, name in enumerate(self._ids)}
        # Rows that are replaced stay where they are; the others come after.
        places = [at.setdefault(name, len(at)) for name in names]
        grown = np.concatenate([self._Z, np.zeros((len(at) - len(self._ids), new.shape[1]), dtype=np.float32)])
        grown[places] = new
        self._ids, self._Z, self._approximate = list(at), grown, None

    def search(self, queries: NDArray[np.float32], k: int) -> Hits:
        """See :class:`nearkin.search.index.VectorIndex`."""
        check_query(queries, k, self._Z.shape[1])
        hits, most = Hits.none(len(queries), k), min(k, len(self))
        if self._kind == "Flat":
            near = knn(queries, self._Z, most, metric=self.metric)
            rows, distances = near.indices, near.distances
        else:
            rows, distances = self._approximately(queries, most)
        hits.ids[:, :most] = np.array(self._ids, dtype=object)[rows]
        hits.distances[:, :most] = distances
        return hits

    def close(self) -> None:
        """Do nothing: no file or connection is open."""

    def _approximately(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        Z = self._Z
        try:
            if self._approximate is None:
                self._approximate = self._train()
            if self.settings:
                space: Any = faiss.ParameterSpace()  # its stub knows only one of the overloads
                space.set_index_parameters(self._approximate, self.settings)
        except RuntimeError as error:
            reason = str(error).rsplit(": ", 1)[-1].strip()
            raise ConfigError(
                f"index: FAISS cannot make '{self._kind} {self.settings}'".rstrip()
                + f" of {len(Z)} vectors of {Z.shape[1]} dimensions ({reason}); e.g. 'HNSW32 efSearch=64' or "
                "'IVF256,Flat nprobe=16'."
            ) from error
        # Between unit vectors L2 and cosine give the same order.
        asked = unit_rows(queries) if self.metric == "cosine" else np.ascontiguousarray(queries, dtype=np.float32)
        wide = min(len(Z), k * (_WIDER if "PQ" in self._kind else 1))
        candidates = np.asarray(self._approximate.search(asked, wide)[1], dtype=np.int64)
        short = np.flatnonzero((candidates < 0).any(axis=1))
        if len(short):  # the lists searched hold fewer than k vectors
            candidates[short] = knn(queries[short], Z, wide, metric=self.metric).indices
        distances = exact_distances(queries, Z, candidates, self.metric).astype(np.float32)
        order = np.argsort(distances, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(candidates, order, axis=1), np.take_along_axis(distances, order, axis=1)

    def _train(self) -> Any:
        Z = unit_rows(self._Z) if self.metric == "cosine" else self._Z
        index = faiss.index_factory(Z.shape[1], self._kind)
        index.train(Z)
        index.add(Z)
        return index
