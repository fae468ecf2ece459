"""Columns to colour and filter by: class, split, columns of Parquet tables, known factors of the images."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nearkin.embeddings import Embeddings
from nearkin.errors import DataError, reading
from nearkin.explore.spaces import Say
from nearkin.fileio import read_parquet

MOST_GROUPS = 60  # most colours that can be told apart; of more values, the rest form one group
_FEW = 20  # whole numbers with at most this many values are groups
_KNOWN = ("id", "path", "label", "split", "embedding", "x", "y", "neighbors")


@dataclass(frozen=True)
class Column:
    """One value per image.

    Attributes:
        values: float32 (N,); for groups the index into ``groups``. NaN where unknown.
        groups: names of the groups, or () for a number.
    """

    name: str
    values: NDArray[np.float32]
    groups: tuple[str, ...] = ()


def base_columns(made: Embeddings) -> list[Column]:
    """Class (where there are labels) and split."""
    out = []
    if made.labels is not None and made.labelled:
        values = np.where(made.labels < 0, np.nan, made.labels).astype(np.float32)
        out.append(Column("class", values, made.classes))
    names, codes = np.unique(made.split, return_inverse=True)
    if len(names) > 1:
        out.append(Column("split", codes.astype(np.float32), tuple(names.tolist())))
    return out


def column_of(name: str, values: NDArray[Any]) -> Column | None:
    """A column of numbers, text or truth values (N,), None or NaN where unknown; None if colours cannot show it."""
    kind = values.dtype.kind
    if kind in "fiu":
        numbers = values.astype(np.float64)
        known = np.unique(numbers[np.isfinite(numbers)])
        if not len(known):
            return None
        if len(known) > _FEW or (known != np.round(known)).any():
            return Column(name, np.where(np.isfinite(numbers), numbers, np.nan).astype(np.float32))
        codes = np.searchsorted(known, numbers).astype(np.float32)
        codes[~np.isfinite(numbers)] = np.nan
        noise = name == "cluster"
        groups = tuple("noise" if noise and value == -1 else str(int(value)) for value in known)
        return Column(name, codes, groups)
    texts = [None if value is None else str(value) for value in values.tolist()]
    counts = Counter(text for text in texts if text is not None)
    names = sorted(counts)
    if len(names) > MOST_GROUPS:
        if max(counts.values()) == 1:  # a different value for every image: an id
            return None
        kept = sorted(names, key=lambda text: -counts[text])[: MOST_GROUPS - 1]
        rest = set(names) - set(kept)
        together = f"{len(rest):,} others"
        texts = [together if text in rest else text for text in texts]
        names = [*sorted(kept), together]
    if not names:
        return None
    index = {text: k for k, text in enumerate(names)}
    return Column(
        name, np.array([np.nan if text is None else index[text] for text in texts], dtype=np.float32), tuple(names)
    )


def table_columns(path: Path, ids: NDArray[np.str_], say: Say) -> tuple[list[Column], NDArray[np.float32] | None]:
    """The columns of a Parquet file for the images ``ids`` (N,), and its map float32 (N, 2) where it has x and y.

    Raises:
        DataError: no readable Parquet, no column that names the images, or none of these images in it.
    """
    table = read_parquet(path, f"no table at {path}.")
    key = next((name for name in ("path", "id") if name in table.column_names), None)
    if key is None:
        raise DataError(f"{path} has no column 'path' or 'id'; found: {', '.join(table.column_names)}.")
    with reading(path):
        where = {str(name): k for k, name in enumerate(table.column(key).to_pylist())}
    rows = np.array([where.get(str(name), -1) for name in ids.tolist()], dtype=np.int64)
    if (rows < 0).all():
        raise DataError(
            f"{path} is a table of other images; its first is '{next(iter(where), '')}', wanted '{ids[0]}'."
        )
    out, skipped = [], []
    for name in table.column_names:
        if name in _KNOWN:
            continue
        with reading(path):  # values without a Python type
            values = _values(table.column(name), rows)
        column = column_of(name, values)
        if column is None:
            skipped.append(name)
        else:
            out.append(column)
    if skipped:
        say(f"note: {path.name}: no colours for {', '.join(skipped)} (lists, empty, or another text for every image)")
    if "x" not in table.column_names or "y" not in table.column_names:
        return out, None
    with reading(path):
        pair = [_values(table.column(name), rows) for name in ("x", "y")]
    if any(values.dtype.kind not in "fiu" for values in pair):
        return out, None
    with np.errstate(over="ignore"):  # may overflow to infinity; such rows are left out of the map
        return out, np.stack(pair, axis=1).astype(np.float32)


def _values(column: Any, rows: NDArray[np.int64]) -> NDArray[Any]:
    """An Arrow column at ``rows`` (-1: unknown): float64 for numbers, else objects; lists and structs become unknown."""
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        numbers = np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
        return np.where(rows < 0, np.nan, numbers[np.maximum(rows, 0)])
    out = np.full(len(rows), None, dtype=object)
    if pa.types.is_nested(kind) or pa.types.is_binary(kind):
        return out
    whole = column.to_pylist()
    for k, row in enumerate(rows):
        out[k] = whole[row] if row >= 0 else None
    return out
