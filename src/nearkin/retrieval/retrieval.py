"""Search by example: the nearest and the farthest images of a query, exactly."""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, DataError
from nearkin.search.exact import Neighbors, Search, exact_distances, farthest, knn

DEFAULT_K = 5
_UNLABELLED_QUERIES = 10


@dataclass(frozen=True)
class Queries:
    """What to search for.

    Attributes:
        Z: float32 (M, D). ids: M names. labels: M class names, None where unknown.
        rows: int64 (M,), the row of the embeddings that a query is, -1 where it is none.
    """

    Z: NDArray[np.float32]
    ids: tuple[str, ...]
    labels: tuple[str | None, ...]
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class Hit:
    """An image found: its id, row in the embeddings, class name (None where unknown) and distance (see Retrieval)."""

    id: str
    row: int
    label: str | None
    distance: float


@dataclass(frozen=True)
class Answer:
    """One query (row None: not one of the embeddings) and what was found, ``farthest`` beginning with the farthest."""

    id: str
    row: int | None
    label: str | None
    nearest: tuple[Hit, ...]
    farthest: tuple[Hit, ...]


@dataclass(frozen=True)
class Retrieval:
    """Answers to all queries.

    Attributes:
        metric: "cosine": distances are 1 - cosine, in [0, 2]; "l2": Euclidean lengths, not squared.
        searched: number of images searched, the query itself included where it is one of them.
        notes: why distances may mean little (identical or zero vectors); usually empty.
    """

    metric: str
    k: int
    searched: int
    answers: tuple[Answer, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def search(
    embeddings: Embeddings,
    queries: Queries,
    *,
    k: int = DEFAULT_K,
    metric: str = "cosine",
    with_farthest: bool = True,
    rows: NDArray[np.int64] | None = None,
    find: Search = knn,
) -> Retrieval:
    """The k nearest and k farthest of every query; a query that is itself searched never finds itself.

    Args:
        rows: int64, ascending: search only these rows of the embeddings.
        find: what finds the nearest; the farthest are always found exactly.
    Raises:
        ConfigError: k larger than what can be found, unknown metric.
        DataError: another width, values that are not finite, fewer than 2 images.
    """
    if queries.Z.shape[1] != embeddings.Z.shape[1]:
        raise DataError(
            f"a query has {queries.Z.shape[1]} dimensions, the embeddings have {embeddings.Z.shape[1]}: they must come "
            "from the same layer of the same run."
        )
    rows = np.arange(len(embeddings)) if rows is None else rows
    base = embeddings.Z[rows]
    own = np.full(len(queries.rows), -1, dtype=np.int64)
    inside = np.isin(queries.rows, rows)
    own[inside] = np.searchsorted(rows, queries.rows[inside])
    dropped = own if inside.any() else None
    near = _exact(find(queries.Z, base, k, metric=metric, own=dropped), queries.Z, base, metric, 1)
    far = None
    if with_farthest:
        far = _exact(farthest(queries.Z, base, k, metric=metric, own=dropped), queries.Z, base, metric, -1)
    answers = tuple(
        Answer(
            queries.ids[j],
            int(queries.rows[j]) if queries.rows[j] >= 0 else None,
            queries.labels[j],
            _hits(embeddings, rows, near, j),
            () if far is None else _hits(embeddings, rows, far, j),
        )
        for j in range(len(queries.ids))
    )
    return Retrieval(metric, k, len(base), answers, _notes(base, metric))


def _exact(found: Neighbors, Z: NDArray[np.float32], base: NDArray[np.float32], metric: str, sign: int) -> Neighbors:
    """Distances in float64, so that an exact duplicate shows 0, and their order (sign -1: descending)."""
    distances = exact_distances(Z, base, found.indices, metric)
    order = np.argsort(sign * distances, axis=1, kind="stable")
    return Neighbors(
        np.take_along_axis(distances, order, axis=1).astype(np.float32),
        np.take_along_axis(found.indices, order, axis=1),
    )


def _hits(embeddings: Embeddings, rows: NDArray[np.int64], found: Neighbors, j: int) -> tuple[Hit, ...]:
    return tuple(
        Hit(str(embeddings.ids[row]), int(row), label_of(embeddings, int(row)), float(distance))
        for row, distance in zip(rows[found.indices[j]], found.distances[j], strict=True)
    )


def label_of(embeddings: Embeddings, row: int) -> str | None:
    """A row's class name, or None."""
    known = embeddings.labels is not None and embeddings.labels[row] >= 0
    return embeddings.classes[embeddings.labels[row]] if known and embeddings.labels is not None else None


def _notes(base: NDArray[np.float32], metric: str) -> tuple[str, ...]:
    notes = []
    if (base == base[0]).all():
        notes.append(f"all {len(base)} vectors are identical: the order of the neighbours means nothing")
    zero = int((~base.any(axis=1)).sum())
    if zero and metric == "cosine":
        notes.append(f"{zero} of {len(base)} vectors are zero: they have no direction, their distance is taken as 1")
    return tuple(notes)


def queries_of(embeddings: Embeddings, rows: NDArray[np.int64]) -> Queries:
    """Rows of the embeddings as queries."""
    ids = tuple(str(name) for name in embeddings.ids[rows])
    return Queries(embeddings.Z[rows], ids, tuple(label_of(embeddings, int(row)) for row in rows), rows)


def grid_rows(embeddings: Embeddings, *, seed: int = 0, rows: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """One seeded query per class, in class order; without labels 10 seeded rows. ``rows``: choose among these only."""
    rows = np.arange(len(embeddings)) if rows is None else rows
    rng = np.random.default_rng(seed)
    if embeddings.labels is None or not (embeddings.labels[rows] >= 0).any():
        return np.sort(rng.permutation(rows)[:_UNLABELLED_QUERIES])
    labels = embeddings.labels[rows]
    return np.array([rng.choice(rows[labels == c]) for c in np.unique(labels[labels >= 0])], dtype=np.int64)


def find_row(embeddings: Embeddings, text: str) -> int | None:
    """The row that ``text`` names: an id, else "row:17", else a whole number. None when it is none of these.

    Raises:
        ConfigError: a row number outside the embeddings.
    """
    matches = np.flatnonzero(embeddings.ids == text)
    if len(matches):
        return int(matches[0])
    digits = text.removeprefix("row:")
    if not (digits.isascii() and digits.isdigit()):
        return None
    if int(digits) >= len(embeddings):
        raise ConfigError(f"query '{text}': rows go from 0 to {len(embeddings) - 1}, and no image has that id.")
    return int(digits)


def no_such_query(embeddings: Embeddings, text: str) -> ConfigError:
    """The error for a query that is no id, row or file, with the closest id."""
    close = difflib.get_close_matches(text, embeddings.ids.tolist(), n=1, cutoff=0.6)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return ConfigError(
        f"query '{text}' is no id, row number or image file.{hint} Ids look like '{embeddings.ids[0]}'; rows are "
        f"row:0 to row:{len(embeddings) - 1}."
    )
