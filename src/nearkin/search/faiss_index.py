"""The embedded index: vectors in memory, searched by FAISS; exactly unless an approximate kind is named.

On disk it is a Parquet file with the columns id, embedding and one per metadata column, so that every command that takes
embeddings reads it, too. An approximate FAISS index over them is made again when it is needed: FAISS's own files are not
read, since a crafted one is trusted by its reader.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from nearkin.errors import ConfigError, DataError, unknown
from nearkin.fileio import read_parquet, write_file
from nearkin.search.exact import METRICS, exact_distances, knn, unit_rows
from nearkin.search.index import (
    Hits,
    Metadata,
    Rows,
    Where,
    check_query,
    check_rows,
    check_same_columns,
    no_hits,
    wanted,
)

_KEY = b"nearkin.index"
_WIDER = 4  # times k candidates are taken from product-quantised codes, then ordered by true distances


class FaissIndex:
    """A :class:`nearkin.search.index.VectorIndex` in this process.

    Args:
        path: Parquet file that :meth:`save` writes and that is read now if it is there; None: in memory only.
        metric: "cosine" or "l2".
        kind: "Flat" is exact. Else FAISS's factory string, with search parameters after a blank where wanted:
            "HNSW32 efSearch=64", "IVF256,Flat nprobe=16", "IVF256,PQ32 nprobe=16" (Douze et al., "The Faiss library",
            2024). Distances are true ones of every kind. A filtered search is always exact.
    Attributes:
        settings: the search parameters; may be changed between searches.
    Raises:
        ConfigError: unknown metric, or a metric other than the file's. DataError: an unreadable file.
    """

    def __init__(self, path: Path | None = None, *, metric: str = "cosine", kind: str = "Flat") -> None:
        if metric not in METRICS:
            raise unknown("metric", metric, METRICS)
        self.metric = metric
        self._path = path
        self._kind, _, self.settings = kind.partition(" ")
        self._approximate: Any = None
        self._rows = Rows([], np.zeros((0, 0), dtype=np.float32), {})
        if path is not None and path.exists():
            self._read(path)

    def __len__(self) -> int:
        return len(self._rows.ids)

    def build(self, ids: Sequence[str], Z: NDArray[np.float32], metadata: Metadata | None = None) -> None:
        """See :class:`nearkin.search.index.VectorIndex`."""
        self._replace(check_rows(ids, Z, metadata))

    def upsert(self, ids: Sequence[str], Z: NDArray[np.float32], metadata: Metadata | None = None) -> None:
        """See :class:`nearkin.search.index.VectorIndex`."""
        new, old = check_rows(ids, Z, metadata), self._rows
        if not old.ids:
            return self._replace(new)
        check_same_columns(new.columns, old.columns)
        if new.Z.shape[1] != old.Z.shape[1]:
            raise DataError(f"index: the new vectors have {new.Z.shape[1]} dimensions, the others {old.Z.shape[1]}.")
        at = {name: row for row, name in enumerate(old.ids)}
        # Rows that are replaced stay where they are; the others come after.
        places = [at.setdefault(name, len(at)) for name in new.ids]
        grown = np.concatenate([old.Z, np.zeros((len(at) - len(old.ids), old.Z.shape[1]), dtype=np.float32)])
        grown[places] = new.Z
        columns = {name: values + [""] * (len(at) - len(values)) for name, values in old.columns.items()}
        for name, values in columns.items():
            for place, value in zip(places, new.columns[name], strict=True):
                values[place] = value
        self._replace(Rows(list(at), grown, columns))

    def delete(self, ids: Sequence[str]) -> None:
        """See :class:`nearkin.search.index.VectorIndex`."""
        gone = {str(name) for name in ids}
        keep = [row for row, name in enumerate(self._rows.ids) if name not in gone]
        columns = {name: [values[row] for row in keep] for name, values in self._rows.columns.items()}
        self._replace(Rows([self._rows.ids[row] for row in keep], self._rows.Z[keep], columns))

    def search(self, queries: NDArray[np.float32], k: int, where: Where | None = None) -> Hits:
        """See :class:`nearkin.search.index.VectorIndex`."""
        if not len(self):
            raise DataError("index: it is empty; build it first.")
        check_query(queries, k, where, self._rows.Z.shape[1], tuple(self._rows.columns))
        hits = no_hits(len(queries), k)
        rows = self._matching(where)
        most = min(k, len(self) if rows is None else len(rows))
        if most == 0:
            return hits
        if rows is None and self._kind != "Flat":
            found, distances = self._approximately(queries, most)
        else:
            near = knn(queries, self._rows.Z if rows is None else self._rows.Z[rows], most, metric=self.metric)
            found = near.indices if rows is None else rows[near.indices]
            distances = near.distances
        hits.ids[:, :most] = np.array(self._rows.ids, dtype=object)[found]
        hits.distances[:, :most] = distances
        return hits

    def save(self) -> None:
        """Write the Parquet file by atomic rename. Raises ConfigError without a path, OutputError when refused."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._path is None:
            raise ConfigError("index: it has no path to be saved to; open it with FaissIndex(path).")
        ids, Z = self._rows.ids, self._rows.Z
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(Z.reshape(-1)), max(1, Z.shape[1]))
        table = pa.table({"id": pa.array(ids, pa.string()), "embedding": vectors} | self._rows.columns)
        table = table.replace_schema_metadata({_KEY: json.dumps({"metric": self.metric}).encode()})
        write_file(self._path, lambda handle: pq.write_table(table, handle))

    def close(self) -> None:
        """Nothing is held open."""

    def _replace(self, rows: Rows) -> None:
        self._rows, self._approximate = rows, None

    def _matching(self, where: Where | None) -> NDArray[np.int64] | None:
        """Rows that a filter lets through; None: all."""
        if not where:
            return None
        keep = np.ones(len(self), dtype=bool)
        for name, values in wanted(where).items():
            legal = set(values)
            keep &= np.fromiter((value in legal for value in self._rows.columns[name]), dtype=bool, count=len(self))
        return np.flatnonzero(keep)

    def _approximately(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        Z = self._rows.Z
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
        found = np.asarray(self._approximate.search(asked, wide)[1], dtype=np.int64)
        short = np.flatnonzero((found < 0).any(axis=1))
        if len(short):  # the lists that were looked into hold fewer than k vectors
            found[short] = knn(queries[short], Z, wide, metric=self.metric).indices
        distances = exact_distances(queries, Z, found, self.metric).astype(np.float32)
        order = np.argsort(distances, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(found, order, axis=1), np.take_along_axis(distances, order, axis=1)

    def _train(self) -> Any:
        Z = unit_rows(self._rows.Z) if self.metric == "cosine" else self._rows.Z
        index = faiss.index_factory(Z.shape[1], self._kind)
        index.train(Z)
        index.add(Z)
        return index

    def _read(self, path: Path) -> None:
        table = read_parquet(path, f"no index at {path}.")
        known = json.loads((table.schema.metadata or {}).get(_KEY, b"{}"))
        if "metric" not in known or not {"id", "embedding"} <= set(table.column_names):
            raise DataError(f"{path} is no index written by nearkin; build one with FaissIndex(path).build(...).")
        if known["metric"] != self.metric:
            raise ConfigError(f"{path} is an index by {known['metric']}; it cannot be searched by {self.metric}.")
        column = table["embedding"].combine_chunks()
        if len(column):
            Z = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(column), -1)
            names = [name for name in table.column_names if name not in ("id", "embedding")]
            self._rows = check_rows(table["id"].to_pylist(), Z, {name: table[name].to_pylist() for name in names})
