"""One Parquet table per embedding, one row per image, to which every use adds its columns.

Column names follow Embedding Atlas's conventions, so that ``embedding-atlas FILE`` opens it too: path, split, label, x, y,
cluster, anomaly_score (higher = more anomalous), near_duplicate_set (-1 = none) and neighbors, a struct
{"ids": [row numbers], "distances": [...]}.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nearkin.embeddings import Embeddings
from nearkin.errors import DataError
from nearkin.fileio import read_parquet, write_file
from nearkin.search.exact import Neighbors

COLUMNS = ("path", "split", "label", "x", "y", "cluster", "anomaly_score", "near_duplicate_set", "neighbors")


def neighbors_column(neighbors: Neighbors, rows: NDArray[np.int64] | None = None, n: int | None = None) -> pa.Array:
    """Neighbours (N, k) as a struct column {"ids": list of int64, "distances": list of float32}.

    Args:
        rows: int64 (N,), ascending: the table's row of each image, where only some of its ``n`` rows were searched;
            ids are then rows of the table, and the others get empty lists.
    """
    count, k = neighbors.indices.shape
    lengths = np.full(count, k)
    ids: NDArray[np.int64] = neighbors.indices
    if rows is not None and n is not None:
        lengths, ids = np.zeros(n, dtype=np.int64), rows[neighbors.indices]
        lengths[rows] = k
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    lists = pa.ListArray.from_arrays(offsets, pa.array(ids.ravel()))
    distances = pa.ListArray.from_arrays(offsets, pa.array(neighbors.distances.ravel()))
    return pa.StructArray.from_arrays([lists, distances], ["ids", "distances"])


def on_rows(values: NDArray[Any], rows: NDArray[np.int64], n: int) -> pa.Array:
    """A column of a table of ``n`` rows with values in some of them and null in the others."""
    whole = np.zeros(n, dtype=values.dtype)
    missing = np.ones(n, dtype=bool)
    whole[rows], missing[rows] = values, False
    return pa.array(whole, mask=missing)


def check_table(path: Path, embeddings: Embeddings) -> None:
    """Raise DataError for a table of other images; a missing file is fine. Commands call it before a long computation.

    Raises DataError as :func:`add_columns` does.
    """
    if path.exists():
        _same_images(read_table(path), path, embeddings)


def _same_images(table: pa.Table, path: Path, embeddings: Embeddings) -> None:
    if table.column("path").to_pylist() != embeddings.ids.tolist():
        raise DataError(f"{path} is a table of other images. Choose another -o.")


def add_columns(path: Path, embeddings: Embeddings, columns: dict[str, NDArray[Any] | pa.Array]) -> None:
    """Write ``columns`` (each of length N) beside path, split and label, keeping what the file already holds.

    Raises:
        DataError: the file there is no table of these images (other paths), or a column's length differs.
        OutputError: the disk refuses.
    """
    n = len(embeddings)
    for name, values in columns.items():
        if len(values) != n:
            raise DataError(f"table column '{name}' has {len(values)} values for {n} images.")
    labels = embeddings.labels
    names = [None] * n if labels is None else [embeddings.classes[k] if k >= 0 else None for k in labels]
    table: dict[str, Any] = {
        "path": pa.array(embeddings.ids.tolist(), pa.string()),
        "split": pa.array(embeddings.split.tolist(), pa.string()),
        "label": pa.array(names, pa.string()),
    }
    if path.exists():
        before = read_table(path)
        _same_images(before, path, embeddings)
        table |= {name: before.column(name) for name in before.column_names if name not in table}
    table |= {name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in columns.items()}
    rank = {name: k for k, name in enumerate(COLUMNS)}
    ordered = {name: table[name] for name in sorted(table, key=lambda name: (rank.get(name, len(rank)), name))}
    write_file(path, lambda handle: pq.write_table(pa.table(ordered), handle))


def read_table(path: Path) -> pa.Table:
    """Read a table. Raises DataError when it is missing, no Parquet, or has no column "path"."""
    table = read_parquet(path, f"no table at {path}.")
    if "path" not in table.column_names:
        raise DataError(f"{path} has no column 'path'; found: {', '.join(table.column_names)}.")
    return table
