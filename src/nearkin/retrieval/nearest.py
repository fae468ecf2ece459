"""Search by example: the nearest and the farthest images of a query, as numbers, as text and as pictures."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.console import Console

from nearkin.data.sources import images_of
from nearkin.embeddings import Embeddings, as_embeddings
from nearkin.embeddings.table import neighbors_column, on_rows
from nearkin.errors import ConfigError, DataError
from nearkin.report.sheet import Row, Section, Thumbnail, write_sheet
from nearkin.retrieval.hubs import K, occurrence
from nearkin.search.exact import KnnSearch, Neighbors, exact_distances, farthest, knn
from nearkin.vectors import all_equal, sample_rows, zero_rows

DEFAULT_K = 5
_UNLABELLED_QUERIES = 10
METRIC_NAMES = {"cosine": "1 - cosine", "l2": "L2"}


@dataclass(frozen=True)
class Queries:
    """The queries of a search.

    Attributes:
        Z: float32 (M, D). ids: M names. labels: M class names, None where unknown.
        rows: int64 (M,), the row of the embeddings that a query is, -1 where it is none.
        images: uint8 (3, S, S) by id, of the queries that are files.
        skipped: files of a folder that could not be read, each with the reason.
    """

    Z: NDArray[np.float32]
    ids: tuple[str, ...]
    labels: tuple[str | None, ...]
    rows: NDArray[np.int64]
    images: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class RankedImage:
    """One place of a result: an image's id, row in the embeddings, class name (None: unknown) and distance to the query."""

    id: str
    row: int
    label: str | None
    distance: float


@dataclass(frozen=True)
class QueryResult:
    """The result of one query. row: None where it is none of the embeddings. farthest: begins with the farthest."""

    id: str
    row: int | None
    label: str | None
    nearest: tuple[RankedImage, ...]
    farthest: tuple[RankedImage, ...]


@dataclass(frozen=True)
class Retrieval:
    """The results of all queries.

    Attributes:
        metric: "cosine": distances are 1 - cosine, in [0, 2]; "l2": Euclidean lengths, not squared.
        k: how many nearest (and farthest) images each query has.
        searched: number of images searched, the query itself included where it is one of them.
        answers: one per query, in their order.
        notes: why distances may mean little (identical or zero vectors); usually empty.
    """

    metric: str
    k: int
    searched: int
    answers: tuple[QueryResult, ...]
    notes: tuple[str, ...] = ()

    @property
    def indices(self) -> NDArray[np.int64]:
        """Rows of the nearest images, int64 (M, k)."""
        rows = [[image.row for image in answer.nearest] for answer in self.answers]
        return np.array(rows, dtype=np.int64).reshape(len(self.answers), self.k)

    @property
    def distances(self) -> NDArray[np.float32]:
        """Distances of the nearest images, float32 (M, k), ascending."""
        lengths = [[image.distance for image in answer.nearest] for answer in self.answers]
        return np.array(lengths, dtype=np.float32).reshape(len(self.answers), self.k)


def nearest(
    embeddings: Embeddings | NDArray[Any],
    queries: Queries | Embeddings | NDArray[Any] | str | int | Sequence[str | int] | None = None,
    *,
    n_neighbors: int = DEFAULT_K,
    metric: str = "cosine",
    with_farthest: bool = False,
    rows: NDArray[np.int64] | None = None,
    random_state: int = 0,
    search: KnnSearch = knn,
) -> Retrieval:
    """The nearest images of every query, by exact search.

    A query that is given by its id or row never finds itself. One that is given as a vector finds every image, its own too.

    Args:
        embeddings: N vectors to search, as Embeddings or as an array (N, D).
        queries: an id ("row:17" names a row, too) or a row number, or several of them; or vectors (M, D) of the same
            embedding, as an array or as Embeddings. Default: one seeded query per class, or 10 rows without labels.
        n_neighbors: how many images to find, at most N, or N - 1 where a query is one of the N.
        metric: "cosine" or "l2", see :class:`Retrieval`.
        with_farthest: also find as many farthest images.
        rows: int64, ascending: search only these rows of the embeddings.
        random_state: seed of the choice of default queries.
        search: what finds the nearest; the farthest are always found exactly.
    Raises:
        ConfigError: ``n_neighbors`` out of range, an unknown metric, an id or row that is not there.
        DataError: queries of another width, values that are not finite, fewer than 2 images.
    """
    embeddings = as_embeddings(embeddings)
    rows = np.arange(len(embeddings)) if rows is None else rows
    asked = as_queries(embeddings, queries, rows=rows, seed=random_state)
    if asked.Z.shape[1] != embeddings.Z.shape[1]:
        raise DataError(
            f"a query has {asked.Z.shape[1]} dimensions, the embeddings have {embeddings.Z.shape[1]}: they must come "
            "from the same layer of the same run."
        )
    base = embeddings.Z[rows]
    own = np.full(len(asked.rows), -1, dtype=np.int64)
    inside = np.isin(asked.rows, rows)
    own[inside] = np.searchsorted(rows, asked.rows[inside])
    dropped = own if inside.any() else None
    near = _exact(search(asked.Z, base, n_neighbors, metric=metric, own=dropped), asked.Z, base, metric, 1)
    far = None
    if with_farthest:
        far = _exact(farthest(asked.Z, base, n_neighbors, metric=metric, own=dropped), asked.Z, base, metric, -1)
    labels = embeddings.names()

    def ranked(neighbors: Neighbors, query: int) -> tuple[RankedImage, ...]:
        return tuple(
            RankedImage(str(embeddings.ids[row]), int(row), labels[row], float(distance))
            for row, distance in zip(rows[neighbors.indices[query]], neighbors.distances[query], strict=True)
        )

    answers = tuple(
        QueryResult(
            asked.ids[j],
            int(asked.rows[j]) if asked.rows[j] >= 0 else None,
            asked.labels[j],
            ranked(near, j),
            () if far is None else ranked(far, j),
        )
        for j in range(len(asked.ids))
    )
    return Retrieval(metric, n_neighbors, len(base), answers, _notes(base, metric))


