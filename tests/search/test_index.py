"""Every engine keeps what it is given, finds what brute force finds, and refuses what it cannot store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from nearkin.errors import ConfigError, DataError
from nearkin.search.faiss_index import FaissIndex
from nearkin.search.index import VectorIndex
from nearkin.search.milvus import MilvusIndex

N, D = 120, 6
Open = Callable[..., VectorIndex]
HOSTILE = [
    "plain/0.png",
    "it's.png",
    'say "hi".png',
    "two\nlines\r\n.png",
    "back\\slash\\",
    '"] or id != "',
    "' or 1 == 1 or '",
    '\\" or true or \\"',
    "tab\t\x00\x07null",
    "ünïcödé/画像\u2028.png",
    "{template}",
    "%",
]


@pytest.fixture(params=["flat", "hnsw", "milvus"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens one place again and again, by the same engine; the last one before is closed first."""
    held: list[VectorIndex] = []
    kinds = {"flat": "Flat", "hnsw": "HNSW16 efSearch=200"}

    def open_(metric: str = "cosine") -> VectorIndex:
        for index in held:
            index.close()
        held.clear()
        if request.param == "milvus":
            held.append(MilvusIndex(str(tmp_path / "index.db"), metric=metric))
        else:
            held.append(FaissIndex(metric=metric, kind=kinds[request.param]))
        return held[0]

    yield open_
    for index in held:
        index.close()


def vectors(seed: int, n: int = N) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, D)).astype(np.float32) + 0.3


def brute(q: np.ndarray, b: np.ndarray, metric: str) -> np.ndarray:
    q, b = q.astype(np.float64), b.astype(np.float64)
    if metric == "cosine":
        q, b = q / np.linalg.norm(q, axis=1, keepdims=True), b / np.linalg.norm(b, axis=1, keepdims=True)
        return 1 - q @ b.T
    return np.sqrt(np.square(q[:, None] - b[None]).sum(axis=2))


def same(index: VectorIndex, queries: np.ndarray, kept: dict[str, np.ndarray], metric: str) -> None:
    """The index answers as brute force over what should be in it."""
    names = list(kept)
    expected = brute(queries, np.stack([kept[name] for name in names]), metric)
    order = np.argsort(expected, axis=1)[:, :5]
    hits = index.search(queries, 5)
    assert hits.ids.tolist() == [[names[row] for row in rows] for rows in order]
    assert np.allclose(hits.distances, np.take_along_axis(expected, order, axis=1), atol=1e-5)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_build_and_upsert(opened: Open, metric: str) -> None:
    Z, names, queries = vectors(0), [f"img/{i}.png" for i in range(N)], vectors(1, 8)
    index = opened(metric)
    assert len(index) == 0
    with pytest.raises(DataError, match="empty"):
        index.search(queries, 1)
    index.build(names, Z)
    kept = dict(zip(names, Z, strict=True))
    same(index, queries, kept, metric)
    moved, fresh = vectors(2, 10), vectors(3, 10)
    changed, added = names[:10], [f"new/{i}.png" for i in range(10)]
    index.upsert(changed + added, np.concatenate([moved, fresh]))
    kept |= dict(zip(changed + added, np.concatenate([moved, fresh]), strict=True))
    assert len(index) == N + 10
    same(index, queries, kept, metric)
    if isinstance(index, MilvusIndex):  # what is in a file stays there
        index = opened(metric)
        assert len(index) == N + 10
        same(index, queries, kept, metric)
    index.build(["only"], Z[:1])
    hits = index.search(queries[:1], 3)
    assert len(index) == 1 and hits.ids.tolist() == [["only", "", ""]] and np.isinf(hits.distances[:, 1:]).all()
    if isinstance(index, MilvusIndex):
        with pytest.raises(ConfigError, match="by"):
            opened("l2" if metric == "cosine" else "cosine")


def test_an_id_may_be_any_text(opened: Open) -> None:
    Z = vectors(0, len(HOSTILE))
    index = opened("l2")
    index.build(HOSTILE, Z)
    index.upsert(HOSTILE[::2], Z[::2])
    assert len(index) == len(HOSTILE) and index.search(Z, 1).ids[:, 0].tolist() == HOSTILE


def test_a_zero_vector_is_at_distance_1_of_all(opened: Open) -> None:
    Z = vectors(0, 40)
    Z[3] = 0
    index = opened("cosine")
    index.build([str(i) for i in range(40)], Z)
    hits = index.search(Z[:1], 40)
    assert hits.distances[0][hits.ids[0] == "3"] == pytest.approx(1, abs=1e-5)
    hits = index.search(np.zeros((1, D), dtype=np.float32), 40)
    assert np.allclose(hits.distances[0][hits.ids[0] != "3"], 1, atol=1e-5)


def test_what_cannot_be_stored_or_asked_is_refused_in_one_line(opened: Open) -> None:
    Z = vectors(0, 30)
    names = [str(i) for i in range(30)]
    index = opened()

    def refused(kind: type[Exception], match: str, work: Callable[[], object]) -> None:
        with pytest.raises(kind, match=match) as caught:
            work()
        assert "\n" not in str(caught.value)

    nan = np.full_like(Z, np.nan)
    refused(DataError, "as many ids", lambda: index.build(names[:2], Z))
    refused(DataError, "'0' stands there twice", lambda: index.build(["0", *names[:29]], Z))
    refused(DataError, "not finite", lambda: index.build(names, nan))
    refused(DataError, "empty", lambda: index.build(["", *names[:29]], Z))
    refused(DataError, "not Unicode", lambda: index.build(["\udcff", *names[:29]], Z))
    refused(DataError, "at most 65535", lambda: index.build(["é" * 40_000, *names[:29]], Z))
    assert len(index) == 0
    index.build(names, Z)
    refused(DataError, "dimensions", lambda: index.upsert(names, Z[:, :4]))
    refused(DataError, "must be", lambda: index.search(Z[:, :4], 1))
    refused(DataError, "not finite", lambda: index.search(nan, 1))
    refused(ConfigError, "at least one", lambda: index.search(Z, 0))
    assert len(index) == 30


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_distances_of_quantised_codes_are_true_ones(metric: str) -> None:
    Z, queries = vectors(0), vectors(1, 20)
    index = FaissIndex(metric=metric, kind="IVF4,PQ3x4 nprobe=4")
    index.build([str(i) for i in range(N)], Z)
    hits = index.search(queries, 5)
    expected = brute(queries, Z, metric)
    assert np.allclose(hits.distances, np.take_along_axis(expected, hits.ids.astype(int), axis=1), atol=1e-5)
    assert (np.diff(hits.distances, axis=1) >= 0).all()
    assert (hits.distances <= np.sort(expected, axis=1)[:, 4:5] + 1e-5).mean() > 0.8


def test_kinds_that_faiss_cannot_make(tmp_path: Path) -> None:
    for kind in ("Nonsense", "IVF4096,Flat", "HNSW16 nonsense=3", "PQ5x4"):
        index = FaissIndex(kind=kind)
        index.build([str(i) for i in range(N)], vectors(0))
        with pytest.raises(ConfigError, match="FAISS cannot make") as caught:
            index.search(vectors(1, 2), 3)
        assert "\n" not in str(caught.value)
