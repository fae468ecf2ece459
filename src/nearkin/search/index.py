"""What an index of vectors can do, and what it refuses before anything is stored."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import ConfigError, DataError

Metadata = Mapping[str, Sequence[str]]
Where = Mapping[str, str | Collection[str]]
_LONGEST = 65_535  # bytes of a Milvus VARCHAR; the same everywhere, so that the engine can be changed later
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_TAKEN = ("id", "embedding")


@dataclass(frozen=True)
class Hits:
    """The k nearest of M queries, nearest first.

    Attributes:
        ids: str (M, k), "" where fewer than k vectors match the filter.
        distances: float32 (M, k), infinite there. "l2": true lengths, not squared; "cosine": 1 - cosine, in [0, 2].
    """

    ids: NDArray[np.object_]
    distances: NDArray[np.float32]


class VectorIndex(Protocol):
    """Vectors by id, with text columns beside them. Errors of the engine become DataError."""

    metric: str

    def __len__(self) -> int:
        """Number of vectors."""

    def build(self, ids: Sequence[str], Z: NDArray[np.float32], metadata: Metadata | None = None) -> None:
        """Replace everything by the vectors Z (N, D), N >= 1.

        Args:
            ids: N different texts, not empty. metadata: column name -> N texts; the columns are fixed by this.
        Raises:
            DataError: numbers that differ, repeated or unusable ids, values that are not finite.
            ConfigError: a column name that is no identifier.
        """

    def upsert(self, ids: Sequence[str], Z: NDArray[np.float32], metadata: Metadata | None = None) -> None:
        """Replace the vectors that have these ids, add the others. Arguments and errors as in :meth:`build`.

        Raises:
            ConfigError: other columns than the index has. DataError: another width D.
        """

    def delete(self, ids: Sequence[str]) -> None:
        """Remove vectors. Ids that are not there are ignored."""

    def search(self, queries: NDArray[np.float32], k: int, where: Where | None = None) -> Hits:
        """The k nearest of each query (M, D).

        Args:
            where: column -> text or texts: only vectors whose columns all have one of these values.
        Raises:
            ConfigError: k below 1, unknown column. DataError: another width, values that are not finite, empty index.
        """

    def save(self) -> None:
        """Make everything durable where the index was opened."""

    def close(self) -> None:
        """Let go of files and connections; what was saved stays."""


@dataclass(frozen=True)
class Rows:
    """Checked input: N ids, Z float32 (N, D) contiguous, columns of N texts."""

    ids: list[str]
    Z: NDArray[np.float32]
    columns: dict[str, list[str]]


def check_rows(ids: Sequence[str], Z: NDArray[np.float32], metadata: Metadata | None) -> Rows:
    """Refuse what no engine could store faithfully. Raises DataError and ConfigError."""
    names = [str(name) for name in ids]
    columns = {name: [str(value) for value in values] for name, values in (metadata or {}).items()}
    if Z.ndim != 2 or not Z.size or len(Z) != len(names) or any(len(values) != len(Z) for values in columns.values()):
        raise DataError(
            f"index: vectors {Z.shape} need as many ids and metadata values; there are {len(names)} ids"
            + "".join(f", {len(values)} of '{name}'" for name, values in columns.items())
            + "."
        )
    if len(set(names)) < len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise DataError(f"index: id {twice!r} stands there twice; ids must be different.")
    if not np.isfinite(Z).all():
        raise DataError("index: the vectors hold values that are not finite; leave those rows out.")
    for name in columns:
        if not _NAME.fullmatch(name) or name in _TAKEN:
            raise ConfigError(
                f"index: '{name}' cannot name a column; use up to 100 letters, digits and _, not {' or '.join(_TAKEN)}."
            )
    for kind, values in (("id", names), *columns.items()):
        _check_texts(kind, values)
    if "" in names:
        raise DataError("index: an id is empty; every vector needs one.")
    return Rows(names, np.ascontiguousarray(Z, dtype=np.float32), columns)


def _check_texts(kind: str, values: Iterable[str]) -> None:
    for value in values:
        try:
            size = len(value.encode("utf-8"))
        except UnicodeEncodeError as error:
            raise DataError(f"index: {kind} {value!r} is not Unicode; rename the file.") from error
        if size > _LONGEST:
            raise DataError(f"index: {kind} {value[:40]!r}... has {size} bytes; at most {_LONGEST} can be stored.")


def check_same_columns(given: Iterable[str], columns: Iterable[str]) -> None:
    """Raises ConfigError when an upsert brings other columns than the index has."""
    if set(given) != set(columns):
        raise ConfigError(
            f"index: it has the columns {sorted(columns) or 'none'}, the new vectors have {sorted(given) or 'none'}."
        )


def check_query(queries: NDArray[np.float32], k: int, where: Where | None, width: int, columns: Iterable[str]) -> None:
    """Raises ConfigError for k or a column, DataError for vectors that do not fit."""
    if k < 1:
        raise ConfigError(f"index: k is {k}; at least one neighbour must be asked for.")
    if queries.ndim != 2 or queries.shape[1] != width:
        raise DataError(f"index: queries {queries.shape} must be (M, {width}), as the vectors in the index.")
    if not np.isfinite(queries).all():
        raise DataError("index: the queries hold values that are not finite.")
    for name in where or {}:
        if name not in columns:
            raise ConfigError(f"index: no column '{name}' to filter by; there are: {', '.join(columns) or 'none'}.")


def wanted(where: Where | None) -> dict[str, list[str]]:
    """A filter with lists of texts."""
    return {name: [given] if isinstance(given, str) else sorted(given) for name, given in (where or {}).items()}


def no_hits(m: int, k: int) -> Hits:
    """Hits (m, k) of nothing, to be filled."""
    ids: NDArray[Any] = np.full((m, k), "", dtype=object)
    return Hits(ids, np.full((m, k), np.inf, dtype=np.float32))
