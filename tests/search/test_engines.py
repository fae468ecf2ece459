"""The function that --index puts in knn's place, and recall."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nearkin.errors import ConfigError, DataError
from nearkin.fileio import to_json
from nearkin.search.engines import open_engine, recall, with_kind
from nearkin.search.exact import knn
from nearkin.search.milvus import MilvusIndex

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(300, 8)).astype(np.float32)
Q = RNG.normal(size=(20, 8)).astype(np.float32)


def test_faiss_is_knn_itself() -> None:
    with open_engine() as engine:
        assert engine.find is knn and engine.exact and engine.lines() == [] and engine.how == "exactly"


@pytest.mark.parametrize("engine", ["faiss:HNSW32 efSearch=300", "milvus"])
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_engines_find_what_knn_finds(engine: str, metric: str) -> None:
    own = np.array([5, -1, 7])
    with open_engine(engine) as found:
        for exact, mine in (
            (knn(Q, Z, 7, metric=metric), found.find(Q, Z, 7, metric=metric)),
            (knn(Z, Z, 4, metric=metric, exclude_self=True), found.find(Z, Z, 4, metric=metric, exclude_self=True)),
            (knn(Z[[5, 5, 7]], Z, 3, metric=metric, own=own), found.find(Z[[5, 5, 7]], Z, 3, metric=metric, own=own)),
        ):
            assert np.array_equal(exact.indices, mine.indices) and mine.indices.dtype == np.int64
            assert np.allclose(exact.distances, mine.distances, atol=1e-4) and mine.distances.dtype == np.float32
        assert to_json(found) == {
            "engine": engine,
            "measured": [{"vectors": 300, "metric": metric, "k": 7, "queries": 20, "recall": 1.0}],
        }
        assert f"index {engine}: recall@7 1.0000" in found.lines()[0]


def test_a_poor_index_says_so_and_still_answers_in_full() -> None:
    with open_engine("faiss:IVF32,Flat nprobe=1") as engine:
        found = engine.find(Z, Z, 60, exclude_self=True)
    assert (
        found.indices.shape == (300, 60) and (found.indices >= 0).all()
    )  # lists that are too short are searched exactly
    with open_engine("faiss:IVF32,Flat nprobe=1") as engine:
        found = engine.find(Q, Z, 3)
    exact = knn(Q, Z, 3)
    share = np.mean([len(set(a) & set(b)) / 3 for a, b in zip(found.indices, exact.indices, strict=True)])
    assert engine.measured[0].recall == pytest.approx(share) and share < 0.9


def test_a_kept_file_is_built_once_and_a_cut_off_build_is_completed(tmp_path: Path) -> None:
    place = str(tmp_path / "kept.db")
    with open_engine(place) as engine:
        engine.find(Q, Z, 3, metric="l2")
    with open_engine(place) as engine:
        assert np.array_equal(engine.find(Q, Z, 3, metric="l2").indices, knn(Q, Z, 3, metric="l2").indices)
    from pymilvus import MilvusClient

    client = MilvusClient(place)
    (name,) = client.list_collections()
    client.close()
    partial = MilvusIndex(place, name=name, metric="l2")
    partial.build([str(i) for i in range(100, 300)], Z[100:])
    assert len(partial) == 200
    partial.close()
    with open_engine(place) as engine:
        assert np.array_equal(engine.find(Q, Z, 3, metric="l2").indices, knn(Q, Z, 3, metric="l2").indices)
        assert engine.measured[0].recall == 1


def test_kinds_of_a_server() -> None:
    assert with_kind("http://host:1") == ("http://host:1", {}) and with_kind("a b.db") == ("a b.db", {})
    assert with_kind("https://host:1 DISKANN search_list=50") == (
        "https://host:1",
        {"kind": "DISKANN", "build_params": {}, "search_params": {"search_list": 50}},
    )
    found = with_kind("http://host:1 IVF_PQ nlist=64 m=8 nprobe=4")[1]
    assert found["build_params"] == {"nlist": 64, "m": 8} and found["search_params"] == {"nprobe": 4}
    for text in ("IVF_FLAT nlist", "IVF_FLAT nlist=many", "IVF_FLAT =3,"):
        with pytest.raises(ConfigError, match="is no NAME=INTEGER"):
            with_kind(f"http://host:1 {text}")


def test_refusals_are_those_of_knn() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'milvus'"), open_engine("milvu"):
        pass
    with open_engine("faiss:HNSW8") as engine:
        with pytest.raises(ConfigError, match="between 1 and 299"):
            engine.find(Z, Z, 300, exclude_self=True)
        with pytest.raises(DataError, match="not finite"):
            engine.find(np.full_like(Q, np.nan), Z, 3)


def test_recall_counts_by_distance() -> None:
    base = np.array([[0.0], [1.0], [1.0], [2.0], [5.0]], dtype=np.float32)
    query = np.zeros((1, 1), dtype=np.float32)

    def at(*rows: int) -> float:
        return recall(query, base, np.array([rows]), np.array([[0, 1]]), metric="l2")

    assert at(0, 1) == at(2, 0) == 1  # 1 and 2 are equally far
    assert at(0, 3) == 0.5 and at(4, 3) == 0
    with pytest.raises(DataError, match="must be"):
        recall(query, base, np.zeros((1, 2), dtype=int), np.zeros((1, 3), dtype=int))
