"""Searches by other engines, as the commands' --index names them, and the share of neighbours that they find."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import ConfigError, DataError, unknown
from nearkin.fileio import LEFT_OUT
from nearkin.search.exact import KnnSearch, Neighbors, check_search, drop_own, exact_distances, knn
from nearkin.search.faiss_index import FaissIndex
from nearkin.search.index import VectorIndex
from nearkin.search.milvus import MilvusIndex
from nearkin.search.ray_search import RaySearch
from nearkin.vectors import sample_rows

_EXACT = ("faiss", "ray")
# Milvus takes the parameters of building and of searching apart. Its documentation of indexes lists these under searching.
_OF_SEARCH = ("ef", "nprobe", "search_list", "reorder_k", "refine_k")
SAMPLE = 100  # queries that are also searched exactly


@dataclass(frozen=True)
class IndexRecall:
    """The recall@k of an index (see :func:`recall`), measured on some queries."""

    vectors: int
    metric: str
    k: int
    queries: int
    recall: float


@dataclass(frozen=True)
class SearchEngine:
    """A search engine that is open.

    Attributes:
        engine: as named by the user; "faiss" and "ray" are exact. find: the search. measured: one for each set of vectors
        that was searched.
    """

    engine: str
    find: KnnSearch = field(metadata=LEFT_OUT)
    measured: list[IndexRecall] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        """Whether the engine finds every neighbour."""
        return self.engine in _EXACT

    @property
    def how(self) -> str:
        """ "exactly", or by which engine."""
        return "exactly" if self.exact else f"by {self.engine}"

    def lines(self) -> list[str]:
        """What a command prints."""
        return [
            f"index {self.engine}: recall@{m.k} {m.recall:.4f} against exact search, on {m.queries:,} queries "
            f"among {m.vectors:,} vectors ({m.metric})"
            for m in self.measured
        ]


@contextmanager
def open_engine(engine: str = "faiss") -> Iterator[SearchEngine]:
    """Open an engine for the searches of one command.

    Args:
        engine: "faiss": exact, :func:`nearkin.search.exact.knn` itself. "ray": the same over a Ray cluster, :class:`RaySearch`.
            "faiss:KIND": :class:`FaissIndex` of that kind. "milvus": milvus-lite in a temporary file. A path ending with .db: the same, kept. http(s)://HOST:PORT: a
            Milvus server; with a kind and its parameters after blanks ("http://HOST:19530 IVF_FLAT nlist=1024 nprobe=32")
            instead of HNSW. What is kept is found again by the vectors' own digest, so it is built once.
    Raises:
        ConfigError and DataError as the engines do.
    """
    if not (engine in (*_EXACT, "milvus") or engine.startswith("faiss:") or engine.endswith(".db") or "://" in engine):
        raise unknown("index", engine, ("faiss", "faiss:KIND", "milvus", "ray", "PATH.db", "http://HOST:PORT"))
    if engine == "faiss":
        yield SearchEngine(engine, knn)
        return
    with ExitStack() as stack:
        if engine == "ray":
            yield SearchEngine(engine, RaySearch(stack))
            return
        uri = engine
        if engine == "milvus":
            uri = str(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nearkin-"))) / "index.db")
        by_index = _ByIndex(uri, stack)
        yield SearchEngine(engine, by_index, by_index.measured)


def with_kind(engine: str) -> tuple[str, dict[str, Any]]:
    """Split "ADDRESS KIND NAME=INTEGER ..." into the address and arguments of :class:`MilvusIndex`.

    Raises:
        ConfigError: a parameter that is no NAME=INTEGER.
    """
    if "://" not in engine or " " not in engine.strip():
        return engine, {}
    uri, kind, *pairs = engine.split()
    params: tuple[dict[str, Any], dict[str, Any]] = {}, {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not value.isdecimal():
            raise ConfigError(f"--index {engine}: '{pair}' is no NAME=INTEGER, e.g. IVF_FLAT nlist=1024 nprobe=32.")
        params[name in _OF_SEARCH][name] = int(value)
    return uri, {"kind": kind, "build_params": params[0], "search_params": params[1]}


class _ByIndex:
    """knn by an index of every base that is searched in; ids are row numbers."""

    def __init__(self, uri: str, stack: ExitStack) -> None:
        self._uri, self._stack = uri, stack
        self._open: dict[str, VectorIndex] = {}
        self.measured: list[IndexRecall] = []

    def __call__(
        self,
        queries: NDArray[np.float32],
        base: NDArray[np.float32],
        k: int,
        *,
        metric: str = "cosine",
        exclude_self: bool = False,
        own: NDArray[np.int64] | None = None,
    ) -> Neighbors:
        """As :func:`nearkin.search.exact.knn`; distances are computed from the arrays, whatever the engine stores."""
        own = np.arange(len(queries)) if exclude_self else own
        check_search(queries, base, k, metric, own)
        index, new = self._index_of(base, metric)
        wide = k + int(own is not None)
        ids = index.search(queries, wide).ids
        short = np.flatnonzero((ids == "").any(axis=1))
        ids[short] = "0"  # searched exactly below
        rows = ids.astype(np.int64)
        if len(short):
            rows[short] = knn(queries[short], base, wide, metric=metric).indices
        distances = exact_distances(queries, base, rows, metric).astype(np.float32)
        order = np.argsort(distances, axis=1, kind="stable")
        distances, rows = np.take_along_axis(distances, order, axis=1), np.take_along_axis(rows, order, axis=1)
        if own is not None:
            distances, rows = drop_own(distances, rows, own)
        if new and len(queries):
            self._measure(queries, base, rows, metric, own)
        return Neighbors(distances, rows)

    def _index_of(self, base: NDArray[np.float32], metric: str) -> tuple[VectorIndex, bool]:
        """The index of a base, built if it is missing or incomplete, and whether this is its first use."""
        uri, kind = with_kind(self._uri)
        digest = hashlib.blake2b(np.ascontiguousarray(base).tobytes(), digest_size=16)
        digest.update(f"{base.shape} {metric}{kind.get('kind', '')}{kind.get('build_params', '')}".encode())
        name = f"nearkin_{digest.hexdigest()}"
        if name in self._open:
            return self._open[name], False
        index: VectorIndex
        if self._uri.startswith("faiss:"):
            index = FaissIndex(metric=metric, kind=self._uri.removeprefix("faiss:"))
        else:
            index = MilvusIndex(uri, name=name, metric=metric, **kind)
        self._stack.callback(index.close)
        if len(index) != len(base):  # upsert, because another process may be filling it, or a build was cut off
            index.upsert([str(row) for row in range(len(base))], base)
        self._open[name] = index
        return index, True

    def _measure(
        self,
        queries: NDArray[np.float32],
        base: NDArray[np.float32],
        rows: NDArray[np.int64],
        metric: str,
        own: NDArray[np.int64] | None,
    ) -> None:
        pick = sample_rows(len(queries), SAMPLE)
        exact = knn(queries[pick], base, rows.shape[1], metric=metric, own=None if own is None else own[pick])
        share = recall(queries[pick], base, rows[pick], exact.indices, metric=metric)
        self.measured.append(IndexRecall(len(base), metric, int(rows.shape[1]), len(pick), share))


_TIE, _ZERO = 1e-6, 1e-9  # of the bar, and where the bar is 0


def recall(
    queries: NDArray[np.float32],
    base: NDArray[np.float32],
    found: NDArray[np.int64],
    exact: NDArray[np.int64],
    *,
    metric: str = "cosine",
) -> float:
    """recall@k: the mean share of the k rows found that are no farther than the k-th exact neighbour, in [0, 1].

    By distance and not by row, so that one of several equally far vectors counts whichever was taken: the (k, eps)-recall
    of Aumueller et al., "ANN-Benchmarks", Information Systems 2020, with eps 1e-6 for rounding.

    Args:
        queries: float32 (M, D). base: float32 (N, D). found, exact: int64 (M, k), rows of the base without repeats.
    Raises:
        DataError: other shapes.
    """
    if found.shape != exact.shape or found.ndim != 2 or len(found) != len(queries) or not found.size:
        raise DataError(
            f"recall: found {found.shape} and exact {exact.shape} must be (M, k) for {len(queries)} queries."
        )
    bar = exact_distances(queries, base, exact, metric).max(axis=1, keepdims=True)
    near = exact_distances(queries, base, found, metric) <= bar * (1 + _TIE) + _ZERO
    return float(near.mean())
