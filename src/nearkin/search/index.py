"""The interface of an index of vectors, and the checks before anything is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import ConfigError, DataError
from nearkin.vectors import check_finite

_LONGEST = 65_535  # bytes of a Milvus VARCHAR; the same everywhere, so that the engine can be changed later


@dataclass(frozen=True)
class Hits:
    """The k nearest of M queries, nearest first.

    Attributes:
        ids: str (M, k), "" where fewer than k vectors were found.
        distances: float32 (M, k), infinite there. "l2": true lengths, not squared; "cosine": 1 - cosine, in [0, 2].
    """

    ids: NDArray[np.object_]
    distances: NDArray[np.float32]

    @classmethod
    def none(cls, m: int, k: int) -> Hits:
        """Empty hits (m, k), to be filled."""
        ids: NDArray[Any] = np.full((m, k), "", dtype=object)
        return cls(ids, np.full((m, k), np.inf, dtype=np.float32))


class VectorIndex(Protocol):
    """Vectors by id. Errors of the engine become DataError."""

    metric: str

    def __len__(self) -> int:
        """Number of vectors."""

    def build(self, ids: Sequence[str], Z: NDArray[np.float32]) -> None:
        """Replace everything by the vectors Z (N, D), N >= 1.

        Args:
            ids: N different texts, not empty.
        Raises:
            DataError: numbers that differ, repeated or unusable ids, values that are not finite.
        """

    def upsert(self, ids: Sequence[str], Z: NDArray[np.float32]) -> None:
        """Replace the vectors that have these ids, add the others. Arguments and errors as in :meth:`build`.

        Raises:
            DataError: another width D.
        """

    def search(self, queries: NDArray[np.float32], k: int) -> Hits:
        """The k nearest of each query (M, D).

        Raises:
            ConfigError: k below 1. DataError: another width, values that are not finite, empty index.
        """

    def close(self) -> None:
        """Close files and connections."""


def checked_rows(ids: Sequence[str], Z: NDArray[np.float32]) -> tuple[list[str], NDArray[np.float32]]:
    """N ids and vectors float32 (N, D), contiguous. Raises DataError for what no engine could store faithfully."""
    names = [str(name) for name in ids]
    if Z.ndim != 2 or not Z.size or len(Z) != len(names):
        raise DataError(f"index: vectors {Z.shape} need as many ids; there are {len(names)} ids.")
    if len(set(names)) < len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise DataError(f"index: id {twice!r} stands there twice; ids must be different.")
    check_finite(Z, "index: the vectors", "leave those rows out")
    for name in names:
        try:
            size = len(name.encode("utf-8"))
        except UnicodeEncodeError as error:
            raise DataError(f"index: id {name!r} is not Unicode; rename the file.") from error
        if size > _LONGEST:
            raise DataError(f"index: id {name[:40]!r}... has {size} bytes; at most {_LONGEST} can be stored.")
    if "" in names:
        raise DataError("index: an id is empty; every vector needs one.")
    return names, np.ascontiguousarray(Z, dtype=np.float32)


def check_width(Z: NDArray[np.float32], width: int) -> None:
    """Raises DataError where vectors to be added are not as wide as those of the index."""
    if Z.shape[1] != width:
        raise DataError(f"index: the new vectors have {Z.shape[1]} dimensions, the others {width}.")


def check_query(queries: NDArray[np.float32], k: int, width: int) -> None:
    """Raises ConfigError for k, DataError for vectors that do not fit, or where nothing can be found (width 0)."""
    if not width:
        raise DataError("index: it is empty; build it first.")
    if k < 1:
        raise ConfigError(f"index: k is {k}; at least one neighbour must be asked for.")
    if queries.ndim != 2 or queries.shape[1] != width:
        raise DataError(f"index: queries {queries.shape} must be (M, {width}), as the vectors in the index.")
    check_finite(queries, "index: the queries", "leave those rows out")
