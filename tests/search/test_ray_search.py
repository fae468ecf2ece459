"""Searches and audits over two Ray nodes give what one process gives, also when a worker or a node dies meanwhile."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearkin.embeddings import PARTS, Embeddings
from nearkin.errors import ConfigError
from nearkin.search import ray_search as over_ray
from nearkin.search.engines import open_engine
from nearkin.search.exact import Index, Neighbors, knn
from tests.cli.inprocess import invoke
from tests.raycluster import lose, one_left, stop_here, two_nodes

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(300, 8)).astype(np.float32)
Z[200:205] = Z[:5] + 1e-4
Q = RNG.normal(size=(70, 8)).astype(np.float32)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_a_block_of_the_own_rows(metric: str) -> None:
    index, whole = Index(Z, metric=metric), knn(Z, Z, 4, metric=metric, exclude_self=True)
    part = slice(100, 140)
    found = index.search_own(part, 4, own=np.arange(300)[part])
    assert np.array_equal(found.indices, whole.indices[part])
    assert np.allclose(found.distances, whole.distances[part], atol=1e-6)
    with pytest.raises(ConfigError, match="between 1 and 300"):
        index.search_own(part, 301)


def test_without_ray_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"--index ray needs Ray: pip install 'nearkin\[scale\]'"), open_engine("ray"):
        pass


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[Any, Any]]:
    """Two nodes with a core each; the test's process is connected to them."""
    pytest.importorskip("ray", reason="pip install 'nearkin[scale]'")
    with two_nodes(__name__, "tests.raycluster") as both:
        yield both


def same(one: Neighbors, other: Neighbors) -> bool:
    """Up to rounding: two rows equally far but for the last bit may change places."""
    swapped = float((one.indices != other.indices).mean())
    return swapped < 1e-3 and np.allclose(one.distances, other.distances, rtol=1e-5, atol=1e-6)


on_ray = pytest.mark.filterwarnings("ignore")  # Ray's own: sockets and processes that it leaves to the collector


@pytest.mark.slow
@on_ray
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_every_kind_of_search(cluster: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, metric: str) -> None:
    monkeypatch.setattr(over_ray, "QUERIES", 32)
    own = np.concatenate([np.arange(60), np.full(10, -1)])
    with open_engine("ray") as engine:
        assert engine.exact and engine.how == "exactly" and engine.lines() == []
        assert same(
            engine.find(Z, Z, 4, metric=metric, exclude_self=True), knn(Z, Z, 4, metric=metric, exclude_self=True)
        )
        assert same(engine.find(Q, Z, 7, metric=metric), knn(Q, Z, 7, metric=metric))
        assert same(engine.find(Z[:70], Z, 3, metric=metric, own=own), knn(Z[:70], Z, 3, metric=metric, own=own))
        with pytest.raises(ConfigError, match="between 1 and 300"):
            engine.find(Q, Z, 301, metric=metric)


@pytest.mark.slow
@on_ray
def test_wide_vectors_by_a_short_list(cluster: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The prepared vectors lie in memory that workers cannot write to; faiss reads them there."""
    from nearkin.search import pruned_knn as shortlist

    monkeypatch.setattr(over_ray, "QUERIES", 1000)
    monkeypatch.setattr(shortlist, "LEAST_WORK", 0.0)
    wide = np.random.default_rng(0).normal(size=(2500, 100)) * 0.9 ** np.arange(100)
    base = wide.astype(np.float32)
    prepared = Index(base)
    prepared.prepare(1000)
    assert prepared._short is not None
    with open_engine("ray") as engine:
        assert same(engine.find(base, base, 5, exclude_self=True), knn(base, base, 5, exclude_self=True))


@pytest.mark.slow
@on_ray
def test_audits_of_a_folder_of_parts(cluster: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    names = ["a", "b", "c"]
    for name, rows in zip(names, np.array_split(np.arange(300), 3), strict=True):
        ids, split = np.char.mod("%03d.png", rows), np.where(rows % 5 == 0, "test", "train")
        Embeddings(Z[rows], ids, rows % 2, split, ("x", "y")).save(folder / f"{name}.parquet")
    (folder / PARTS).write_text(json.dumps({"provenance": {}, "parts": names}))
    monkeypatch.setattr(over_ray, "QUERIES", 32)
    for command in (
        ("search", "--k", "4"),
        ("duplicates", "--threshold", "0.001"),
        ("duplicates", "--threshold", "0.001", "--across", "train,test"),
        ("anomalies", "--score", "knn2,knn-norm,lof"),
    ):
        found = []
        for engine in ("faiss", "ray"):
            out = tmp_path / f"{engine}.json"
            invoke(command[0], str(folder), *command[1:], "--index", engine, "--json", str(out))
            found.append(json.loads(out.read_text()))
            assert found[-1].pop("index") == {"engine": engine, "measured": []}
        assert close(*found), command


def close(one: Any, other: Any) -> bool:
    """Equal, but for the last digits of floats."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(close, one, other))
    return one == (pytest.approx(other, rel=1e-4, abs=1e-5) if isinstance(one, float) else other)


@pytest.mark.slow
@on_ray
def test_a_killed_worker_loses_nothing(
    cluster: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    task, mark = over_ray._task, tmp_path / "mark"

    def deadly(row: dict[str, Any], **given: Any) -> dict[str, Any]:
        if row["item"] == 64:
            begun = mark.exists()
            with open(mark, "a") as file:
                file.write(f"{os.getpid()}\n")
            if not begun:
                os.kill(os.getpid(), signal.SIGKILL)
        return task(row, **given)

    monkeypatch.setattr(over_ray, "QUERIES", 32)
    monkeypatch.setattr(over_ray, "_task", deadly)
    with open_engine("ray") as engine:
        assert same(engine.find(Z, Z, 4, exclude_self=True), knn(Z, Z, 4, exclude_self=True))
    begun = mark.read_text().split()
    assert len(set(begun)) >= 2 and str(os.getpid()) not in begun


@pytest.mark.slow
@on_ray
def test_a_lost_node_loses_nothing(cluster: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The last of this file: one node is left."""
    (both, second), task, mark = cluster, over_ray._task, tmp_path / "mark"
    node_id = second.node_id

    def doomed(row: dict[str, Any], **given: Any) -> dict[str, Any]:
        stop_here(node_id, mark)
        return task(row, **given)

    monkeypatch.setattr(over_ray, "QUERIES", 32)
    monkeypatch.setattr(over_ray, "_task", doomed)
    thread = lose(both, second, mark.exists)
    with open_engine("ray") as engine:
        assert same(engine.find(Z, Z, 4, exclude_self=True), knn(Z, Z, 4, exclude_self=True))
    thread.join()
    assert one_left()