def _exact(
    neighbors: Neighbors, Z: NDArray[np.float32], base: NDArray[np.float32], metric: str, sign: int
) -> Neighbors:
    """Distances in float64, so that an exact duplicate shows 0, and their order (sign -1: descending)."""
    distances = exact_distances(Z, base, neighbors.indices, metric)
    order = np.argsort(sign * distances, axis=1, kind="stable")
    return Neighbors(
        np.take_along_axis(distances, order, axis=1).astype(np.float32),
        np.take_along_axis(neighbors.indices, order, axis=1),
    )


def _notes(base: NDArray[np.float32], metric: str) -> tuple[str, ...]:
    notes = []
    if all_equal(base):
        notes.append(f"all {len(base)} vectors are identical: the order of the neighbours means nothing")
    zero = int(zero_rows(base).sum())
    if zero and metric == "cosine":
        notes.append(f"{zero} of {len(base)} vectors are zero: they have no direction, their distance is taken as 1")
    return tuple(notes)


def as_queries(
    embeddings: Embeddings,
    queries: Queries | Embeddings | NDArray[Any] | str | int | Sequence[str | int] | None,
    *,
    rows: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> Queries:
    """Everything that :func:`nearest` takes as queries, as :class:`Queries`. ``rows``: choose default queries among these.

    Raises:
        ConfigError: an id or row that is not there.
    """
    if isinstance(queries, Queries):
        return queries
    if queries is None:
        return queries_of(embeddings, class_examples(embeddings, seed=seed, rows=rows))
    if isinstance(queries, Embeddings) or (isinstance(queries, np.ndarray) and queries.ndim == 2):
        others = as_embeddings(queries)
        return Queries(others.Z, tuple(others.ids.tolist()), tuple(others.names()), np.full(len(others), -1))
    named = [queries] if isinstance(queries, str | int | np.integer) else list(queries)
    rows_of_text = {text: find_row(embeddings, text) for text in named if isinstance(text, str)}
    row_numbers = []
    for query in named:
        row = rows_of_text[query] if isinstance(query, str) else int(query)
        if row is None:
            raise _no_such_query(embeddings, str(query))
        if not 0 <= row < len(embeddings):
            raise ConfigError(f"query {row}: rows go from 0 to {len(embeddings) - 1}.")
        row_numbers.append(row)
    return queries_of(embeddings, np.array(row_numbers, dtype=np.int64))


def queries_of(embeddings: Embeddings, rows: NDArray[np.int64]) -> Queries:
    """Rows of the embeddings as queries."""
    part = embeddings.take(rows)
    return Queries(part.Z, tuple(part.ids.tolist()), tuple(part.names()), rows)


def class_examples(
    embeddings: Embeddings, *, seed: int = 0, rows: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """One seeded row per class, in class order; without labels 10 seeded rows. ``rows``: choose among these only."""
    rows = np.arange(len(embeddings)) if rows is None else rows
    rng = np.random.default_rng(seed)
    if embeddings.labels is None or not (embeddings.labels[rows] >= 0).any():
        return sample_rows(rows, _UNLABELLED_QUERIES, rng)
    labels = embeddings.labels[rows]
    return np.array([rng.choice(rows[labels == c]) for c in np.unique(labels[labels >= 0])], dtype=np.int64)


def find_row(embeddings: Embeddings, text: str) -> int | None:
    """The row that ``text`` names: an id, else "row:17", else a whole number. None for other text.

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


def _no_such_query(embeddings: Embeddings, text: str) -> ConfigError:
    """The error for a query that is no id, row or file, with the closest id."""
    close = difflib.get_close_matches(text, embeddings.ids.tolist(), n=1, cutoff=0.6)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return ConfigError(
        f"query '{text}' is no id, row number or image file.{hint} Ids look like '{embeddings.ids[0]}'; rows are "
        f"row:0 to row:{len(embeddings) - 1}."
    )


def named_queries(
    embeddings: Embeddings, texts: Sequence[str], *, run: Path | None, layer: str | None = None, device: str = "auto"
) -> Queries:
    """Queries by name: ids and rows of the embeddings first, then image files and folders of images.

    Args:
        run: the folder of the run that made the embeddings; it embeds the files. layer: its layer for files.
    Raises:
        ConfigError: a name that is nothing of these, files without a run, or another run than that of the embeddings.
        DataError: an unreadable file, or vectors of another width than the embeddings.
    """
    rows = {text: find_row(embeddings, text) for text in texts}
    for text, row in rows.items():
        if row is None and not Path(text).exists():
            raise _no_such_query(embeddings, text)
    named = queries_of(embeddings, np.array([row for text in texts if (row := rows[text]) is not None], dtype=np.int64))
    paths = [Path(text) for text in texts if rows[text] is None]
    if not paths:
        return named
    if run is None:
        raise ConfigError(
            f"{paths[0]} is no id or row; to embed its images give --run FOLDER, the run that made the embeddings."
        )
    from nearkin.runs.embed import embed_files  # imports torch, which other queries do not need

    files = embed_files(run, paths, layer=layer, device=device, like=embeddings.provenance)
    if files.Z.shape[1] != embeddings.Z.shape[1]:
        raise DataError(
            f"--run {run}, layer {files.layer}, gives {files.Z.shape[1]} dimensions; the embeddings have "
            f"{embeddings.Z.shape[1]}. Give the run that made them, or another --layer."
        )
    n = len(files.names)
    return Queries(
        np.concatenate([named.Z, files.Z]),
        named.ids + files.names,
        named.labels + (None,) * n,
        np.concatenate([named.rows, np.full(n, -1)]),
        dict(zip(files.names, files.images, strict=True)),
        tuple(f"{item.path}: {item.reason}" for item in files.skipped),
    )


def neighbor_columns(
    embeddings: Embeddings, rows: NDArray[np.int64], *, k: int, metric: str, search: KnnSearch = knn
) -> dict[str, pa.Array]:
    """Columns of the one table per embedding: "neighbors", the k nearest of each of ``rows`` among these, and "hubness".

    Hubness is the number of lists of 10 nearest that an image stands in. Other rows get empty lists and null.
    """
    base = embeddings.Z[rows]
    neighbors = search(base, base, max(k, min(K, len(rows) - 1)), metric=metric, exclude_self=True)
    counts = occurrence(neighbors.first(K).indices, len(rows))
    return {
        "neighbors": neighbors_column(neighbors.first(k), rows, len(embeddings)),
        "hubness": on_rows(counts, rows, len(embeddings)),
    }


def print_retrieval(retrieval: Retrieval, how: str = "exactly") -> None:
    """Every query and its results. how: the words for how the images were searched."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(f"{retrieval.searched:,} images searched {how}, distances {METRIC_NAMES[retrieval.metric]}")
    for note in retrieval.notes:
        console.print(f"note: {note}")
    for answer in retrieval.answers:
        console.print(answer.id if answer.label is None else f"{answer.id} ({answer.label})")
        for kind, images in (("nearest", answer.nearest), ("farthest", answer.farthest)):
            for image in images:
                console.print(f"  {kind:9s}{image.distance:10.4g}  {image.label or '-':12s} {image.id}")


def retrieval_sheet(
    path: Path,
    title: str,
    retrieval: Retrieval,
    queries: Queries,
    source: str,
    size: int | None,
    how: str = "exactly",
    read: Any = None,
) -> None:
    """Write a picture sheet: per query a row of the nearest and one of the farthest images.

    Args:
        source: the data set that the embeddings were made of, a name or a path. size: the side of its pictures in pixels. read: how
            they were read, as of :func:`nearkin.data.sources.images_of`.
    Raises:
        DataError: images that are not in ``source``.
    """
    images = [image for answer in retrieval.answers for image in (*answer.nearest, *answer.farthest)]
    wanted = {image.id for image in images} | {answer.id for answer in retrieval.answers if answer.row is not None}
    looked_up = images_of(np.array(sorted(wanted)), source, size=size, read=read)
    pictures = dict(zip(looked_up.ids.tolist(), looked_up.images, strict=True))
    rows = []
    for answer in retrieval.answers:
        query = queries.images[answer.id] if answer.row is None else pictures[answer.id]
        first = Thumbnail(query, "query", answer.id, mark=True)
        name = answer.label or answer.id.rsplit("/", 1)[-1]
        for kind, places in (("nearest", answer.nearest), ("farthest", answer.farthest)):
            if places:
                rows.append(Row(name, [first, *_cells(places, pictures)], kind))
    text = f"{retrieval.searched:,} images searched {how}; below each its class and distance ({METRIC_NAMES[retrieval.metric]})."
    write_sheet(path, title, [Section("Nearest and farthest", rows, " ".join([text, *retrieval.notes]))])


def _cells(images: Sequence[RankedImage], pictures: Mapping[str, NDArray[np.uint8]]) -> list[Thumbnail]:
    return [Thumbnail(pictures[i.id], f"{i.label or ''} {i.distance:.3g}".strip(), i.id) for i in images]
