"""Milvus as the engine: a collection in a milvus-lite file or in a cluster, by the same pymilvus client.

Ids are only stored and returned: nothing that a user wrote becomes part of a filter expression.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import ConfigError, DataError, unknown
from nearkin.search.index import Hits, check_query, check_width, checked_rows

TOKEN = "MILVUS_TOKEN"
_METRICS = {"cosine": "COSINE", "l2": "L2"}
_BYTES = 8 << 20  # of vectors per call; a server takes messages of up to 64 MiB
_PER_CALL = 1000  # rows or queries per call
_ANSWERS = 200_000  # neighbours per call; a server sends at most 100 MB, ids included
_MOST = 16_384  # neighbours that Milvus returns at most
_WAIT = 10.0  # seconds until a server that does not answer is given up
_CALL = 300.0  # seconds for one call, retries included, that moves data; building an index may take hours
_open_files: Counter[str] = Counter()


class MilvusIndex:
    """A :class:`nearkin.search.index.VectorIndex` that is one Milvus collection, opened if it is there.

    Args:
        uri: a path ending with .db (milvus-lite), or http(s)://HOST:PORT of a server. The server's token is read from the
            environment variable MILVUS_TOKEN.
        name: of the collection. metric: "cosine" or "l2".
        kind: Milvus's index type, e.g. "HNSW", "FLAT", "IVF_FLAT", on a server also "DISKANN".
        build_params, search_params: of that type. Default for HNSW: M 32, efConstruction 200, ef 128 or twice the
            neighbours asked for.

    Distances are what the engine returns, made true ones; of a quantised kind (IVF_PQ, DISKANN) they are estimates.

    Raises:
        ConfigError: pymilvus is not installed, unknown metric, credentials in the URI, a collection of another metric.
        DataError: no server answers, or the engine refuses.
    """

    def __init__(
        self,
        uri: str,
        *,
        name: str = "nearkin",
        metric: str = "cosine",
        kind: str = "HNSW",
        build_params: Mapping[str, Any] | None = None,
        search_params: Mapping[str, Any] | None = None,
    ) -> None:
        if metric not in _METRICS:
            raise unknown("metric", metric, _METRICS)
        self.metric, self._name, self._kind, self._uri = metric, name, kind, uri
        hnsw = {"M": 32, "efConstruction": 200} if kind == "HNSW" else {}
        self._build = dict(hnsw if build_params is None else build_params)
        self._search = None if search_params is None else dict(search_params)
        self._width = 0
        self._local = is_file(uri)
        self._client = _connect(uri)
        if self._local:
            _open_files[str(Path(uri).resolve())] += 1
        with _told(uri):
            if self._client.has_collection(name):
                self._read()

    def __len__(self) -> int:
        if not self._width:
            return 0
        with _told(self._uri):
            counted = self._client.query(self._name, filter="", output_fields=["count(*)"], timeout=_CALL)
            return int(counted[0]["count(*)"])

    def build(self, ids: Sequence[str], Z: NDArray[np.float32]) -> None:
        """See :class:`nearkin.search.index.VectorIndex`."""
        names, vectors = checked_rows(ids, Z)
        with _told(self._uri):
            if self._client.has_collection(self._name):
                self._client.drop_collection(self._name)
            self._create(vectors.shape[1])
            self._write(names, vectors)
            self._ready()

    def upsert(self, ids: Sequence[str], Z: NDArray[np.float32]) -> None:
        """See :class:`nearkin.search.index.VectorIndex`."""
        if not self._width:
            return self.build(ids, Z)
        names, vectors = checked_rows(ids, Z)
        check_width(vectors, self._width)
        with _told(self._uri):
            self._write(names, vectors)
            if self._local:  # milvus-lite holds queries x vectors x D numbers for rows that are not flushed
                self._client.flush(self._name)

    def search(self, queries: NDArray[np.float32], k: int) -> Hits:
        """See :class:`nearkin.search.index.VectorIndex`. At most 16,384 neighbours: ConfigError."""
        check_query(queries, k, self._width)
        if k > _MOST:
            raise ConfigError(f"index: k is {k}; Milvus returns at most {_MOST} neighbours.")
        hits = Hits.none(len(queries), k)
        own = {"ef": max(128, 2 * k)} if self._kind == "HNSW" else {}
        params = {"metric_type": _METRICS[self.metric], "params": own if self._search is None else self._search}
        asked = np.ascontiguousarray(queries, dtype=np.float32)
        step = max(1, min(_PER_CALL, _BYTES // (4 * self._width), _ANSWERS // k))
        for start in range(0, len(asked), step):
            with _told(self._uri):
                answers = self._client.search(
                    self._name,
                    asked[start : start + step],
                    limit=k,
                    search_params=params,
                    timeout=_CALL,
                )
            for row, answer in enumerate(answers, start):
                hits.ids[row, : len(answer)] = [hit["id"] for hit in answer]
                hits.distances[row, : len(answer)] = [hit["distance"] for hit in answer]
        return Hits(hits.ids, self._true(hits.distances))

    def close(self) -> None:
        """Close the connection; the last one of a file also ends the engine in this process and its lock."""
        self._client.close()
        if self._local:
            place = str(Path(self._uri).resolve())
            _open_files[place] -= 1
            if not _open_files[place]:
                from milvus_lite.server_manager import server_manager_instance

                server_manager_instance.release_server(self._uri)

    def _true(self, returned: NDArray[np.float32]) -> NDArray[np.float32]:
        """Distances as Hits holds them. Milvus returns squared lengths for L2 and the cosine itself; infinity: no neighbour."""
        missing = np.isinf(returned)
        true = np.sqrt(np.maximum(returned, 0)) if self.metric == "l2" else np.clip(1 - returned, 0, 2)
        return np.where(missing, np.inf, true).astype(np.float32)

    def _create(self, width: int) -> None:
        from pymilvus import DataType

        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=65_535)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=width)
        self._client.create_collection(self._name, schema=schema, consistency_level="Strong")
        self._width = width

    def _write(self, ids: list[str], Z: NDArray[np.float32]) -> None:
        step = min(_PER_CALL, max(1, _BYTES // (4 * self._width)))
        for start in range(0, len(ids), step):
            part = slice(start, start + step)
            records = [{"id": name, "vector": vector} for name, vector in zip(ids[part], Z[part], strict=True)]
            self._client.upsert(self._name, records, timeout=_CALL)

    def _ready(self) -> None:
        """Flush, index and load, as far as not done yet."""
        self._client.flush(self._name)
        if not self._client.list_indexes(self._name, field_name="vector"):
            params = self._client.prepare_index_params()
            # Nested once more, as pymilvus 2 sent them: servers read both, milvus-lite (3.2) only this.
            nested = {"params": self._build} if self._build else {}
            params.add_index("vector", index_type=self._kind, metric_type=_METRICS[self.metric], params=nested)
            self._client.create_index(self._name, params)
        self._client.load_collection(self._name)

    def _read(self) -> None:
        """Make an existing collection ready (a build may have been cut off) and return its width."""
        fields = {field["name"]: field for field in self._client.describe_collection(self._name)["fields"]}
        if not {"id", "vector"} <= set(fields):
            raise ConfigError(
                f"index {self._uri}: collection '{self._name}' was not made by nearkin; name another one."
            )
        self._ready()
        (named,) = self._client.list_indexes(self._name, field_name="vector")
        known = self._client.describe_index(self._name, named)["metric_type"]
        if known != _METRICS[self.metric]:
            raise ConfigError(f"index {self._uri}: '{self._name}' is an index by {known}, not by {self.metric}.")
        self._width = int(fields["vector"]["params"]["dim"])


def is_file(uri: str) -> bool:
    """Whether a URI is a milvus-lite file."""
    return "://" not in uri


def _connect(uri: str) -> Any:
    if is_file(uri):
        if not uri.endswith(".db"):
            raise ConfigError(f"index {uri}: the file of milvus-lite must end with .db; a server begins with http://.")
        if not Path(uri).parent.is_dir():
            raise ConfigError(f"index {uri}: there is no folder {Path(uri).parent}.")
    else:
        parts = urlsplit(uri)
        if "@" in parts.netloc:  # the list of processes and written files would show it
            raise ConfigError(f"index: no credentials in the address of {parts.hostname}; put the token into {TOKEN}.")
        if parts.scheme not in ("http", "https") or not parts.hostname or not _port_is_legal(uri):
            raise ConfigError(f"index {uri}: a server is named as http://HOST:PORT or https://HOST:PORT.")
    try:
        from pymilvus import MilvusClient
    except ImportError as error:
        raise ConfigError("Milvus needs its client: pip install 'nearkin[milvus]'.") from error
    for name in ("pymilvus", "milvus_lite"):  # they print tracebacks on stderr above our one line
        logging.getLogger(name).addHandler(logging.NullHandler())
    with _told(uri):
        return MilvusClient(uri, token="" if is_file(uri) else os.environ.get(TOKEN, ""), timeout=_WAIT)


def _port_is_legal(uri: str) -> bool:
    try:
        return urlsplit(uri).port != 0
    except ValueError:
        return False


@contextmanager
def _told(uri: str) -> Iterator[None]:
    """Errors of the client as one line of ours. What the server refuses by a status of its transport (a wrong token, a
    call that took too long, a message that is too large) pymilvus hands on as gRPC's own error.
    """
    import grpc
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except (MilvusException, grpc.RpcError, grpc.FutureTimeoutError) as error:
        if isinstance(error, MilvusException):
            reason = str(error.message)
        elif isinstance(error, grpc.Call):
            reason = f"{error.code().name} {error.details() or ''}"
        else:
            reason = str(error) or type(error).__name__
        hint = (
            "is another process using it, or is it no folder of milvus-lite?"
            if is_file(uri)
            else f"is the server up, and the token in {TOKEN}?"
        )
        raise DataError(f"index {uri}: {' '.join(reason.split())[:300]} ({hint})") from error
