"""What only Milvus needs: addresses, tokens, limits of a call, several collections in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from nearkin.errors import ConfigError, DataError
from nearkin.search.milvus import MilvusIndex


def test_addresses_that_are_refused(tmp_path: Path) -> None:
    for uri, message in (
        (str(tmp_path / "index"), "must end with .db"),
        (str(tmp_path / "no" / "index.db"), "no folder"),
        ("ftp://somewhere:1", "HOST:PORT"),
        ("http://root:secret@somewhere:19530", "MILVUS_TOKEN"),
        ("http://root:secret@somewhere:port", "MILVUS_TOKEN"),
        ("http://somewhere:port", "HOST:PORT"),
        ("https://somewhere:99999", "HOST:PORT"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            MilvusIndex(uri)
        assert "secret" not in str(caught.value)
    with pytest.raises(ConfigError, match="Did you mean 'cosine'"):
        MilvusIndex(str(tmp_path / "i.db"), metric="cosin")


def test_a_server_gets_the_token_of_the_environment_and_a_file_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, dict[str, Any]]] = []

    class Client:
        def __init__(self, uri: str, **options: Any) -> None:
            seen.append((uri, options))

        def has_collection(self, name: str) -> bool:
            return False

    monkeypatch.setattr("pymilvus.MilvusClient", Client)
    monkeypatch.setenv("MILVUS_TOKEN", "root:secret")
    MilvusIndex("https://somewhere:19530")
    MilvusIndex(str(tmp_path / "i.db"))
    assert [(uri.split("/")[-1], options["token"]) for uri, options in seen] == [
        ("somewhere:19530", "root:secret"),
        ("i.db", ""),
    ]


def test_errors_of_the_client_are_one_line_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    from pymilvus.exceptions import MilvusException

    def down(*_: Any, **__: Any) -> None:
        raise MilvusException(message="connection\nrefused")

    monkeypatch.setattr("pymilvus.MilvusClient", down)
    with pytest.raises(DataError, match="connection refused.*is the server up") as caught:
        MilvusIndex("http://somewhere:19530")
    assert "\n" not in str(caught.value)


class Refusal(grpc.RpcError, grpc.Call):  # type: ignore[misc]
    """What gRPC raises for a status that a server sends."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details


Refusal.__abstractmethods__ = frozenset()  # of gRPC's interface two methods are used


class Server:
    """A client of a server that holds an index of 2 x 4000 numbers; every call is noted, and may be refused."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.sizes, self.limits = error, list[int](), list[float]()

    def has_collection(self, name: str) -> bool:
        return True

    def describe_collection(self, name: str) -> dict[str, Any]:
        return {"fields": [{"name": "id"}, {"name": "vector", "params": {"dim": "4000"}}]}

    def flush(self, name: str) -> None:
        pass

    def load_collection(self, name: str) -> None:
        pass

    def list_indexes(self, name: str, field_name: str) -> list[str]:
        return ["_default_idx_101"]  # as servers before 2.3 name it

    def describe_index(self, name: str, index: str) -> dict[str, str]:
        assert index == "_default_idx_101"
        return {"metric_type": "L2"}

    def search(
        self, name: str, data: np.ndarray, *, limit: int, timeout: float, **_: Any
    ) -> list[list[dict[str, Any]]]:
        if self.error is not None:
            raise self.error
        self.sizes.append(len(data))
        self.limits.append(timeout)
        return [[{"id": str(int(row[0])), "distance": row[0] ** 2}] for row in data]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Refusal(grpc.StatusCode.UNAUTHENTICATED, "auth check\nfailure"), "UNAUTHENTICATED auth check failure"),
        (Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"), "DEADLINE_EXCEEDED"),
        (grpc.FutureTimeoutError(), "FutureTimeoutError"),
    ],
)
def test_what_the_transport_refuses_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    monkeypatch.setattr("pymilvus.MilvusClient", lambda *_, **__: Server(error))
    index = MilvusIndex("http://somewhere:19530", metric="l2")
    with pytest.raises(DataError, match=f"{message}.*is the server up, and the token in MILVUS_TOKEN") as caught:
        index.search(np.zeros((1, 4000), np.float32), 1)
    assert "\n" not in str(caught.value)

    def refused(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("pymilvus.MilvusClient", refused)
    with pytest.raises(DataError, match=message):
        MilvusIndex("http://somewhere:19530")


def test_no_call_asks_a_server_for_more_than_it_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    monkeypatch.setattr("pymilvus.MilvusClient", lambda *_, **__: server)
    index = MilvusIndex("http://somewhere:19530", metric="l2")
    queries = np.zeros((700, 4000), np.float32)
    queries[:, 0] = np.arange(700)
    found = index.search(queries, 1)
    assert found.ids[:, 0].tolist() == [str(k) for k in range(700)]
    assert found.distances[:, 0].tolist() == pytest.approx(list(range(700)))
    assert sum(server.sizes) == 700 and max(server.sizes) * 4000 * 4 <= 64 << 20  # the most that a server takes
    assert all(limit > 0 for limit in server.limits)
    server.sizes.clear()
    index.search(queries[:100], 16_384)
    assert sum(server.sizes) == 100 and max(server.sizes) * 16_384 * 20 <= 100_000_000  # bytes of ids and distances


def test_a_file_that_is_none_of_milvus_lite(tmp_path: Path) -> None:
    (tmp_path / "i.db").write_text("something else")
    with pytest.raises(DataError, match="no folder of milvus-lite"):
        MilvusIndex(str(tmp_path / "i.db"))
    assert (tmp_path / "i.db").read_text() == "something else"


def test_a_server_by_its_address_does_what_the_file_does(tmp_path: Path) -> None:
    from milvus_lite.adapter.grpc.server import start_server_in_thread
    from pymilvus import MilvusClient

    from nearkin.search.engines import open_engine
    from nearkin.search.exact import knn

    Z = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    server, engine, port = start_server_in_thread(data_dir=str(tmp_path / "data"), host="127.0.0.1", port=0)
    try:
        address = f"http://127.0.0.1:{port}"
        index = MilvusIndex(address, metric="l2")
        index.build([str(i) for i in range(60)], Z)
        index.upsert(["0"], Z[1:2] + 1)
        moved = Z.copy()
        moved[0] = Z[1] + 1
        expected = knn(Z[:9], moved, 4, metric="l2").indices.astype(str)
        assert len(index) == 60 and index.search(Z[:9], 4).ids.tolist() == expected.tolist()
        index.close()
        for _ in range(2):  # built, then found again
            with open_engine(address) as found:
                assert np.array_equal(found.find(Z[:9], Z, 4).indices, knn(Z[:9], Z, 4).indices)
        shares = []
        for probed in (1, 2):
            with open_engine(f"{address} IVF_FLAT nlist=2 nprobe={probed}") as found:
                found.find(Z, Z, 12)
            shares.append(found.measured[0].recall)
        assert 0.3 < shares[0] < 0.99 and shares[1] == 1
        assert len(MilvusClient(address).list_collections()) == 3  # both searches share the one that was built
    finally:
        server.stop(grace=0)
        engine.close()


def test_indexes_in_one_file_are_apart_and_the_file_closes_with_the_last(tmp_path: Path) -> None:
    from milvus_lite.server_manager import server_manager_instance

    uri, Z = str(tmp_path / "i.db"), np.eye(4, dtype=np.float32)
    a, b = MilvusIndex(uri, name="a"), MilvusIndex(uri, name="b", metric="l2")
    a.build(["1", "2"], Z[:2])
    b.build(["3", "4", "5"], Z[:3])
    a.close()
    assert len(b) == 3 and b.search(Z[:1], 2).distances[0, 1] == pytest.approx(np.sqrt(2))
    b.close()
    assert str(tmp_path / "i.db") not in server_manager_instance._servers
    again = MilvusIndex(uri, name="a")
    assert len(again) == 2 and set(again.search(Z[:1], 2).ids[0]) == {"1", "2"}
    with pytest.raises(ConfigError, match="at most 16384"):
        again.search(Z[:1], 20_000)
    again.close()
